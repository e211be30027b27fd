//! The server that all stores are on, and its standby.

use std::path::Path;
use std::process::Command;

use crate::cluster::Cluster;
use crate::disk;

/// What the server is told, beside what `cluster.sh` tells it.
const SETTINGS: [&str; 8] = [
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "shared_buffers=1GB",
    "max_wal_size=8GB",
    "checkpoint_timeout=30min",
    "max_connections=400",
    "wal_level=replica",
];

pub struct Server {
    cluster: Cluster,
}

impl Server {
    /// Makes a server, or returns `None` where none can be had. It is on a disk unless it may be in
    /// memory.
    pub fn start(may_be_in_memory: bool) -> Option<Self> {
        let cluster = Cluster::with(&SETTINGS)?;
        assert!(
            may_be_in_memory || !disk::is_memory(cluster.folder()),
            "{} is in memory, where a sync costs nothing: set TMPDIR to a folder on a disk",
            cluster.folder().display()
        );
        Some(Server { cluster })
    }

    pub fn folder(&self) -> &Path {
        self.cluster.folder()
    }

    /// The path of the server's Unix socket.
    pub fn socket(&self) -> std::path::PathBuf {
        self.folder().join(format!(".s.PGSQL.{}", self.cluster.port()))
    }

    /// The version and the settings, in one line.
    pub fn describe(&self) -> String {
        let version = self.cluster.query("show server_version");
        format!("PostgreSQL {version}; {}", SETTINGS.join(", "))
    }

    /// The URI of a database, through the network and without TLS, by way of this port.
    pub fn uri(&self, database: &str, port: Option<u16>) -> String {
        let port = port.unwrap_or(self.cluster.port());
        format!("postgres://dcb:s3cret%20p%3Aw@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    pub fn create_database(&mut self, name: &str) {
        self.cluster.sql(&format!("create database {name} owner dcb"));
    }

    /// Lets the server do what it would do behind the next runs.
    pub fn settle(&mut self, databases: &[String]) {
        for database in databases {
            let mut psql = self.cluster.psql("postgres");
            let status = psql.args(["-d", database, "-c", "vacuum analyze"]).status();
            assert!(status.is_ok_and(|status| status.success()), "vacuum of {database}");
        }
        self.cluster.sql("checkpoint");
    }

    /// How large a database is, in MiB.
    pub fn mib(&self, database: &str) -> f64 {
        let size = self.cluster.query(&format!("select pg_database_size('{database}')"));
        size.parse::<f64>().expect("a size") / (1024.0 * 1024.0)
    }

    /// Makes a standby that every commit waits for, until it is dropped.
    pub fn standby(&mut self) -> Standby {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("standby.sh");
        let command = |action: &str| {
            let mut command = Command::new(&script);
            command.arg(action).arg(self.cluster.bin()).arg(self.folder());
            command.arg(self.cluster.port().to_string());
            command
        };
        let status = command("start").status();
        assert!(status.is_ok_and(|status| status.success()), "a standby");
        Standby { stop: command("stop") }
    }
}

pub struct Standby {
    stop: Command,
}

impl Drop for Standby {
    fn drop(&mut self) {
        let _ = self.stop.status();
    }
}

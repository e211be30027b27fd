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

/// What is noted with a database that was filled.
#[derive(Debug, Clone, Copy)]
pub struct Filled {
    /// In events a second.
    pub rate: f64,
    /// The bytes of the tables, and of their indexes.
    pub tables: f64,
    pub indexes: f64,
}

pub struct Server {
    cluster: Cluster,
}

impl Server {
    /// Makes a server, or takes the one that is kept in a folder. Returns `None` where none can be
    /// had. It is on a disk unless it may be in memory.
    pub fn start(kept: Option<&Path>, may_be_in_memory: bool) -> Option<Self> {
        let cluster = match kept {
            Some(folder) => Cluster::kept(folder, &SETTINGS)?,
            None => Cluster::with(&SETTINGS)?,
        };
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

    /// Makes an empty database, in place of the one that there may be.
    pub fn create_database(&mut self, name: &str) {
        self.cluster.sql(&format!("drop database if exists {name} with (force)"));
        self.cluster.sql(&format!("create database {name} owner dcb"));
    }

    /// Notes with a database that it was filled, at how many events a second.
    pub fn note_filled(&mut self, name: &str, rate: f64) {
        let (tables, indexes) = self.bytes(name);
        self.cluster.sql(&format!("comment on database {name} is '{rate} {tables} {indexes}'"));
    }

    /// What was noted with a database.
    pub fn filled(&self, name: &str) -> Option<Filled> {
        let text = self.cluster.query(&format!(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = '{name}'"
        ));
        let numbers: Vec<f64> = text.split(' ').map_while(|word| word.parse().ok()).collect();
        let [rate, tables, indexes] = numbers[..] else { return None };
        Some(Filled { rate, tables, indexes })
    }

    /// How many bytes the tables of a database have, and how many their indexes.
    pub fn bytes(&self, database: &str) -> (f64, f64) {
        let mut psql = self.cluster.psql("postgres");
        let query = "select coalesce(sum(pg_table_size(relid)), 0), coalesce(sum(pg_indexes_size(relid)), 0)
             from pg_stat_user_tables";
        let output = psql.args(["-d", database, "-At", "-F", " ", "-c", query]).output();
        let text = String::from_utf8(output.expect("psql").stdout).expect("two sizes");
        let (tables, indexes) = text.trim().split_once(' ').expect("two sizes");
        (tables.parse().expect("a size"), indexes.parse().expect("a size"))
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

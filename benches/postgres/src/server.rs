//! The server that all stores are on, and its standby.

use std::path::Path;
use std::process::Command;

use crate::cluster::Cluster;
use crate::disk;
use crate::options::Options;

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

/// Reads the tables of a database into the buffers, then their indexes, each from the smallest on.
const WARM: &str = "
    create extension if not exists pg_prewarm;
    select sum(blocks) from (
        select pg_prewarm(oid) as blocks from (
            select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where c.relkind in ('r', 'i') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
            order by c.relkind desc, pg_relation_size(c.oid) offset 0) one) each";

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
    settings: String,
}

impl Server {
    /// Makes a server, or takes the one that is kept in a folder. Returns `None` where none can be
    /// had. It is on a disk unless its figures mean nothing.
    pub fn start(options: &Options) -> Option<Self> {
        let settings: Vec<&str> =
            SETTINGS.into_iter().chain(options.settings.iter().map(String::as_str)).collect();
        let cluster = match &options.keep {
            Some(folder) => Cluster::kept(folder, &settings)?,
            None => Cluster::with(&settings)?,
        };
        assert!(
            options.is_smoke || !disk::is_memory(cluster.folder()),
            "{} is in memory, where a sync costs nothing: set TMPDIR to a folder on a disk",
            cluster.folder().display()
        );
        Some(Server { cluster, settings: settings.join(", ") })
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
        format!("PostgreSQL {version}; {}", self.settings)
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
        let query = "select coalesce(sum(pg_table_size(relid)), 0), coalesce(sum(pg_indexes_size(relid)), 0)
             from pg_stat_user_tables";
        let output = self.psql(database, query).output();
        let text = String::from_utf8(output.expect("psql").stdout).expect("two sizes");
        let (tables, indexes) = text.trim().split_once(' ').expect("two sizes");
        (tables.parse().expect("a size"), indexes.parse().expect("a size"))
    }

    /// Lets the server do what it would do behind the next runs, and reads the databases into its
    /// buffers, as far as there is room, as those of a server are that has run for a while.
    pub fn settle(&mut self, databases: &[String]) {
        for database in databases {
            let status = self.psql(database, "vacuum analyze").status();
            assert!(status.is_ok_and(|status| status.success()), "vacuum of {database}");
        }
        self.cluster.sql("checkpoint");
        // What is read last stays: the small databases, and of each the indexes.
        for database in databases.iter().rev() {
            // Where there is no such extension, the first runs read them.
            let _ = self.psql(database, WARM).output();
        }
    }

    /// A `psql` of the superuser that runs a statement in a database.
    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut psql = self.cluster.psql("postgres");
        psql.args(["-d", database, "-At", "-F", " ", "-c", sql]);
        psql
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

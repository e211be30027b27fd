//! A PostgreSQL server for one test, by `cluster.sh`, or two, by `pair.sh`: made in a new folder, stopped and removed when
//! the value is dropped or the process dies.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running server, or one that the test has stopped.
pub struct Cluster {
    script: Child,
    /// Closed to end the script.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What the script says about the server.
    values: HashMap<String, String>,
}

fn script() -> Command {
    script_of("cluster.sh")
}

/// Scripts lie below the folder of the crate, or below one above it.
fn script_of(name: &str) -> Command {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut scripts = folders.map(|folder| folder.join("tests/postgres").join(name));
    Command::new(scripts.find(|script| script.exists()).expect("the script of the cluster"))
}

/// Returns the folders of all servers that are found.
#[allow(dead_code)] // as most of what follows, by tests that need one server alone
pub fn versions() -> Vec<String> {
    let output = script().arg("versions").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[allow(dead_code)]
impl Cluster {
    /// Starts a server, or returns `None` where none can be had.
    pub fn start() -> Option<Cluster> {
        Cluster::with(&[])
    }

    /// Starts a server with parameters, each as `name=value`.
    pub fn with(parameters: &[&str]) -> Option<Cluster> {
        Cluster::by(&mut script(), parameters)
    }

    /// Starts the server of this folder, or makes it there. It is stopped when the value is dropped, and
    /// the folder stays.
    pub fn kept(folder: &Path, parameters: &[&str]) -> Option<Cluster> {
        Cluster::by(script().arg("--keep").arg(folder), parameters)
    }

    /// Starts a server behind a PgBouncer in transaction mode, through which [`Cluster::uri`] leads, or
    /// returns `None` where either cannot be had.
    pub fn behind_pooler() -> Option<Cluster> {
        Cluster::by(script().arg("--pooler"), &[])
    }

    /// Starts the server whose programs are in this folder.
    pub fn of(folder: &str) -> Option<Cluster> {
        Cluster::of_with(folder, &[])
    }

    /// Starts that server with parameters.
    pub fn of_with(folder: &str, parameters: &[&str]) -> Option<Cluster> {
        Cluster::by(script().env("DCB_POSTGRES_BIN", folder), parameters)
    }

    /// Starts two servers under Patroni, by `pair.sh`, one of which follows the other. Their programs
    /// are in this folder. With `sync`, commits wait for it, with `async` they do not.
    pub fn pair_of(folder: &str, mode: &str) -> Option<Cluster> {
        Cluster::by(script_of("pair.sh").env("DCB_POSTGRES_BIN", folder).arg(mode), &[])
    }

    fn by(script: &mut Command, parameters: &[&str]) -> Option<Cluster> {
        let mut script = script
            .args(parameters.iter().flat_map(|parameter| ["-c", parameter]))
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script of the cluster");
        let input = script.stdin.take();
        let output = BufReader::new(script.stdout.take().unwrap());
        let mut cluster = Cluster { script, input, output, values: HashMap::new() };
        while let Some(line) = cluster.line() {
            match line.split_once('=') {
                Some((name, value)) => cluster.values.insert(name.to_owned(), value.to_owned()),
                None if line == "ready" => return Some(cluster),
                None => panic!("{line}"),
            };
        }
        let status = cluster.script.wait().unwrap();
        assert_eq!(status.code(), Some(77), "the cluster did not start");
        None
    }

    /// Returns the URI of the database, through the Unix socket. Its role owns the database.
    pub fn uri(&self) -> String {
        self.value("uri").to_owned()
    }

    /// Returns the URI of the database, through the network and with a password.
    pub fn tcp_uri(&self) -> String {
        self.value("tcp").to_owned()
    }

    /// Returns the TCP port, which the Unix socket has in its name.
    pub fn port(&self) -> u16 {
        self.value("port").parse().unwrap()
    }

    /// Returns whether the server has TLS.
    pub fn has_tls(&self) -> bool {
        self.value("tls") == "on"
    }

    /// Returns the folder of the server's programs.
    pub fn bin(&self) -> &Path {
        Path::new(self.value("bin"))
    }

    /// Returns the folder of the socket, the log and the certificates.
    pub fn folder(&self) -> &Path {
        Path::new(self.value("folder"))
    }

    /// Starts the server again.
    pub fn start_again(&mut self) {
        self.command("start");
    }

    /// Stops the server, and its sessions with it.
    pub fn stop(&mut self) {
        self.command("stop fast");
    }

    /// Kills all processes of the server at once.
    pub fn kill(&mut self) {
        self.command("kill");
    }

    /// Has the server's standby `start`, `stop`, `pause` its replay, or `resume` it.
    pub fn standby(&mut self, what: &str) {
        self.command(&format!("standby {what}"));
    }

    /// Returns a URI with which the standby is read, while it can be had.
    pub fn uri_of_both(&self) -> String {
        let (uri, port) = (self.uri(), self.standby_port());
        let folder = uri.split_once("&host=").unwrap().1;
        let own = self.port();
        format!(
            "postgres:///dcb?user=dcb&host={folder},{folder}&port={own},{port}\
             &target_session_attrs=prefer-standby"
        )
    }

    /// Returns the URI of the standby alone.
    pub fn uri_of_standby(&self) -> String {
        self.uri()
            .replace(&format!("port={}", self.port()), &format!("port={}", self.standby_port()))
    }

    fn standby_port(&self) -> String {
        let port = std::fs::read_to_string(self.folder().join("standby.port")).unwrap();
        port.trim().to_owned()
    }

    /// Takes a base backup of the server.
    pub fn back_up(&mut self) {
        self.command("backup");
    }

    /// Restores that backup, and starts the server.
    pub fn restore(&mut self) {
        self.command("restore");
    }

    /// Waits until the other server of a pair has everything that the leader has.
    pub fn settle(&mut self) {
        self.command("settle");
    }

    /// Stops what sends the leader's WAL to the other server of a pair.
    pub fn hold_replication(&mut self) {
        self.command("hold");
    }

    /// Kills the leader of a pair, and waits until the other server leads.
    pub fn kill_leader(&mut self) {
        self.command("kill");
    }

    /// Starts the killed server of a pair again, and waits until it follows the other one.
    pub fn rejoin(&mut self) {
        self.command("rejoin");
    }

    /// Runs a statement as the superuser.
    pub fn sql(&mut self, statement: &str) {
        self.command(&format!("sql {statement}"));
    }

    /// Returns the one value that a query of the superuser gives.
    pub fn query(&self, query: &str) -> String {
        let output = self.psql("postgres").args(["-At", "-c", query]).output().unwrap();
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Replaces parts of a function of the store.
    pub fn change(&self, function: &str, changes: &[(&str, &str)]) {
        let query = format!("select pg_get_functiondef('dcb.{function}'::regproc)");
        let mut text = self.query(&query);
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        assert!(self.psql("postgres").args(["-c", &text]).status().unwrap().success());
    }

    /// Returns a `psql` in the database `dcb`, for more arguments.
    pub fn psql(&self, role: &str) -> Command {
        let mut psql = Command::new(self.bin().join("psql"));
        psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-U", role, "-d", "dcb"]);
        psql.args(["-p", self.value("port"), "-h"]).arg(self.folder());
        psql
    }

    fn value(&self, name: &str) -> &str {
        &self.values[name]
    }

    fn command(&mut self, command: &str) {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
        assert_eq!(self.line().as_deref(), Some("done"), "{command}");
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.output.read_line(&mut line).unwrap();
        (count > 0).then(|| line.trim_end().to_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.script.wait();
    }
}

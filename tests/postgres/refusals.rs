//! What a server refuses, and the status that says so.

use std::process::{Child, Stdio};
use std::time::Duration;

use dcb::{CallOptions, Error, Options, Status, Timeout};

use crate::cluster::Cluster;
use crate::work::{check, claim, events, open};

fn within(ms: u64) -> CallOptions {
    CallOptions { timeout: Timeout::After(Duration::from_millis(ms)), cancel: None }
}

/// Returns the error of opening a store, which must say what is wrong and keep the password to
/// itself.
fn refusal(uri: &str, options: &Options) -> Error {
    let error = dcb::open(uri, options).err().unwrap_or_else(|| panic!("{uri} opens"));
    assert!(!error.message.contains("s3cret") && !error.message.contains("wr0ng"), "{error}");
    error
}

/// Returns a SQLSTATE as it is in `detail`.
fn sqlstate(code: &str) -> i32 {
    i32::from_str_radix(code, 36).unwrap()
}

#[test]
fn a_server_that_lets_nobody_in_is_unavailable() {
    let Some(mut cluster) = Cluster::start() else { return };
    let options = Options::default();
    let tcp = cluster.tcp_uri();
    for (uri, code) in [
        (tcp.replace("s3cret", "wr0ng"), "28P01"),
        (tcp.replace("dcb:s3cret", "nobody:s3cret"), "28P01"),
        (tcp.replace(":s3cret%20p%3Aw", ""), ""),
        (cluster.uri().replace("user=dcb", "user=nobody"), "28000"),
        (cluster.uri().replace("postgres:///dcb", "postgres:///nowhere"), "3D000"),
    ] {
        let error = refusal(&uri, &options);
        assert_eq!(error.status, Status::Unavailable, "{uri}: {error}");
        if !code.is_empty() {
            assert_eq!(error.detail, sqlstate(code), "{uri}: {error}");
        }
    }
    // A role that may connect and has no right to create a schema.
    cluster.sql("create role stranger login");
    cluster.sql("revoke all on database dcb from public");
    cluster.sql("grant connect on database dcb to stranger");
    let error = refusal(&cluster.uri().replace("user=dcb", "user=stranger"), &options);
    assert_eq!((error.status, error.detail), (Status::Unavailable, sqlstate("42501")), "{error}");
}

#[test]
fn a_schema_that_is_no_store_is_refused_and_left_alone() {
    let Some(mut cluster) = Cluster::start() else { return };
    cluster.sql("create schema other; create table other.customers (name text)");
    cluster.sql("grant all on schema other to dcb");
    let error = refusal(
        &cluster.uri(),
        &Options { schema: Some("other".to_owned()), ..Options::default() },
    );
    assert_eq!(error.status, Status::UnsupportedFormat, "{error}");
    let tables = "select string_agg(relname, ' ') from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'other' and relkind = 'r'";
    assert_eq!(cluster.query(tables), "customers");

    // A store of a newer format.
    open(&cluster.uri()).unwrap();
    cluster.sql("update dcb.meta set format = 2");
    let error = refusal(&cluster.uri(), &Options::default());
    assert_eq!(error.status, Status::UnsupportedFormat, "{error}");
    assert_eq!(cluster.query("select format from dcb.meta"), "2");
    cluster.sql("update dcb.meta set format = 1");
    open(&cluster.uri()).unwrap();

    // Another encoding.
    cluster.sql("create database latin encoding 'LATIN1' template template0 owner dcb");
    let uri = cluster.uri().replace("postgres:///dcb", "postgres:///latin");
    let error = refusal(&uri, &Options::default());
    assert_eq!(error.status, Status::UnsupportedFormat, "{error}");

    // A store that is not to be created.
    let absent = Options { create: false, schema: Some("absent".to_owned()), ..Options::default() };
    let error = refusal(&cluster.uri(), &absent);
    assert_eq!(error.status, Status::UnsupportedFormat, "{error}");
    assert_eq!(cluster.query("select count(*) from pg_namespace where nspname = 'absent'"), "0");
}

#[test]
fn a_server_without_fsync_is_refused() {
    let Some(cluster) = Cluster::with(&["fsync=off"]) else { return };
    let error = refusal(&cluster.uri(), &Options::default());
    assert_eq!(error.status, Status::InvalidArgument, "{error}");
    let options = Options { allow_fsync_off: true, ..Options::default() };
    dcb::open(&cluster.uri(), &options).unwrap();
}

#[test]
fn options_of_another_store_are_refused() {
    let defaults = Options::default;
    let uri = "postgres://nobody@localhost:1/x";
    for options in [
        Options { immutable: true, ..defaults() },
        Options { adopt: true, ..defaults() },
        Options { max_readers: Some(1), ..defaults() },
        Options { pool_size: Some(0), ..defaults() },
        Options { schema: Some("a\"b".to_owned()), ..defaults() },
        Options { schema: Some(String::new()), ..defaults() },
    ] {
        let error = refusal(uri, &options);
        assert_eq!(error.status, Status::InvalidArgument, "{options:?}: {error}");
    }
    for options in [
        Options { schema: Some("dcb".to_owned()), ..defaults() },
        Options { pool_size: Some(4), ..defaults() },
        Options { allow_fsync_off: true, ..defaults() },
    ] {
        for uri in ["memory:", "sqlite::memory:"] {
            let error = refusal(uri, &options);
            assert_eq!(error.status, Status::InvalidArgument, "{uri} {options:?}: {error}");
        }
    }
}

/// A session of the superuser that holds the lock of the appends.
fn hold_lock(cluster: &Cluster, seconds: u32) -> Child {
    let text =
        format!("begin; select 1 from dcb.meta for update; select pg_sleep({seconds}); commit");
    let session = cluster
        .psql("postgres")
        .args(["-c", &text])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let held = "select count(*) from pg_locks where relation = 'dcb.meta'::regclass and granted";
    while cluster.query(held) == "0" {
        std::thread::sleep(Duration::from_millis(5));
    }
    session
}

#[test]
fn a_lock_that_is_not_free_in_time_is_busy() {
    let Some(mut cluster) = Cluster::start() else { return };
    let store = open(&cluster.uri()).unwrap();
    let mut attempts = vec![claim(&*store, 0, "before", &within(5_000))];
    let mut session = hold_lock(&cluster, 3);
    attempts.push(claim(&*store, 1, "busy", &within(200)));
    let error = attempts[1].answer.as_ref().unwrap_err();
    assert_eq!(error.status, Status::Busy, "{error}");
    // Reads and waits take no lock.
    assert_eq!(store.head(&within(200)).unwrap().get(), 1);
    attempts.push(claim(&*store, 1, "patient", &within(30_000)));
    assert_eq!(attempts[2].answer, Ok(2));
    session.wait().unwrap();

    // An administrator's time-out for statements.
    cluster.sql("alter role dcb set statement_timeout = '200ms'");
    let store = open(&cluster.uri()).unwrap();
    let mut session = hold_lock(&cluster, 2);
    attempts.push(claim(&*store, 2, "cancelled", &within(1_000)));
    let error = attempts[3].answer.as_ref().unwrap_err();
    assert!(matches!(error.status, Status::Timeout | Status::Busy), "{error}");
    session.wait().unwrap();
    attempts.push(claim(&*store, 2, "after", &within(5_000)));
    assert!(attempts[4].answer.is_ok(), "{attempts:?}");
    check(&*store, &attempts);
}

#[test]
fn a_server_without_free_connections_is_unavailable() {
    let Some(cluster) = Cluster::with(&["max_connections=8"]) else { return };
    let first = open(&cluster.uri()).unwrap();
    let mut attempts = vec![claim(&*first, 0, "first", &within(5_000))];
    let mut others = Vec::new();
    let error = loop {
        match open(&cluster.uri()) {
            Ok(store) => others.push(store),
            Err(error) => break error,
        }
        assert!(others.len() < 8);
    };
    assert_eq!((error.status, error.detail), (Status::Unavailable, sqlstate("53300")), "{error}");
    // Those that are open go on.
    attempts.push(claim(&*first, 1, "full house", &within(5_000)));
    assert!(attempts[1].answer.is_ok(), "{attempts:?}");
    others.into_iter().for_each(|store| store.close());
    check(&*first, &attempts);
}

#[test]
fn a_server_that_takes_no_writes_is_read_only() {
    let Some(mut cluster) = Cluster::start() else { return };
    let store = open(&cluster.uri()).unwrap();
    claim(&*store, 0, "before", &within(5_000)).answer.unwrap();
    cluster.sql("alter database dcb set default_transaction_read_only = on");
    let error = refusal(&cluster.uri(), &Options::default());
    assert!(matches!(error.status, Status::Unavailable | Status::ReadOnly), "{error}");
    let reader =
        dcb::open(&cluster.uri(), &Options { read_only: true, ..Options::default() }).unwrap();
    assert_eq!(events(&*reader), [(0, "before".to_owned())]);
    let error = claim(&*reader, 1, "x", &within(5_000)).answer.unwrap_err();
    assert_eq!(error.status, Status::ReadOnly, "{error}");
}

#[test]
fn events_are_never_changed_by_hand() {
    let Some(cluster) = Cluster::start() else { return };
    let store = open(&cluster.uri()).unwrap();
    claim(&*store, 0, "kept", &within(5_000)).answer.unwrap();
    for statement in [
        "update dcb.events set data = 'x'",
        "delete from dcb.events",
        "truncate dcb.events",
        "delete from dcb.event_tags",
    ] {
        let mut psql = cluster.psql("dcb");
        let status = psql.args(["-c", statement]).stderr(Stdio::null()).status().unwrap();
        assert!(!status.success(), "{statement}");
    }
    assert_eq!(events(&*store), [(0, "kept".to_owned())]);
}

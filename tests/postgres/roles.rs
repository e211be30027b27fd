//! What an administrator does by hand: roles with no more rights than the documentation grants, and
//! a schema that is created from its text.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use dcb::{CallOptions, Options, Status, Timeout};

use crate::cluster::{Cluster, versions};
use crate::work::{check, claim, events, open};

const PAGE: &str = include_str!("../../docs/postgres-operations.md");

fn within(ms: u64) -> CallOptions {
    CallOptions { timeout: Timeout::After(Duration::from_millis(ms)), cancel: None }
}

/// Returns the statements of the page that begin with these words, each in one line.
fn statements_of_the_page(words: &str) -> Vec<String> {
    PAGE.lines().filter(|line| line.starts_with(words)).map(str::to_owned).collect()
}

#[test]
fn roles_need_no_more_than_the_page_grants() {
    let Some(mut cluster) = Cluster::start() else { return };
    let owner = open(&cluster.uri()).unwrap();
    let mut attempts = vec![claim(&*owner, 0, "owner", &within(5_000))];
    cluster.sql("create role app login; create role reader login");
    let grants = statements_of_the_page("GRANT ");
    assert_eq!(grants.len(), 3);
    for grant in grants {
        cluster.sql(&grant);
    }
    let as_role = |role: &str| cluster.uri().replace("user=dcb", &format!("user={role}"));

    let options = Options { create: false, ..Options::default() };
    let app = dcb::open(&as_role("app"), &options).unwrap();
    attempts.push(claim(&*app, 0, "app is late", &within(5_000)));
    attempts.push(claim(&*app, 1, "app", &within(5_000)));
    assert_eq!(attempts[2].answer, Ok(2));
    assert!(
        app.wait(attempts[2].answer.clone().unwrap().try_into().unwrap(), &within(50)).is_err()
    );
    check(&*app, &attempts);

    let options = Options { read_only: true, ..Options::default() };
    let reader = dcb::open(&as_role("reader"), &options).unwrap();
    assert_eq!(events(&*reader).len(), 2);
    assert_eq!(
        claim(&*reader, 2, "x", &within(5_000)).answer.unwrap_err().status,
        Status::ReadOnly
    );
    // Even a store that is not read-only cannot append for this role.
    let writer = open(&as_role("reader")).unwrap();
    let error = claim(&*writer, 2, "x", &within(5_000)).answer.unwrap_err();
    assert_eq!(error.status, Status::ReadOnly, "{error}");

    for role in ["app", "reader"] {
        for statement in [
            "insert into dcb.events values (3, 'A', '{}', '1', null, null, now(), gen_random_uuid())",
            "update dcb.events set data = 'x'",
            "delete from dcb.events",
            "truncate dcb.event_tags",
            "update dcb.meta set format = 2",
            "drop table dcb.events",
        ] {
            let mut psql = cluster.psql(role);
            let output = psql.args(["-c", statement]).output().unwrap();
            assert!(!output.status.success(), "{role}: {statement}");
        }
    }
    check(&*app, &attempts);
}

#[test]
fn the_text_of_the_schema_creates_a_store() {
    let Some(cluster) = Cluster::start() else { return };
    let mut psql =
        cluster.psql("dcb").args(["-1", "-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let text = dcb::postgres_schema("dcb").unwrap();
    psql.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(psql.wait().unwrap().success());
    let options = Options { create: false, ..Options::default() };
    let store = dcb::open(&cluster.uri(), &options).unwrap();
    let attempts = [claim(&*store, 0, "by hand", &within(5_000))];
    assert_eq!(check(&*store, &attempts), 1);
}

#[test]
fn every_server_that_is_found_holds_stores() {
    let all = versions();
    for folder in &all {
        let Some(cluster) = Cluster::of(folder) else { continue };
        let store = open(&cluster.uri()).unwrap();
        let attempts: Vec<_> =
            (0..20).map(|n| claim(&*store, n / 2, &format!("{n}"), &within(5_000))).collect();
        assert_eq!(check(&*store, &attempts), 10);
        println!("{}", cluster.query("select version()"));
    }
}

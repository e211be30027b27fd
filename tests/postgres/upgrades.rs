//! Upgrades of a store that an earlier version of the library created (`revision_1.sql`), while
//! programs use it.

use std::io::Write;
use std::process::Stdio;

use dcb::{CallOptions, Options, POSTGRES_REVISION, Status, postgres_schema, postgres_upgrade};

use crate::cluster::Cluster;
use crate::kills::{check_known, race};
use crate::work::{check, claim, open, patient};

/// The store in the schema `dcb`, as it was before the function `append_one`.
const FIRST: &str = include_str!("revision_1.sql");

fn without_creating() -> Options {
    Options { create: false, ..Options::default() }
}

/// Starts a `psql` that runs a text in one transaction.
fn psql(cluster: &Cluster, role: &str, text: &str) -> std::process::Child {
    let mut psql = cluster.psql(role);
    psql.args(["-1", "-o", "/dev/null", "-f", "-"]);
    let mut child = psql.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child
}

fn run(cluster: &Cluster, role: &str, text: &str) {
    let output = psql(cluster, role, text).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Starts a server with a store of the first revision, and a role `app` that may append to it. Returns
/// the URI of that role, too.
fn first_revision() -> Option<(Cluster, String)> {
    let mut cluster = Cluster::start()?;
    run(&cluster, "dcb", FIRST);
    cluster.sql("create role app login");
    for grant in ["usage on schema dcb", "select on all tables in schema dcb"] {
        cluster.sql(&format!("grant {grant} to app"));
    }
    cluster.sql("grant execute on function dcb.append, dcb.resolve to app");
    let app = cluster.uri().replace("user=dcb", "user=app");
    Some((cluster, app))
}

fn revision(store: &dyn dcb::Store) -> i64 {
    store.diagnose(&CallOptions::default()).unwrap().postgres.unwrap().revision
}

/// Returns the texts, settings and rights of the functions in a schema, in which its name is left out.
fn functions(cluster: &Cluster, schema: &str) -> String {
    cluster.query(&format!(
        "select string_agg(concat_ws(' ', replace(pg_get_functiondef(oid), '{schema}', '~'), \
         proowner::regrole, coalesce(proacl, acldefault('f', proowner))), E'\\n' order by proname) \
         from pg_proc where pronamespace = '{schema}'::regnamespace"
    ))
}

#[test]
fn an_upgraded_store_has_the_functions_of_a_new_one() {
    let Some(mut cluster) = Cluster::start() else { return };
    let first = FIRST.replace("\"dcb\"", "\"older\"").replace("'dcb'", "'older'");
    run(&cluster, "dcb", &first.replace("schema dcb ", "schema older "));
    run(&cluster, "dcb", &postgres_schema("fresh").unwrap());
    let are_equal = || functions(&cluster, "older") == functions(&cluster, "fresh");
    assert!(!are_equal());
    // The superuser upgrades, and what is new belongs to the owner all the same.
    for role in ["postgres", "dcb"] {
        run(&cluster, role, &postgres_upgrade("older").unwrap());
        assert!(are_equal(), "after an upgrade by {role}");
    }

    cluster.sql("create schema empty");
    for (schema, part) in [("empty", "meta"), ("fresh", "format 7")] {
        cluster.sql("update fresh.meta set format = 7");
        let text = postgres_upgrade(schema).unwrap();
        let output = psql(&cluster, "postgres", &text).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(part), "{said}");
    }
}

#[test]
fn a_store_is_upgraded_by_its_owner_alone_and_nobody_needs_it() {
    let Some((cluster, app)) = first_revision() else { return };
    let mut attempts = Vec::new();
    // Each of these leaves the store as it is.
    for (uri, options) in [
        (cluster.uri(), without_creating()),
        (cluster.uri(), Options { read_only: true, ..Options::default() }),
        (app.clone(), Options::default()),
        (app.clone(), without_creating()),
    ] {
        let store = dcb::open(&uri, &options).unwrap();
        assert_eq!(revision(&*store), 1);
        if !options.read_only {
            let number = attempts.len() as u64;
            attempts.push(claim(&*store, number, &format!("old {number}"), &patient()));
            assert_eq!(attempts.last().unwrap().answer, Ok(number as i64 + 1));
        }
    }
    let app_store = dcb::open(&app, &without_creating()).unwrap();
    let refused = app_store.upgrade(&patient()).unwrap_err();
    assert_eq!(refused.status, Status::ReadOnly, "{refused}");
    assert!(refused.message.contains("only the owner"), "{refused}");

    // A program's transaction holds the lock. The owner opens the store without the upgrade.
    let mut holder = cluster.psql("dcb");
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = holder.stdin.take().unwrap();
    writeln!(input, "begin; select from dcb.meta for update; \\echo held").unwrap();
    let mut held = std::io::BufReader::new(holder.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("held") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut held, &mut line).unwrap() > 0);
    }
    let owner = open(&cluster.uri()).unwrap();
    assert_eq!(revision(&*owner), 1);
    let brief = CallOptions {
        timeout: dcb::Timeout::After(std::time::Duration::from_millis(50)),
        cancel: None,
    };
    let busy = owner.upgrade(&brief).unwrap_err();
    assert_eq!(busy.status, Status::Busy, "{busy}");
    drop(input);
    assert!(holder.wait().unwrap().success());

    let owner = open(&cluster.uri()).unwrap();
    assert_eq!(revision(&*owner), i64::from(POSTGRES_REVISION));
    attempts.push(claim(&*owner, 100, "owner", &patient()));
    // Who has the store open goes on.
    attempts.push(claim(&*app_store, 101, "still open", &patient()));
    // Who might append may call what is new as well, and nobody else.
    let right = "has_function_privilege('{}', 'dcb.append_one'::regproc, 'execute')";
    assert_eq!(cluster.query(&format!("select {}", right.replace("{}", "app"))), "t");
    let public = "select count(*) from pg_proc, aclexplode(proacl) a where a.grantee = 0 and \
                  proname = 'append_one'";
    assert_eq!(cluster.query(public), "0");
    assert_eq!(check(&*owner, &attempts), attempts.len());
}

#[test]
fn programs_append_while_several_upgrade_the_store() {
    let Some((cluster, app)) = first_revision() else { return };
    let text = postgres_upgrade("dcb").unwrap();
    let attempts = race(&app, |wait_for| {
        wait_for(100);
        let by_hand = [(), ()].map(|()| psql(&cluster, "dcb", &text));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let store = dcb::open(&cluster.uri(), &without_creating()).unwrap();
                    store.upgrade(&patient()).unwrap();
                    assert_eq!(revision(&*store), i64::from(POSTGRES_REVISION));
                });
                scope.spawn(|| open(&cluster.uri()).unwrap());
            }
        });
        for upgrade in by_hand {
            let output = upgrade.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        wait_for(100);
    });
    let store = dcb::open(&app, &without_creating()).unwrap();
    assert_eq!(revision(&*store), i64::from(POSTGRES_REVISION));
    check_known(&*store, &attempts);
}

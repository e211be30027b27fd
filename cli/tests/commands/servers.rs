//! Commands on a store in PostgreSQL.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{dcb, failed, good, lines, run};

/// Runs the ignored tests of this file with a server of their own (`tests/postgres/cluster.sh`).
#[test]
fn stores_on_a_server() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/postgres/cluster.sh");
    let status = Command::new(script)
        .arg("run")
        .arg(std::env::current_exe().expect("the path of this test"))
        .args(["--ignored", "servers::"])
        .status()
        .expect("the script of the cluster runs");
    if status.code() == Some(77) {
        println!("SKIPPED: there is no PostgreSQL server");
        return;
    }
    assert!(status.success(), "{status}");
}

fn server() -> String {
    std::env::var("DCB_POSTGRES_URI").expect("the URI of a server")
}

/// Returns the URI of a schema on the server.
fn in_schema(name: &str) -> String {
    let server = server();
    format!("{server}{}schema={name}", if server.contains('?') { '&' } else { '?' })
}

/// Runs SQL on the server.
fn psql(sql: &str) {
    let mut child = Command::new("psql")
        .args(["-v", "ON_ERROR_STOP=1", "-q", "-1", "-f", "-", &server()])
        .stdin(Stdio::piped())
        .spawn()
        .expect("psql runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), sql.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
#[ignore = "stores_on_a_server runs it with a server"]
fn a_store_is_copied_to_a_server_and_back() {
    let server = server();
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let events = lines(1_000);
    std::fs::write(folder.join("events.ndjson"), &events).expect("the file is written");
    good(&run(folder, &["import", "sqlite:first.db", "events.ndjson"]));

    let copied = good(&run(folder, &["copy", "sqlite:first.db", &server]));
    let again = good(&run(folder, &["copy", "sqlite:first.db", &server]));
    assert_eq!(copied, again, "a copy that is complete says the same");
    assert_eq!(good(&run(folder, &["head", &server])), "1000\n");
    // Positions, times, ids and every byte of the data are the same there.
    assert_eq!(good(&run(folder, &["export", &server])), events);
    let digest = |uri: &str| good(&run(folder, &["verify", uri]));
    assert!(copied.contains("1000 events, digest "), "{copied}");
    assert!(digest(&server).contains(copied.trim().rsplit(' ').next().expect("a digest")));

    good(&run(folder, &["copy", &server, "sqlite:second.db"]));
    assert_eq!(good(&run(folder, &["export", "sqlite:second.db"])), events);

    let refused =
        dcb(folder, &["append", &server, "--type", "Counted", "--fail-if", "type=Counted"])
            .output()
            .expect("the program runs");
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
}

#[test]
#[ignore = "stores_on_a_server runs it with a server"]
fn the_sql_of_a_schema_makes_a_store_in_the_current_format() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let uri = in_schema("by_hand");
    let sql = good(&run(folder, &["schema", &uri, "--sql"]));
    assert_eq!(sql, good(&run(folder, &["schema", "--sql", "--name", "by_hand"])));
    let said = failed(&run(folder, &["head", &uri]), 4);
    assert!(said.contains("check the parameter schema"), "{said}");
    psql(&sql);
    assert_eq!(good(&run(folder, &["append", &uri, "-t", "A"])), "1\n");
    let shown = good(&run(folder, &["schema", &uri]));
    assert!(shown.starts_with("store   postgres\nformat  1\nevents  1\nbytes   "), "{shown}");
    let tables: Vec<&str> =
        shown.lines().skip(6).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(tables, ["event_tags", "events", "fences", "meta"]);
    assert!(
        good(&run(folder, &["migrate", &uri])).contains("is the newest: there is nothing to do")
    );
    let known = good(&run(folder, &["diagnose", &uri, "--json"]));
    let known: serde_json::Value = serde_json::from_str(&known).expect("JSON");
    assert_eq!((&known["store"], &known["schema"]), (&"postgres".into(), &"by_hand".into()));
    assert_eq!((&known["format"], &known["head"]), (&1.into(), &1.into()), "{known}");
    assert_eq!(
        (&known["standby"], &known["lag_ms"]),
        (&false.into(), &serde_json::Value::Null),
        "{known}"
    );
    assert_eq!(known["advice"], serde_json::Value::Array(Vec::new()), "{known}");
    let cost = good(&run(folder, &["explain", &uri, "-t", "A", "--json"]));
    let cost: serde_json::Value = serde_json::from_str(&cost).expect("JSON");
    assert_eq!(cost["items"][0]["candidates"], 1, "{cost}");
    assert_eq!(cost["items"][0]["estimate"], true, "{cost}");
    let measured =
        good(&run(folder, &["bench", &server(), "--events", "1000", "--time", "10", "--json"]));
    assert!(measured.contains("schema=dcb_bench") && measured.contains("\"sync_us\":null"));

    psql("UPDATE by_hand.meta SET format = 2");
    let said = failed(&run(folder, &["migrate", &uri]), 1);
    assert!(said.contains("format 2, which is newer"), "{said}");
}

/// Makes a store of the first revision in a schema of this name.
fn make_first_revision(name: &str) {
    let text = include_str!("../../../tests/postgres/revision_1.sql");
    let text = text.replace("\"dcb\"", name).replace("'dcb'", &format!("'{name}'"));
    psql(&text);
}

#[test]
#[ignore = "stores_on_a_server runs it with a server"]
fn a_store_of_an_earlier_revision_is_migrated() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for (name, uri) in ["old_a", "old_b"].map(|name| (name, in_schema(name))) {
        make_first_revision(name);
        let known = good(&run(folder, &["diagnose", &uri]));
        assert!(known.contains("revision        1\n"), "{known}");
        assert!(known.contains("dcb migrate"), "{known}");
        let said = good(&run(folder, &["migrate", &uri, "--dry-run"]));
        assert_eq!(said, "would bring format 1 from revision 1 to 2\n");
        let said = good(&run(folder, &["migrate", &uri, "--dry-run", "--json"]));
        let expected = "{\"format\":1,\"newest\":1,\"revision\":1,\"newest_revision\":2,\
                        \"dry_run\":true,\"migrated\":false}\n";
        assert_eq!(said, expected, "nothing is done");
        if name == "old_a" {
            let said = good(&run(folder, &["migrate", &uri]));
            assert_eq!(said, "brought format 1 from revision 1 to 2\n");
        } else {
            // Twice: what is done already is done again.
            let sql = good(&run(folder, &["migrate", &uri, "--sql"]));
            assert_eq!(sql, good(&run(folder, &["migrate", "--sql", "--name", name])));
            psql(&sql);
            psql(&sql);
        }
        let said = good(&run(folder, &["migrate", &uri]));
        assert_eq!(said, "format 1, revision 2 is the newest: there is nothing to do\n");
        assert!(good(&run(folder, &["diagnose", &uri])).contains("Nothing is off."));
        assert_eq!(good(&run(folder, &["append", &uri, "-t", "A"])), "1\n");
    }
    psql("CREATE OR REPLACE FUNCTION old_a.revision() RETURNS integer LANGUAGE sql AS 'SELECT 3'");
    let said = good(&run(folder, &["migrate", &in_schema("old_a")]));
    assert_eq!(said, "format 1, revision 3 is newer than this program: there is nothing to do\n");
    assert_eq!(good(&run(folder, &["append", &in_schema("old_a"), "-t", "A"])), "2\n");
    assert!(failed(&run(folder, &["migrate", &in_schema("none")]), 4).contains("holds no store"));
}

//! Exit statuses, what is said on stderr, and that nothing else is on stdout.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::{dcb, failed, good, lines, run, run_with};

#[test]
fn a_status_says_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert_eq!(good(&run(path, &["append", "sqlite:a.db", "-t", "A", "--id", "i"])), "1\n");
    good(&run(path, &["backup", "sqlite:a.db", "b.db"]));
    for (status, part, arguments) in [
        (2, "or by the variable DCB_URI", &["read"][..]),
        (2, "DCB_URI", &["copy", "sqlite:b.db"]),
        (2, "nothing in it", &["read", "memory:"]),
        (2, "nothing in it", &["copy", "sqlite::memory:", "sqlite:c.db"]),
        (2, "must not be negative", &["read", "sqlite:a.db", "--before", "-1"]),
        (2, "b.db: there is a file already", &["backup", "sqlite:a.db", "b.db"]),
        (2, "a.db: there is a file already", &["restore", "b.db", "sqlite:a.db"]),
        (4, "none.db: no such file", &["restore", "none.db", "sqlite:c.db"]),
        (2, "did you mean sqlite:a.db?", &["head", "a.db"]),
        (2, "'--type'", &["read", "sqlite:a.db", "--tpye", "A"]),
        (2, "'read'", &["raed"]),
        (2, "items: must be a list", &["read", "sqlite:a.db", "--query", "{\"items\": 1}"]),
        (2, "neither type=TYPE", &["count", "sqlite:a.db", "--item", "A"]),
        (2, "is no time", &["read", "sqlite:a.db", "--since", "yesterday"]),
        (2, "not valid JSON", &["append", "sqlite:a.db", "-t", "A", "-d", "text"]),
        (2, "has an end", &["tail", "sqlite:a.db", "-f", "--json"]),
        (2, "pg_dump", &["backup", "postgres://x/y", "b.db"]),
        (1, "already stored at position 1", &["append", "sqlite:a.db", "-t", "B", "--id", "i"]),
        (3, "\"id\":\"i\"", &["append", "sqlite:a.db", "-t", "B", "--fail-if", "type=A"]),
        (4, "no event at position 2: the newest is at 1", &["get", "sqlite:a.db", "2"]),
        (4, "no event has the id \"x\"", &["get", "sqlite:a.db", "--id", "x"]),
        (4, "no such store", &["head", "sqlite:none.db"]),
        (4, "none.ndjson", &["import", "sqlite:n.db", "none.ndjson"]),
        (2, "that is alone is <DESTINATION>", &["copy", "sqlite:a.db"]),
        (2, "has position 1", &["get", "sqlite:a.db", "-7"]),
        (2, "invalid value '-1' for '--limit", &["read", "sqlite:a.db", "--limit", "-1"]),
        (2, "is written --OPTION=-x", &["append", "sqlite:a.db", "-t", "-x"]),
        (2, "as JSON, {\"items\"", &["append", "sqlite:a.db", "-t", "B", "--fail-if", "tg=a"]),
        (4, "no such store", &["read", "file:none.db"]),
        (1, "a PostgreSQL server listens", &["head", "postgres://u@localhost:1/d"]),
        (2, "a.ndjson.zst: for .gz, use a pipe", &["export", "sqlite:a.db", "a.ndjson.gz"]),
        (2, "dcb import URI", &["import", "sqlite:n.db", "a.ndjson.gz"]),
        (2, "use dcb copy", &["export", "sqlite:a.db", "sqlite:c.db"]),
        (2, "use dcb copy", &["import", "sqlite:n.db", "sqlite:a.db"]),
        (2, "use dcb copy", &["backup", "sqlite:a.db", "memory:"]),
        (4, "folder does not exist", &["export", "sqlite:a.db", "none/a.ndjson"]),
        (1, ".: this is a folder", &["import", "sqlite:n.db", "."]),
    ] {
        let output = run(path, arguments);
        let said = failed(&output, status);
        assert!(said.contains(part), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
    for name in ["n.db", "none.db", "c.db", "sqlite:c.db", "a.ndjson.gz"] {
        assert!(!path.join(name).exists(), "{name}: what is refused creates nothing");
    }
    // A condition that looks only at newer events holds.
    let arguments = ["append", "sqlite:a.db", "-t", "B", "--fail-if", "type=A", "--after", "1"];
    assert_eq!(good(&run(path, &arguments)), "2\n");
    // -1 is the start, as in documents.
    assert_eq!(good(&run(path, &["count", "sqlite:a.db", "--after", "-1"])), "2\n");
}

#[test]
fn data_may_be_a_negative_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    good(&run(path, &["append", "sqlite:a.db", "-t", "A", "-d", "-5"]));
    assert_eq!(good(&run(path, &["read", "sqlite:a.db", "--data-only"])), "-5\n");
}

#[test]
fn a_stored_event_is_not_appended_a_second_time_as_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let timed = r#"{"type":"A","timestamp":"2026-11-23T04:12:17.000001Z"}"#;
    for input in [lines(1).as_str(), timed] {
        let said = failed(&run_with(path, &["append", "sqlite:a.db"], input), 2);
        assert!(said.contains("stdin, line 1: ") && said.contains("dcb import"), "{said}");
    }
    assert!(!path.join("a.db").exists());
}

#[test]
fn an_append_says_what_becomes_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (uri, status, said) in [
        ("sqlite:a.db", 0, "dcb: created sqlite:a.db\n"),
        ("sqlite:a.db", 0, ""),
        ("memory:", 0, "dcb: memory: is gone when the command ends: name a file to keep it\n"),
        (
            "sqlite:none/a.db",
            1,
            "dcb: io: none/a.db: its folder does not exist: create that first\n",
        ),
    ] {
        assert_eq!(failed(&run(path, &["append", uri, "-t", "A"]), status), said);
    }
}

#[test]
fn a_backup_may_be_named_by_its_path_or_by_its_uri() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    good(&run(path, &["append", "sqlite:a.db", "-t", "A"]));
    assert_eq!(good(&run(path, &["backup", "sqlite:a.db", "sqlite:b.db"])), "1\n");
    assert_eq!(good(&run(path, &["restore", "sqlite:b.db", "file:c.db"])), "1\n");
    assert_eq!(good(&run(path, &["head", "sqlite:c.db", "--json"])), "{\"head\":1}\n");
}

/// Without rights to the folder nothing can be created beside the file. As root there is no such folder.
#[test]
fn a_file_that_nobody_writes_can_be_read_where_nothing_can_be_created() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    good(&run(path, &["append", "sqlite:a.db", "-t", "A"]));
    assert_eq!(good(&run(path, &["count", "file:a.db?immutable=1", "--json"])), "{\"events\":1}\n");
    let set = |mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    set(0o555);
    let output = run(path, &["count", "sqlite:a.db"]);
    let immutable = good(&run(path, &["count", "file:a.db?immutable=1"]));
    set(0o755);
    assert_eq!(immutable, "1\n");
    if !output.status.success() {
        let said = failed(&output, 1);
        assert!(said.contains("named file:PATH?immutable=1"), "{said}");
    }
}

#[test]
fn a_newer_format_and_what_is_no_store_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    good(&run(path, &["append", "sqlite:a.db", "-t", "A"]));
    let sqlite3 = |file: &str, sql: &str| {
        let done = Command::new("sqlite3").args([file, sql]).current_dir(path).status().unwrap();
        assert!(done.success());
    };
    sqlite3("a.db", "UPDATE dcb_meta SET value = 3 WHERE key = 'format'");
    sqlite3("b.db", "CREATE TABLE theirs (a)");
    let said = failed(&run(path, &["append", "sqlite:b.db", "-t", "A"]), 1);
    assert!(said.contains("name a new file"), "{said}");
    for (uri, part) in [("sqlite:a.db", "has format 3"), ("sqlite:b.db", "without a store")] {
        for command in ["migrate", "schema"] {
            let said = failed(&run(path, &[command, uri]), 1);
            assert!(said.contains(part), "{command} {uri}: {said}");
        }
    }
}

/// The library has its own test with rows of format 1. Here the number is all that differs.
#[test]
fn a_file_of_format_1_is_brought_to_format_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    good(&run(path, &["append", "sqlite:a.db", "-t", "A"]));
    let sql = "UPDATE dcb_meta SET value = 1 WHERE key = 'format'";
    let done = Command::new("sqlite3").args(["a.db", sql]).current_dir(path).status().unwrap();
    assert!(done.success());
    for (arguments, said) in [
        (&["migrate", "sqlite:a.db", "--dry-run"][..], "would bring the file from format 1 to 2\n"),
        (&["migrate", "sqlite:a.db"], "brought the file from format 1 to 2\n"),
        (&["migrate", "sqlite:a.db"], "format 2 is the newest: there is nothing to do\n"),
        (&["count", "sqlite:a.db"], "1\n"),
    ] {
        assert_eq!(good(&run(path, arguments)), said);
    }
}

#[test]
fn the_sql_of_a_schema_needs_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let sql = good(&run(path, &["schema", "--sql"]));
    assert!(sql.contains("CREATE TABLE \"dcb\".events"), "{sql}");
    let of_uri = good(&run(path, &["schema", "postgres://nowhere/x?schema=other", "--sql"]));
    assert_eq!(of_uri, good(&run(path, &["schema", "--sql", "--name", "other"])));
    assert!(of_uri.contains("CREATE TABLE \"other\".events"), "{of_uri}");
    let upgrade = good(&run(path, &["migrate", "--sql", "--name", "other"]));
    assert!(upgrade.contains("FUNCTION \"other\".append_one"), "{upgrade}");
    assert!(!upgrade.contains("CREATE TABLE"), "{upgrade}");
    for (part, arguments) in [
        ("lower-case letters", &["schema", "--sql", "--name", "a\"; DROP"][..]),
        ("only a store on PostgreSQL", &["schema", "sqlite:a.db", "--sql"]),
        ("which store?", &["schema"]),
        ("only a store on PostgreSQL", &["migrate", "sqlite:a.db", "--sql"]),
        ("which store?", &["migrate"]),
    ] {
        let said = failed(&run(path, arguments), 2);
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}

#[test]
fn the_environment_names_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    good(&run(path, &["append", "sqlite:a.db", "-t", "A", "-g", "k:v"]));
    let from_none = good(&run(path, &["schema", "--sql"]));
    for (arguments, expected) in [
        (&["head"][..], "1\n"),
        (&["count", "--type", "A"], "1\n"),
        (&["get", "1", "--fields", "type"], "{\"type\":\"A\"}\n"),
        (&["schema", "--sql"], &from_none),
        (&["export", "a.ndjson"], ""),
        (&["import", "a.ndjson"], ""),
        (&["tags", "k:", "--json"], "[{\"tag\":\"k:v\",\"events\":1,\"first\":1,\"last\":1}]\n"),
    ] {
        let output = dcb(path, arguments).env("DCB_URI", "sqlite:a.db").output().unwrap();
        assert_eq!(good(&output), expected, "{arguments:?}");
    }
}

#[test]
fn a_wrong_line_is_named_and_nothing_after_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut text = lines(3);
    text.push_str("{\"type\": 1}\n");
    text.push_str("{\"type\":\"After\"}\n");
    let said = failed(&run_with(path, &["import", "sqlite:a.db"], &text), 1);
    assert!(said.contains("stdin, line 4:"), "{said}");
    assert_eq!(good(&run(path, &["head", "sqlite:a.db"])), "3\n");
    // Once the line is right, the import goes on where it ended.
    let text = lines(5);
    let said = failed(&run_with(path, &["import", "sqlite:a.db"], &text), 0);
    assert!(said.contains("imported 2 events, 3 were stored already"), "{said}");
}

#[test]
fn an_import_mixes_only_when_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    good(&run(path, &["append", "sqlite:a.db", "-t", "Own"]));
    let said = failed(&run_with(path, &["import", "sqlite:a.db"], &lines(2)), 1);
    assert!(said.contains("use --append"), "{said}");
    assert_eq!(good(&run(path, &["head", "sqlite:a.db"])), "1\n");
    good(&run_with(path, &["import", "sqlite:a.db", "--append"], &lines(2)));
    let said = failed(&run_with(path, &["import", "sqlite:a.db", "--append"], &lines(2)), 0);
    assert!(said.contains("imported 0 events, 2 were stored already"), "{said}");
    assert_eq!(good(&run(path, &["head", "sqlite:a.db"])), "3\n");
    // A file that has grown: some of its events are stored and others not.
    let said = failed(&run_with(path, &["import", "sqlite:a.db", "--append"], &lines(9)), 0);
    assert!(said.contains("imported 7 events, 2 were stored already"), "{said}");
    assert_eq!(good(&run(path, &["head", "sqlite:a.db"])), "10\n");
    // Positions that the store would not give.
    let odd = lines(4).lines().step_by(2).map(|line| format!("{line}\n")).collect::<String>();
    let said = failed(&run_with(path, &["import", "sqlite:b.db"], &odd), 1);
    assert!(said.contains("line 2: its position is 3"), "{said}");
    // A file that breaks off before what is stored is not a shorter one, to be appended to it.
    good(&run_with(path, &["import", "sqlite:c.db"], &lines(3)));
    let broken = lines(1) + "{\"type\":\n";
    let said = failed(&run_with(path, &["import", "sqlite:c.db"], &broken), 1);
    assert!(said.contains("stdin, line 2") && !said.contains("--append"), "{said}");
    assert_eq!(good(&run(path, &["head", "sqlite:b.db"])), "1\n");
    good(&run_with(path, &["import", "sqlite:b.db", "--renumber"], &odd));
    assert_eq!(good(&run(path, &["head", "sqlite:b.db"])), "2\n");
    // A copy does not mix at all.
    let said = failed(&run(path, &["copy", "sqlite:b.db", "sqlite:a.db"]), 1);
    assert!(said.contains("more events than the source"), "{said}");
}

#[test]
fn a_pipe_that_breaks_ends_a_command_quietly() {
    let folder = tempfile::tempdir().unwrap();
    good(&run_with(folder.path(), &["import", "sqlite:a.db"], &lines(5_000)));
    for arguments in [&["read", "sqlite:a.db"][..], &["export", "sqlite:a.db"]] {
        let mut child = dcb(folder.path(), arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.starts_with("{\"position\":1,"), "{first}");
        let output = child.wait_with_output().unwrap();
        assert_eq!(failed(&output, 0), "", "{arguments:?}");
    }
}

#[test]
fn tail_follows_until_it_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    good(&run_with(path, &["import", "sqlite:a.db"], &lines(12)));
    let mut child = dcb(path, &["tail", "sqlite:a.db", "-f", "--fields", "position"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || out.next().expect("a line").unwrap();
    for position in 3..=12 {
        assert_eq!(next(), format!("{{\"position\":{position}}}"));
    }
    good(&run(path, &["append", "sqlite:a.db", "-t", "A"]));
    assert_eq!(next(), "{\"position\":13}");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_export_replaces_a_file_only_when_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    good(&run_with(path, &["import", "sqlite:a.db"], &lines(2)));
    fs::write(path.join("mine"), "mine").unwrap();
    let said = failed(&run(path, &["export", "sqlite:a.db", "mine"]), 2);
    assert!(said.contains("--force"), "{said}");
    assert_eq!(fs::read_to_string(path.join("mine")).unwrap(), "mine");
    good(&run(path, &["export", "sqlite:a.db", "mine", "--force"]));
    assert_eq!(fs::read_to_string(path.join("mine")).unwrap(), lines(2));
    let left: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("part"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

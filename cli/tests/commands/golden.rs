//! The output of every command that prints what a store holds, in every format, against the files of
//! `golden`. To update them: `DCB_UPDATE_GOLDEN=1 cargo test -p dcb-cli --test commands golden`.

use std::fs;
use std::path::PathBuf;

use crate::{good, on_terminal, run, run_with};

/// Events with everything that an event may have, and with what a terminal must not see.
const EVENTS: &str = r#"{"position":1,"type":"CourseDefined","tags":["course:c1"],"data":{"capacity": 2},"timestamp":"2026-11-23T04:12:17.123456Z"}
{"position":2,"type":"StudentSubscribed","tags":["course:c1","student:s1"],"data":{"by":"web"},"id":"9b2f","metadata":{"trace":"77"},"timestamp":"2026-11-23T05:00:00.000001Z"}
{"position":3,"type":"StudentSubscribed","tags":["course:c1","student:s2"],"data":null,"timestamp":"2026-11-24T00:00:00.000000Z"}
{"position":4,"type":"Note, \"quoted\"","tags":["bare","note:\u001b[31mred"],"data":"\u202e一二三, a text that is longer than a line of the terminal in the test","timestamp":"2026-11-24T00:00:00.000000Z"}
"#;

fn store() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    good(&run_with(folder.path(), &["import", "sqlite:a.db"], EVENTS));
    folder
}

/// Compares an output with its file.
#[track_caller]
fn compare(name: &str, output: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/commands/golden").join(name);
    if std::env::var_os("DCB_UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, output).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(output, expected, "{name}: to accept it: DCB_UPDATE_GOLDEN=1");
}

#[test]
fn each_command_prints_what_its_file_says() {
    let folder = store();
    for (name, arguments) in [
        ("read.ndjson", "read U"),
        ("read.table", "read U -o table"),
        ("read.json", "read U -o json"),
        ("read.cloudevents", "read U -o cloudevents"),
        ("read.csv", "read U -o csv"),
        ("read-reverse.ndjson", "read U --reverse --limit 2"),
        ("read-query.ndjson", "read U --item type=StudentSubscribed,X --item tag=bare --after 2"),
        ("read-since.ndjson", "read U --since 2026-11-23T05:00:00Z --until 2026-11-24 --json"),
        ("read-fields.csv", "read U -o csv --fields type,position"),
        ("read-fields.ndjson", "read U --fields position,id,tags --tag course:c1"),
        ("read-data.ndjson", "read U --data-only"),
        ("read-nothing.json", "read U --type Nothing --json"),
        ("read-nothing.csv", "read U --type Nothing -o csv"),
        ("get.ndjson", "get U 2"),
        ("get-id.json", "get U --id 9b2f --json"),
        ("tail.ndjson", "tail U -n 2"),
        ("head.txt", "head U"),
        ("head.json", "head U --json"),
        ("count.txt", "count U --type StudentSubscribed"),
        ("count.json", "count U --type StudentSubscribed --json"),
        ("types.table", "types U"),
        ("types.json", "types U --json"),
        ("tags.table", "tags U"),
        ("tags.json", "tags U course: --json"),
        ("explain.txt", "explain U -t StudentSubscribed -g course:c1 --after 2"),
        ("explain.json", "explain U -t StudentSubscribed -g course:c1 --after 2 --json"),
        ("migrate.txt", "migrate U"),
        ("migrate.json", "migrate U --dry-run --json"),
        ("verify.txt", "verify U"),
        ("verify.json", "verify U --json"),
        ("export.ndjson", "export U"),
        ("export.cloudevents", "export U -o cloudevents"),
    ] {
        let arguments: Vec<&str> = arguments
            .split(' ')
            .map(|word| if word == "U" { "sqlite:a.db" } else { word })
            .collect();
        compare(name, &good(&run(folder.path(), &arguments)));
    }
    // The size of the file depends on SQLite.
    let stats = good(&run(folder.path(), &["stats", "sqlite:a.db"]));
    compare("stats.txt", &without(&stats, ", ", " in the file"));
    let stats = good(&run(folder.path(), &["stats", "sqlite:a.db", "--json"]));
    compare("stats.json", &without(&stats, "\"file_bytes\":", ","));
    let schema = good(&run(folder.path(), &["schema", "sqlite:a.db"]));
    compare("schema.txt", &without(&schema, "bytes   ", "\n"));
    let schema = good(&run(folder.path(), &["schema", "sqlite:a.db", "--json"]));
    compare("schema.json", &without(&schema, "\"bytes\":", ","));
}

/// Removes what stands from `start` to the next `end` after it.
fn without(text: &str, start: &str, end: &str) -> String {
    let at = text.find(start).expect("the start");
    let to = at + text[at..].find(end).expect("the end") + end.len();
    format!("{}{}", &text[..at], &text[to..])
}

#[test]
fn a_terminal_gets_a_table_of_its_width() {
    let folder = store();
    let shown = on_terminal(folder.path(), 72, "read sqlite:a.db");
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown:?}");
    compare("read.terminal", &shown);
    compare("types.terminal", &on_terminal(folder.path(), 72, "types sqlite:a.db"));
}

#[test]
fn an_export_is_imported_to_the_same() {
    let folder = store();
    let digest = |uri: &str| good(&run(folder.path(), &["verify", uri]));
    for (format, file, uri) in [
        ("ndjson", "a.ndjson", "sqlite:b.db"),
        ("ndjson", "a.ndjson.zst", "sqlite:c.db"),
        ("cloudevents", "a.cloudevents", "sqlite:d.db"),
        ("cloudevents", "a.cloudevents.zst", "sqlite:e.db"),
    ] {
        good(&run(folder.path(), &["export", "sqlite:a.db", file, "-o", format]));
        good(&run(folder.path(), &["import", uri, file]));
        assert_eq!(digest(uri), digest("sqlite:a.db"), "{format} {file}");
    }
    assert_eq!(good(&run(folder.path(), &["export", "sqlite:b.db"])), {
        fs::read_to_string(folder.path().join("a.ndjson")).unwrap()
    });
    let copied = good(&run(folder.path(), &["copy", "sqlite:a.db", "sqlite:f.db"]));
    compare("copy.txt", &copied);
    assert_eq!(good(&run(folder.path(), &["backup", "sqlite:a.db", "g.db"])), "4\n");
    assert_eq!(good(&run(folder.path(), &["restore", "g.db", "sqlite:h.db"])), "4\n");
    for uri in ["sqlite:f.db", "sqlite:h.db"] {
        assert_eq!(digest(uri), digest("sqlite:a.db"), "{uri}");
    }
}

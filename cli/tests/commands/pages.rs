//! What is generated from the arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{good, lines, run, run_with};

fn files(folder: &Path) -> BTreeMap<String, String> {
    fs::read_dir(folder)
        .map(|entries| {
            entries
                .map(|entry| {
                    let path = entry.unwrap().path();
                    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                    (name, fs::read_to_string(path).unwrap())
                })
                .collect()
        })
        .unwrap_or_default()
}

#[test]
fn the_documentation_has_the_help_of_each_command() {
    let folder = tempfile::tempdir().unwrap();
    good(&run(folder.path(), &["pages", "pages"]));
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let made = files(&folder.path().join("pages"));
    assert!(made.len() > 15, "{:?}", made.keys());
    let stored = files(&docs.join("cli"));
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    let how = "to update the pages: cargo run -p dcb-cli pages docs/cli";
    assert_eq!(names(&made), names(&stored), "{how}");
    for (name, page) in &made {
        assert_eq!(page, &stored[name], "{name}: {how}");
    }
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    for name in made.keys() {
        assert!(summary.contains(&format!("(cli/{name})")), "{name} is not in SUMMARY.md");
    }
}

#[test]
fn there_are_manual_pages_and_completions() {
    let folder = tempfile::tempdir().unwrap();
    good(&run(folder.path(), &["manual", "man"]));
    let pages = files(&folder.path().join("man"));
    assert!(pages["dcb.1"].contains("dcb\\-read") || pages["dcb.1"].contains("dcb-read"));
    assert!(pages["dcb-import.1"].contains("renumber"));
    for shell in ["bash", "zsh", "fish"] {
        let script = good(&run(folder.path(), &["completions", shell]));
        assert!(script.contains("salvage"), "{shell}");
    }
}

/// Adds the keys of all objects in a document, but for those of events, which are another page's.
fn keys(document: &Value, into: &mut BTreeSet<String>) {
    match document {
        Value::Object(members) if members.contains_key("timestamp") => {}
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            into.insert(key.clone());
            keys(value, into);
        }),
        Value::Array(values) => values.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

#[test]
fn the_documentation_names_the_keys_of_each_json_document() {
    let folder = tempfile::tempdir().unwrap();
    good(&run_with(folder.path(), &["import", "sqlite:a.db"], &lines(3)));
    let page = include_str!("../../../docs/cli.md");
    let section = page.split("\n## ").find(|section| section.starts_with("JSON\n")).unwrap();
    for arguments in [
        "types sqlite:a.db",
        "tags sqlite:a.db",
        "stats sqlite:a.db",
        "explain sqlite:a.db -t Counted -g parity:1",
        "verify sqlite:a.db",
        "copy sqlite:a.db sqlite:b.db",
        "schema sqlite:a.db",
        "migrate sqlite:a.db",
        "bench memory: --events 1000 --time 10",
    ] {
        let command = arguments.split(' ').next().unwrap();
        let arguments: Vec<&str> = arguments.split(' ').chain(["--json"]).collect();
        let document = good(&run(folder.path(), &arguments));
        let mut found = BTreeSet::new();
        keys(&serde_json::from_str(&document).unwrap(), &mut found);
        let mark = format!("`{command}`");
        let row = section.lines().find(|line| line.starts_with("| `") && line.contains(&mark));
        let row = row.unwrap_or_else(|| panic!("no row for {command}"));
        for key in found {
            assert!(row.contains(&format!("`{key}`")), "{command}: {key} is not in {row}");
        }
    }
}

//! What is generated from the arguments.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{good, run};

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
    assert_eq!(
        made,
        files(&docs.join("cli")),
        "to update them: cargo run -p dcb-cli pages docs/cli"
    );
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

//! Doc comments stand alone: an editor shows each without those of the items around it. So each one
//! begins a sentence and ends it, and no sentence is spread over the comments of several items.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns all Rust files below a folder, sorted by path.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns the doc comments of the items in `text`, each with the number of its first line.
fn doc_comments(text: &str) -> Vec<(usize, Vec<&str>)> {
    let mut comments: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut is_inside = false;
    for (index, line) in text.lines().enumerate() {
        let Some(words) = line.trim_start().strip_prefix("///") else {
            is_inside = false;
            continue;
        };
        if !is_inside {
            comments.push((index + 1, Vec::new()));
        }
        comments.last_mut().unwrap().1.push(words.strip_prefix(' ').unwrap_or(words));
        is_inside = true;
    }
    comments
}

/// Returns what is wrong with a doc comment, if anything is.
fn flaw(comment: &[&str]) -> Option<&'static str> {
    let (first, last) = (*comment.first()?, *comment.last()?);
    if first.starts_with(char::is_lowercase) {
        return Some("begins in the middle of a sentence");
    }
    // An example may come last, fenced or indented, and so may a table.
    let is_example = last == "```" || last.starts_with("    ") || last.ends_with('|');
    let ends = ['.', '?'].iter().any(|mark| last.trim_end_matches(')').ends_with(*mark));
    if !is_example && !ends {
        return Some("does not end with a full stop");
    }
    None
}

#[test]
fn every_doc_comment_is_a_whole_sentence() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for path in sources(&root().join("src")) {
        let name = path.strip_prefix(root()).unwrap();
        for (line, comment) in doc_comments(&fs::read_to_string(&path).unwrap()) {
            checked += 1;
            if let Some(flaw) = flaw(&comment) {
                wrong.push(format!("{}:{line}: {flaw}: {}", name.display(), comment.join(" ")));
            }
        }
    }
    assert!(checked > 1_000, "only {checked} doc comments were checked");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_half_of_a_sentence_is_found() {
    let halves = "struct Range {\n    /// It begins above this position,\n    low: i64,\n    \
                  /// and ends with this one.\n    high: i64,\n}\n";
    let flaws: Vec<_> =
        doc_comments(halves).iter().map(|(line, comment)| (*line, flaw(comment))).collect();
    let (end, start) = ("does not end with a full stop", "begins in the middle of a sentence");
    assert_eq!(flaws, [(2, Some(end)), (4, Some(start))]);
    for whole in [
        "It ends.",
        "It ends. (So does this.)",
        "`low` ends.\n\n```\nlow();\n```",
        "A table:\n\n| a | b |",
    ] {
        assert_eq!(flaw(&whole.lines().collect::<Vec<_>>()), None, "{whole}");
    }
    for half in ["The bound", "The bound:", "The bound (of it)", "The bounds;"] {
        assert_eq!(flaw(&[half]), Some(end), "{half}");
    }
}

//! What the pages show is what the library takes, and makes.

use std::path::Path;

use dcb::json::{parse_append, parse_options, parse_read};
use serde_json::{Value, json};

/// The JSON blocks of a page, each with the line that it begins on.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in page.lines().enumerate() {
        match &mut open {
            None if line == "```json" => open = Some((number + 2, String::new())),
            None => {}
            Some(_) if line == "```" => found.extend(open.take()),
            Some((_, text)) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    found
}

/// Gives the document to the function that reads its kind, which its keys tell.
fn take(text: &str) -> dcb::Result<()> {
    let document: Value = serde_json::from_str(text).expect("JSON");
    let mut event = document.as_object().expect("an object").clone();
    let has = |key: &str| document.get(key).is_some();
    if has("events") && has("position") {
        return Ok(()); // a read result, which only comes out
    }
    if has("version") && has("store") {
        return Ok(()); // what a store tells of itself: the same
    }
    if has("events") {
        return parse_append(text.as_bytes()).map(drop);
    }
    if has("items") {
        return parse_read(json!({ "query": document }).to_string().as_bytes()).map(drop);
    }
    if has("query") {
        return parse_read(text.as_bytes()).map(drop);
    }
    if has("type") {
        event.remove("position");
        event.remove("timestamp");
        return parse_append(json!({ "events": [event] }).to_string().as_bytes()).map(drop);
    }
    parse_options(text.as_bytes()).map(drop)
}

#[test]
fn the_library_takes_what_the_pages_show() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut shown = 0;
    for entry in docs.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        for (line, text) in blocks(&std::fs::read_to_string(&path).unwrap()) {
            if let Err(error) = take(&text) {
                panic!("{}:{line}: {error}", path.display());
            }
            shown += 1;
        }
    }
    assert!(shown >= 8, "{shown} documents are shown");
}

#[test]
fn what_is_no_document_is_noticed() {
    let misspelt = r#"{"events": [{"type": "A"}], "condition": {"failIfEventMatch": null}}"#;
    assert!(take(misspelt).is_err());
    assert!(take(r#"{"items": []}"#).is_err());
    assert!(take(r#"{"readonly": true}"#).is_err());
}

#[test]
fn the_page_on_the_file_has_every_table_and_trigger_to_the_letter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let uri = format!("sqlite:{}", path.display());
    dcb::open(&uri, &parse_options(b"").unwrap()).unwrap().close();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/file-format.md");
    let page = std::fs::read_to_string(page).unwrap();
    let database = rusqlite::Connection::open(path).unwrap();
    let mut statement =
        database.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").unwrap();
    let all = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let all: Vec<String> = all.collect::<Result<_, _>>().unwrap();
    assert_eq!(all.len(), 7);
    for sql in all {
        assert!(
            page.lines().any(|line| line.trim_end_matches(';') == sql.trim_end_matches(';')),
            "{sql}"
        );
    }
}

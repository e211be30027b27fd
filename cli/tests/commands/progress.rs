//! What a long command shows on a terminal meanwhile.

use std::fs;

use crate::{good, lines, on_terminal, run};

#[test]
fn a_bar_is_shown_on_a_terminal_and_removed_at_the_end() {
    const EVENTS: u64 = 40_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("a.ndjson"), lines(EVENTS)).unwrap();
    for (command, what, unit, end) in [
        ("import sqlite:a.db a.ndjson", "importing", "iB/s", "dcb: imported 40000 events\n"),
        (
            "export sqlite:a.db b.ndjson",
            "exporting",
            "40,000 events",
            "dcb: exported 40000 events\n",
        ),
        ("copy sqlite:a.db sqlite:b.db", "copying", "40,000 events", "40000 events, digest "),
        ("copy sqlite:a.db sqlite:b.db", "comparing", "40,000 events", "40000 events, digest "),
        ("backup sqlite:a.db c.db", "copying", "iB/s", "40000\n"),
    ] {
        let shown = on_terminal(path, 72, command);
        assert!(shown.contains(what) && shown.contains(unit), "{command}: {shown:?}");
        assert!(shown.contains("\u{1b}[2K"), "{command}: the bar is not removed: {shown:?}");
        let rest = shown.rsplit("\u{1b}[2K").next().unwrap();
        assert!(rest.contains(end) && !rest.contains(what), "{command}: {rest:?}");
        for rate in shown.split(" events, ").skip(1).filter_map(|rest| rest.split_once("/s")) {
            let is_whole = rate.0.bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
            assert!(is_whole, "{command}: {rate:?}");
        }
        // Lines that are wider than the terminal would stay when the bar is drawn anew.
        for line in shown.split(['\r', '\n']) {
            let line = line.trim_start_matches("\u{1b}[2K");
            assert!(line.chars().count() <= 72 || line.contains("digest"), "{command}: {line:?}");
        }
    }
    // In a pipe there is none.
    let output = run(path, &["export", "sqlite:a.db", "d.ndjson"]);
    good(&output);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "dcb: exported 40000 events\n");
}

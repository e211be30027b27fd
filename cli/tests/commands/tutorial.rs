//! The commands of `docs/cli.md`, run as they stand there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{good, run};

/// What the page cannot have on this machine, and what it would wait for without end.
const HERE: [(&str, &str); 3] =
    [("/mnt/new/", "new/"), (" --follow", ""), ("bench.db", "bench.db --events 1000 --time 10")];

#[test]
fn the_commands_of_the_page_do_what_it_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let page = fs::read_to_string(page).unwrap();
    let mut blocks: Vec<&str> = page.split("```sh\n").skip(1).collect();
    blocks.iter_mut().for_each(|block| *block = block.split("```").next().unwrap());
    assert!(blocks.len() > 10, "{}", blocks.len());
    let mut script = blocks.concat();
    for (there, here) in HERE {
        assert!(script.contains(there), "{there}");
        script = script.replace(there, here);
    }
    // Where jq is not installed, it is no part of what is tested.
    let prelude = "command -v jq > jq.path || jq() { cat; }
        trap 'echo \"$?: $BASH_COMMAND\" >> failed' ERR\n";

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("new")).unwrap();
    good(&run(path, &["append", "sqlite:events.db", "-t", "A"]));
    good(&run(path, &["append", "sqlite:damaged.db", "-t", "A"]));
    let program = Path::new(env!("CARGO_BIN_EXE_dcb")).parent().unwrap();
    let ways = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", &format!("{prelude}{script}")])
        .current_dir(path)
        .env("PATH", ways)
        .output()
        .unwrap();
    // The one that the page says fails: the second append of CourseFull.
    let failed = fs::read_to_string(path.join("failed")).unwrap_or_default();
    let failed: Vec<&str> = failed.lines().collect();
    assert!(failed.len() == 1 && failed[0].starts_with("3: dcb append"), "{failed:?} {output:?}");
    for (uri, head) in [
        ("sqlite:courses.db", "4\n"),
        ("sqlite:courses-backup.db", "4\n"),
        ("sqlite:restored.db", "4\n"),
        ("sqlite:good.db", "4\n"),
        ("sqlite:new/events.db", "1\n"),
        ("sqlite:saved.db", "1\n"),
    ] {
        assert_eq!(good(&run(path, &["head", uri])), head, "{uri}: {output:?}");
    }
    assert!(!path.join("new/bench.db").exists());
}

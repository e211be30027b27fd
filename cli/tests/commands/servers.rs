//! Commands on a store in PostgreSQL.

use std::path::Path;
use std::process::Command;

use crate::{dcb, good, lines, run};

/// Runs the test below with a server of its own (`tests/postgres/cluster.sh`).
#[test]
fn a_store_is_copied_to_a_server_and_back() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/postgres/cluster.sh");
    let status = Command::new(script)
        .arg("run")
        .arg(std::env::current_exe().expect("the path of this test"))
        .args(["--ignored", "--exact", "servers::copies_on_the_server_of_the_environment"])
        .status()
        .expect("the script of the cluster runs");
    if status.code() == Some(77) {
        println!("SKIPPED: there is no PostgreSQL server");
        return;
    }
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "a_store_is_copied_to_a_server_and_back runs it with a server"]
fn copies_on_the_server_of_the_environment() {
    let server = std::env::var("DCB_POSTGRES_URI").expect("the URI of a server");
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

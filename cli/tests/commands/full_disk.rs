//! Commands that write, on a disk that becomes full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{failed, good, lines, run};

/// The bytes of the small disk that are taken until there is to be room, and a little more than it has.
const BALLAST: usize = 62 << 20;
const DISK: &str = "size=64m";
const EVENTS: u64 = 30_000;

/// Runs the test below with a small disk of its own: as root, or as root of a user namespace.
#[test]
fn commands_on_a_full_disk() {
    const TEST: &str = "full_disk::what_a_full_disk_holds_is_whole";
    const SCRIPT: &str = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" || exit 77
        DCB_SMALL_DISK=$2 exec \"$3\" --ignored --exact \"$4\"";
    let folder = tempfile::tempdir().unwrap();
    for namespace in [&["--mount"][..], &["--user", "--map-root-user", "--mount"]] {
        let status = Command::new("unshare")
            .args(namespace)
            .args(["sh", "-c", SCRIPT, "sh", DISK])
            .arg(folder.path())
            .arg(std::env::current_exe().unwrap())
            .arg(TEST)
            .status();
        match status.map(|status| status.code()) {
            Ok(Some(0)) => return,
            // What unshare says where it may not, and the script where it cannot mount.
            Ok(Some(1 | 77)) | Err(_) => {}
            other => panic!("{TEST}: {other:?}"),
        }
    }
    println!("SKIPPED: no disk can be mounted here, so no test of a full one was run");
}

/// The small disk, and a folder on another.
struct Disks {
    small: PathBuf,
    large: tempfile::TempDir,
}

impl Disks {
    fn take_room(&self) {
        fs::write(self.small.join("ballast"), vec![0; BALLAST]).unwrap();
    }

    fn give_room(&self) {
        fs::remove_file(self.small.join("ballast")).unwrap();
    }

    fn large(&self) -> &Path {
        self.large.path()
    }

    /// Runs a command, which must fail for want of space and succeed once there is some.
    fn fill(&self, arguments: &[&str]) -> String {
        self.take_room();
        let said = failed(&run(self.large(), arguments), 1);
        assert!(said.contains("full") || said.contains("No space left"), "{arguments:?}: {said}");
        self.give_room();
        good(&run(self.large(), arguments))
    }
}

#[test]
#[ignore = "commands_on_a_full_disk runs it with a small disk"]
fn what_a_full_disk_holds_is_whole() {
    let small = PathBuf::from(std::env::var_os("DCB_SMALL_DISK").expect("a small disk"));
    let disks = Disks { small: small.clone(), large: tempfile::tempdir().unwrap() };
    let large = disks.large();
    let on_small = |name: &str| small.join(name).to_str().unwrap().to_owned();
    let digest = |uri: &str| {
        let shown = good(&run(large, &["verify", uri, "--quick"]));
        shown.lines().find(|line| line.contains("digest")).expect("a digest").to_owned()
    };
    fs::write(large.join("a.ndjson"), lines(EVENTS)).unwrap();
    good(&run(large, &["import", "sqlite:a.db", "a.ndjson"]));
    let expected = digest("sqlite:a.db");
    let names = || fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().file_name());

    let imported = format!("sqlite:{}", on_small("imported.db"));
    disks.fill(&["import", &imported, "a.ndjson"]);
    assert_eq!(digest(&imported), expected);
    for name in names() {
        fs::remove_file(small.join(name)).unwrap();
    }

    let copied = format!("sqlite:{}", on_small("copied.db"));
    disks.fill(&["copy", "sqlite:a.db", &copied]);
    assert_eq!(digest(&copied), expected);
    for name in names() {
        fs::remove_file(small.join(name)).unwrap();
    }

    let saved = on_small("saved.db");
    disks.fill(&["backup", "sqlite:a.db", &saved]);
    assert_eq!(digest(&format!("sqlite:{saved}")), expected);
    fs::remove_file(&saved).unwrap();

    let restored = format!("sqlite:{}", on_small("restored.db"));
    disks.fill(&["restore", "a.db", &restored]);
    assert_eq!(digest(&restored), expected);
    for name in names() {
        fs::remove_file(small.join(name)).unwrap();
    }

    // A file that is to be replaced stays as it is until the new one is complete.
    let exported = on_small("a.ndjson");
    fs::write(&exported, "before").unwrap();
    disks.take_room();
    let said = failed(&run(large, &["export", "sqlite:a.db", &exported, "--force"]), 1);
    assert!(said.contains("No space left"), "{said}");
    assert_eq!(fs::read_to_string(&exported).unwrap(), "before");
    assert_eq!(
        names().count(),
        2,
        "what was written is removed: {:?}",
        names().collect::<Vec<_>>()
    );
    disks.give_room();
    good(&run(large, &["export", "sqlite:a.db", &exported, "--force"]));
    assert!(fs::read(&exported).unwrap() == fs::read(large.join("a.ndjson")).unwrap());
}

//! A disk of the server that is full: appends fail and say so, and go on once there is space.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dcb::{CallOptions, Status, Timeout};

use crate::cluster::Cluster;
use crate::work::{check, claim, open};

/// A small disk in memory for a tablespace, unmounted when dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// Returns `None` for who has no right to mount.
    fn mount(folder: &'a Path, owner: u32) -> Option<Self> {
        let options = format!("size=2m,mode=700,uid={owner}");
        mount(&["-t", "tmpfs", "-o", &options, "dcb"], folder).then_some(SmallDisk(folder))
    }

    fn grow(&self) {
        assert!(mount(&["-o", "remount,size=64m"], self.0));
    }
}

fn mount(arguments: &[&str], folder: &Path) -> bool {
    let mut command = Command::new("mount");
    command.args(arguments).arg(folder).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_space() {
    let Some(mut cluster) = Cluster::start() else { return };
    let owner = std::fs::metadata(cluster.folder()).unwrap().uid();
    let folder = tempfile::Builder::new().prefix("dcb-disk").tempdir_in("/tmp").unwrap();
    let Some(disk) = SmallDisk::mount(folder.path(), owner) else {
        eprintln!("SKIPPED: ONLY ROOT CAN MOUNT A SMALL DISK");
        return;
    };
    cluster.sql(&format!("create tablespace small location '{}'", folder.path().display()));
    cluster.sql("alter role dcb set default_tablespace = small");
    cluster.sql("grant create on tablespace small to dcb");
    let store = open(&cluster.uri()).unwrap();
    let call = CallOptions { timeout: Timeout::After(Duration::from_secs(20)), cancel: None };
    let large = "x".repeat(100_000);
    let mut attempts = Vec::new();
    let error = loop {
        let slot = attempts.len() as u64;
        attempts.push(claim(&*store, slot, &format!("{slot} {}", noise(slot, &large)), &call));
        if let Err(error) = &attempts.last().unwrap().answer {
            break error.clone();
        }
        assert!(attempts.len() < 1_000, "the disk never fills up");
    };
    assert_eq!(error.status, Status::Full, "{error}");
    assert_eq!(error.detail, i32::from_str_radix("53100", 36).unwrap());
    assert!(attempts.len() > 1);
    // What is stored can be read.
    assert_eq!(check(&*store, &attempts), attempts.len() - 1);
    disk.grow();
    let slot = attempts.len() as u64;
    attempts.push(claim(&*store, slot, &format!("{slot} after"), &call));
    assert!(attempts.last().unwrap().answer.is_ok(), "{:?}", attempts.last());
    check(&*store, &attempts);
    store.close();
    // The server must not hold what is unmounted.
    cluster.stop();
}

/// Returns a text as long as `like` that cannot be compressed much.
fn noise(seed: u64, like: &str) -> String {
    let mut state = seed + 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(
            b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
                [(state >> 58) as usize],
        )
    };
    like.chars().map(|_| next()).collect()
}

//! Failing file calls: each call of each kind, once and permanently.
//!
//! Whatever fails, calls return a status that reports it, no acknowledged event is lost, no
//! rejected append is stored, and the store works again, if necessary after it is reopened.

use std::path::Path;
use std::time::{Duration, Instant};

use dcb::capi::status::{
    DCB_CONDITION_FAILED, DCB_CORRUPT, DCB_FULL, DCB_INTERNAL, DCB_IO, DCB_NO_MEMORY,
    DCB_READ_ONLY, DCB_UNAVAILABLE, DCB_UNSUPPORTED_FORMAT, dcb_status,
};
use tempfile::TempDir;

use crate::check::{Known, check, check_next};
use crate::client::{Answer, Failure, Store};
use crate::disk::{self, Call, Fault};
use crate::random::Random;
use crate::roles::Part;
use crate::work::Append;

/// The calls that fail, with the error number, and whether a write first writes half of its bytes.
const KINDS: [(Call, i32, bool); 15] = [
    (Call::Open, libc::EMFILE, false),
    (Call::Open, libc::EIO, false),
    (Call::Open, libc::EACCES, false),
    (Call::Read, libc::EIO, false),
    (Call::Read, libc::ESTALE, false),
    (Call::Write, libc::EIO, false),
    (Call::Write, libc::ENOSPC, false),
    (Call::Write, libc::ENOSPC, true),
    (Call::Write, libc::EROFS, false),
    (Call::Truncate, libc::EIO, false),
    (Call::Sync, libc::EIO, false),
    (Call::WalSync, libc::EIO, false),
    (Call::WalSync, libc::ENOSPC, false),
    (Call::Map, libc::ENOMEM, false),
    (Call::Unlink, libc::EIO, false),
];
const OPTIONS: &str = r#"{"busy_timeout_ms":200}"#;
const WRITER: u64 = 1;
/// A part of the message of a store that has to be reopened.
pub const ENDED: &str = "open it again";

/// One run with one fault.
pub struct Run<'a> {
    path: &'a Path,
    /// Whether the fault is that reads fail with EIO.
    unreadable: bool,
    known: Known,
    /// The appends that failed with a status that promises that nothing was stored.
    absent: Vec<u64>,
    next: u64,
    /// Whether a sync has failed, so that the store has to be reopened.
    ended: bool,
    /// The first result that no fault permits.
    wrong: Option<String>,
}

impl<'a> Run<'a> {
    /// Starts a run on a store that does not exist yet.
    pub fn new(path: &'a Path) -> Self {
        Run {
            path,
            unreadable: false,
            known: Known::default(),
            absent: Vec::new(),
            next: 0,
            ended: false,
            wrong: None,
        }
    }

    fn check_status(&mut self, what: &str, status: dcb_status, failure: &Failure) {
        let fits = [DCB_IO, DCB_FULL, DCB_NO_MEMORY, DCB_READ_ONLY];
        // SQLite reports a disk that cannot be read as a damaged file.
        let unreadable = [DCB_CORRUPT, DCB_UNSUPPORTED_FORMAT];
        let fits = fits.contains(&status) || (self.unreadable && unreadable.contains(&status));
        if !fits && self.wrong.is_none() {
            self.wrong = Some(format!("{what}: {failure}"));
        }
    }

    fn open(&mut self) -> Option<Store> {
        self.ended = false;
        let opened = Store::open_with(self.path, OPTIONS);
        opened.map_err(|failure| self.check_status("open", failure.status, &failure)).ok()
    }

    fn append(&mut self, store: &Store) -> Answer<i64> {
        let number = self.next;
        self.next += 1;
        self.known.sent.insert((WRITER, number));
        let answer = store.append(&Append::new(WRITER, number).request());
        match &answer {
            Ok(last) => {
                self.known.stored.insert((WRITER, number), *last);
                if self.ended && self.wrong.is_none() {
                    self.wrong = Some("an append was stored after a sync had failed".into());
                }
            }
            Err(failure) if failure.status == DCB_CONDITION_FAILED => {
                self.known.refused.insert((WRITER, number), failure.position);
            }
            Err(failure) => {
                self.check_status("append", failure.status, failure);
                self.ended |= failure.message.contains(ENDED);
                if ![DCB_IO, DCB_UNAVAILABLE, DCB_INTERNAL].contains(&failure.status) {
                    self.absent.push(number);
                }
            }
        }
        answer
    }

    /// Opens, uses, closes and reopens the store as a program does, while the fault is active.
    pub fn use_store(&mut self) -> Option<Store> {
        let store = self.open();
        if let Some(store) = &store {
            for _ in 0..10 {
                let _ = self.append(store);
            }
            for request in ["", r#"{"query":{"items":[{"tags":["shard:1"]}]}}"#] {
                match store.read(request) {
                    Ok(read) => {
                        let seen = self.known.stored.values().max().copied().unwrap_or(0);
                        if read.position < seen && self.wrong.is_none() {
                            self.wrong = Some(format!(
                                "a read ends at {}, but {seen} is stored",
                                read.position
                            ));
                        }
                    }
                    Err(failure) => self.check_status("read", failure.status, &failure),
                }
            }
            if let Err(failure) = store.head() {
                self.check_status("head", failure.status, &failure);
            }
        }
        drop(store);
        let store = self.open();
        if let Some(store) = &store {
            let _ = self.append(store);
        }
        store
    }

    /// Checks the store once no call fails any more.
    pub fn recover(&mut self, store: Option<Store>, random: &mut Random) -> Result<(), String> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        if let Some(store) = store
            && let Err(failure) = self.append(&store)
            && failure.status != DCB_CONDITION_FAILED
            && !failure.message.contains(ENDED)
        {
            return Err(format!("no call fails any more, but an append returns {failure}"));
        }
        let store = self.open().ok_or_else(|| self.wrong.take().unwrap_or_default())?;
        check(&store, &self.known, 2, random)?;
        for number in &self.absent {
            let tag = Append::new(WRITER, *number).tag();
            let request = format!(r#"{{"query":{{"items":[{{"tags":["{tag}"]}}]}}}}"#);
            let found = store.read(&request).map_err(|failure| failure.to_string())?;
            if !found.events.is_empty() {
                return Err(format!("append {number} failed, but is stored: {:?}", found.events));
            }
        }
        let mut appends = (1_000..).map(|number| Append::new(WRITER, number));
        check_next(&store, &appends.find(|append| append.subject.is_none()).expect("many"))
    }
}

/// Runs once with this fault. Returns whether a call failed.
fn run(fault: Fault, random: &mut Random) -> Result<bool, String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.db");
    disk::watch(folder.path());
    let mut run = Run::new(&path);
    run.unreadable = fault.call == Call::Read && fault.errno == libc::EIO;
    disk::fail(Some(fault));
    let store = run.use_store();
    let failed = disk::fail(None);
    run.recover(store, random)?;
    Ok(failed > 0)
}

/// The role of a process that fails one call after the other, of one kind.
pub fn play(part: &Part) {
    let (call, errno, short) = KINDS[part.first as usize];
    let mut random = Random::new(part.writer);
    let mut outcome = String::new();
    for for_good in [false, true] {
        for nth in 1.. {
            let fault = Fault { call, nth, for_good, errno, short };
            match run(fault, &mut random) {
                Ok(true) => {}
                Ok(false) => {
                    outcome += &format!("{} calls failed; ", nth - 1);
                    break;
                }
                Err(wrong) => {
                    outcome = format!("wrong: {fault:?}: {wrong}");
                    std::fs::write(&part.witness, outcome).unwrap();
                    return;
                }
            }
        }
    }
    std::fs::write(&part.witness, outcome).unwrap();
}

#[test]
fn no_failing_file_call_loses_an_event() {
    let folder = TempDir::new().unwrap();
    let mut wrong = Vec::new();
    for (kind, what) in KINDS.iter().enumerate() {
        let part = Part {
            role: "faults".into(),
            witness: folder.path().join(kind.to_string()),
            writer: Random::seed_of_this_run(),
            first: kind as u64,
            ..Part::default()
        };
        let mut process = part.start();
        // A hang is a failure. The limit is far above what all runs take.
        let end = Instant::now() + Duration::from_secs(300);
        let status = loop {
            match process.try_wait().unwrap() {
                None if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
                other => break other,
            }
        };
        if status.is_none() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        let outcome = std::fs::read_to_string(&part.witness).unwrap_or_default();
        println!("{what:?}: {status:?}: {outcome}");
        if !status.is_some_and(|status| status.success()) || outcome.starts_with("wrong") {
            wrong.push(format!("{what:?} ({status:?}): {outcome}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The role of a process whose store's folder is deleted, and which then runs out of descriptors.
pub fn lose_files(part: &Part) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("x.db")).unwrap();
    assert_eq!(
        store.append(&Append::new(WRITER, 0).request()),
        Ok(Append::new(WRITER, 0).len as i64)
    );
    std::fs::remove_dir_all(folder.path()).unwrap();
    for number in 1..4 {
        let failure = store.append(&Append::new(WRITER, number).request()).unwrap_err();
        assert_eq!(failure.status, DCB_IO, "{failure}");
    }
    drop(store);

    let folder = TempDir::new().unwrap();
    let paths = ["x.db", "y.db"].map(|name| folder.path().join(name));
    let store = Store::open(&paths[0]).unwrap();
    store.append(&Append::new(WRITER, 0).request()).unwrap();
    let mut files = Vec::new();
    set_descriptors(64);
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    let failure = Store::open(&paths[1]).err().expect("a store without descriptors");
    assert_eq!((failure.status, paths[1].exists()), (DCB_IO, false), "{failure}");
    // The open store still works: it has every descriptor that it needs.
    let append = (1..).map(|number| Append::new(WRITER, number));
    for append in append.filter(|append| append.subject.is_none()).take(100) {
        store.append(&append.request()).unwrap();
    }
    drop(files);
    drop(Store::open(&paths[1]).unwrap());
    let read = store.read("").unwrap();
    assert_eq!(read.position, read.events.len() as i64);
    std::fs::write(&part.witness, "done").unwrap();
}

/// Limits how many descriptors this process may have.
fn set_descriptors(count: u64) {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: count };
    // SAFETY: the limit is a local variable.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

#[test]
fn a_deleted_folder_and_used_up_descriptors_are_reported() {
    let folder = TempDir::new().unwrap();
    let witness = folder.path().join("outcome");
    let part = Part { role: "lost files".into(), witness: witness.clone(), ..Part::default() };
    assert!(part.start().wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(witness).unwrap(), "done");
}

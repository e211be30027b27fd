//! The roles of the processes in the tests.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use dcb::capi::status::{DCB_BUSY, DCB_CONDITION_FAILED};
use dcb::failpoints;
use dcb::failpoints::SeededBug;

use crate::client::{Answer, Store};
use crate::disk;
use crate::random::Random;
use crate::work::Append;

const PART: &str = "CRASH_PART";
/// The name of a crash point that is not in the library: any call that changes a file.
pub const FILE_CALL: &str = "file call";

/// The task of one process, which fits in an environment variable.
#[derive(Debug, Clone, Default)]
pub struct Part {
    pub role: String,
    pub store: PathBuf,
    /// The folder in which the process records what it does.
    pub witness: PathBuf,
    /// The number of the process's first writer thread; those of the others follow.
    pub writer: u64,
    pub threads: u64,
    /// The number of each thread's first append.
    pub first: u64,
    /// The crash point at which the process ends, and how many times it reaches it until then.
    pub end_at: Option<(String, u32)>,
    pub flaw: Option<SeededBug>,
}

impl Part {
    fn to_text(&self) -> String {
        let (place, nth) = self.end_at.clone().unwrap_or_default();
        let flaw = self.flaw.and_then(|flaw| FLAWS.iter().position(|own| *own == flaw));
        [
            self.role.clone(),
            self.store.display().to_string(),
            self.witness.display().to_string(),
            self.writer.to_string(),
            self.threads.to_string(),
            self.first.to_string(),
            place,
            nth.to_string(),
            flaw.map_or(String::new(), |flaw| flaw.to_string()),
        ]
        .join("\n")
    }

    fn from_text(text: &str) -> Part {
        let mut words = text.split('\n').map(str::to_owned);
        let mut word = || words.next().expect("as many words as were written");
        Part {
            role: word(),
            store: word().into(),
            witness: word().into(),
            writer: word().parse().unwrap(),
            threads: word().parse().unwrap(),
            first: word().parse().unwrap(),
            end_at: Some((word(), word().parse().unwrap())).filter(|(place, _)| !place.is_empty()),
            flaw: word().parse::<usize>().ok().map(|flaw| FLAWS[flaw]),
        }
    }

    /// Starts this program again for the task.
    pub fn start(&self) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "role", "--ignored", "--nocapture", "--test-threads=1"])
            .env(PART, self.to_text())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap()
    }

    /// Runs the task in a separate process. Returns what the process writes to its witness: the
    /// first line, which says how far it came, and the rest, if any, with the seed, which says what
    /// was wrong.
    pub fn outcome(&self) -> (String, Option<String>) {
        let status = self.start().wait().unwrap();
        assert!(status.success(), "{status} (seed {})", self.writer);
        let outcome = std::fs::read_to_string(&self.witness).unwrap();
        let (done, wrong) = outcome.split_once('\n').unwrap();
        let wrong = (!wrong.is_empty()).then(|| format!("seed {}: {wrong}", self.writer));
        (done.to_owned(), wrong)
    }
}

/// Every bug that can be seeded.
pub const FLAWS: [SeededBug; 10] = [
    SeededBug::BelieveLog,
    SeededBug::AnswerBeforeSync,
    SeededBug::SkipCatchUp,
    SeededBug::ForgetGroup,
    SeededBug::MarkTooEarly,
    SeededBug::ShowUnsynced,
    SeededBug::LoseLastBlock,
    SeededBug::BelieveOldPages,
    SeededBug::CheckTooFar,
    SeededBug::ReadHeadLater,
];

/// Runs the task that the environment names.
pub fn play() {
    let Ok(text) = std::env::var(PART) else { return };
    let part = Part::from_text(&text);
    match &part.end_at {
        Some((place, nth)) if place == FILE_CALL => {
            disk::watch(part.store.parent().expect("a store's folder"));
            disk::end_at(u64::from(*nth));
        }
        Some((place, nth)) => failpoints::end_at(place, *nth),
        None => {}
    }
    if let Some(flaw) = part.flaw {
        failpoints::seed(flaw);
    }
    match part.role.as_str() {
        "writer" => write(&part),
        role if role.starts_with("power") => crate::power::play(&part),
        "faults" => crate::faults::play(&part),
        "history" => crate::histories::play(&part),
        "memory" => crate::memory::play(&part),
        "lost files" => crate::faults::lose_files(&part),
        "undone" => crate::undone::play(&part),
        other => panic!("no such role: {other}"),
    }
}

/// The record of one writer. Each line is in the file as a whole, or not at all.
pub struct Witness(File);

impl Witness {
    pub fn path(folder: &Path, writer: u64) -> PathBuf {
        folder.join(format!("{writer}.witness"))
    }

    fn new(folder: &Path, writer: u64) -> Witness {
        let path = Witness::path(folder, writer);
        Witness(OpenOptions::new().create(true).append(true).open(path).unwrap())
    }

    fn note(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn about_to_send(&mut self, number: u64) {
        self.note(&format!("sends {number}"));
    }

    /// Records the result of an append, durably, before the thread sends the next one.
    fn answered(&mut self, number: u64, answer: &Answer<i64>) {
        let line = match answer {
            Ok(last) => format!("stored {number} {last}"),
            Err(failure) if failure.status == DCB_CONDITION_FAILED => {
                format!("refused {number} {}", failure.position)
            }
            Err(failure) if failure.status == DCB_BUSY => format!("busy {number} 0"),
            Err(failure) => format!("broken {number} 0 {failure}"),
        };
        self.note(&line);
        self.0.sync_data().unwrap();
    }
}

/// Opens the store. Retries while other processes are opening, creating or closing it.
pub fn open(path: &Path) -> Answer<Store> {
    loop {
        match Store::open(path) {
            Err(failure) if failure.status == DCB_BUSY => {}
            other => return other,
        }
    }
}

/// Appends with several threads forever, closing and reopening the store now and then.
fn write(part: &Part) {
    let numbers: Vec<AtomicU64> = (0..part.threads).map(|_| AtomicU64::new(part.first)).collect();
    let mut random = Random::new(part.writer);
    loop {
        let store = match open(&part.store) {
            Ok(store) => store,
            Err(failure) => {
                let mut witness = Witness::new(&part.witness, part.writer);
                witness.answered(0, &Err(failure));
                return;
            }
        };
        let appends = 5 + random.below(100);
        std::thread::scope(|scope| {
            for (writer, number) in (part.writer..).zip(&numbers) {
                let store = &store;
                scope.spawn(move || {
                    let mut witness = Witness::new(&part.witness, writer);
                    for _ in 0..appends {
                        let number = number.fetch_add(1, Relaxed);
                        let append = Append::new(writer, number);
                        witness.about_to_send(number);
                        witness.answered(number, &store.append(&append.request()));
                    }
                });
            }
        });
    }
}

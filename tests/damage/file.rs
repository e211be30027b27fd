//! The files of a store that holds a bit of everything, as bytes in memory.

use std::path::Path;

use tempfile::TempDir;

use crate::client::{Store, Stored};
use crate::random::Random;

/// The files of a store. An empty one stands for a file that does not exist.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Files {
    pub database: Vec<u8>,
    pub wal: Vec<u8>,
    pub shared: Vec<u8>,
}

impl Files {
    fn read(path: &Path) -> Files {
        let wal = std::fs::read(format!("{}-wal", path.display())).unwrap_or_default();
        Files { database: std::fs::read(path).unwrap(), wal, shared: Vec::new() }
    }

    /// Reads a consistent state of an open store's files, which change while maintenance works.
    fn read_consistent(path: &Path) -> Files {
        loop {
            let (files, again) = (Files::read(path), Files::read(path));
            if files == again {
                return files;
            }
        }
    }

    /// Writes the files as those of a store at `path`.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, &self.database).unwrap();
        for (end, bytes) in [("-wal", &self.wal), ("-shm", &self.shared)] {
            if !bytes.is_empty() {
                std::fs::write(format!("{}{end}", path.display()), bytes).unwrap();
            }
        }
    }
}

/// A store's files, and what the undamaged store returns.
#[derive(Debug)]
pub struct Original {
    pub name: &'static str,
    pub files: Files,
    /// The WAL as it was some appends earlier.
    pub older_wal: Vec<u8>,
    /// The text of each event, as a read returns it.
    pub texts: Vec<String>,
    pub events: Vec<Stored>,
    /// Each append that had ids, and the position of its last event.
    pub repeatable: Vec<(String, i64)>,
}

/// Creates a temporary folder, in memory if possible: these tests are not about durability.
pub fn folder() -> TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { TempDir::new_in(shm) } else { TempDir::new() }.unwrap()
}

/// Returns an append with events of all shapes.
fn request(number: u64, random: &mut Random) -> String {
    let with_ids = random.one_in(3);
    let events = (0..1 + random.below(5)).map(|index| {
        let kind = random.below(4);
        let mut tags = vec![format!("append:{number}"), format!("shard:{}", random.below(7))];
        if random.one_in(10) {
            tags.extend((0..40).map(|tag| format!("many:{}-{tag}", number % 5)));
        }
        if random.one_in(8) {
            tags.clear();
        }
        let size = match random.below(20) {
            0 => 70_000,
            1 | 2 => 5_000,
            other => other * 20,
        };
        let data = format!(r#"{{"n" :{number}, "pad":"{}"}}"#, "ü".repeat(size as usize / 2));
        let id = if with_ids { format!(r#","id":"{number}-{index}""#) } else { String::new() };
        let metadata = if random.one_in(4) { r#","metadata":{ "by":"me" }"# } else { "" };
        let tags = tags.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(",");
        format!(r#"{{"type":"Kind{kind}","tags":[{tags}],"data":{data}{id}{metadata}}}"#)
    });
    format!(r#"{{"events":[{}]}}"#, events.collect::<Vec<_>>().join(","))
}

impl Original {
    /// Returns a store after a clean close: without a WAL, and with everything in segments.
    pub fn closed() -> Original {
        make("closed", 7, true)
    }

    /// Returns a store as a kill leaves it: with a WAL, and with events that are in no segment.
    pub fn killed() -> Original {
        make("killed", 7, false)
    }

    /// Returns a store of other events, with a WAL.
    pub fn other() -> Original {
        make("other", 8, false)
    }
}

fn make(name: &'static str, seed: u64, closes: bool) -> Original {
    let mut random = Random::new(seed);
    let folder = folder();
    let path = folder.path().join("x.db");
    let mut repeatable = Vec::new();
    let mut older_wal = Vec::new();
    let mut append = |store: &Store, number: u64, random: &mut Random| {
        let request = request(number, random);
        let last = store.append(&request).unwrap();
        if request.contains(r#""id""#) {
            repeatable.push((request, last));
        }
    };
    let store = Store::open(&path).unwrap();
    for number in 0..60 {
        append(&store, number, &mut random);
        if number == 30 {
            older_wal = Files::read(&path).wal;
        }
    }
    // Closing merged everything into one segment; these appends add more.
    drop(store);
    let store = Store::open(&path).unwrap();
    for number in 100..140 {
        append(&store, number, &mut random);
    }
    let text = store.read_text("").unwrap();
    let read = store.read("").unwrap();
    let files = if closes {
        drop(store);
        Files::read(&path)
    } else {
        wait_for_quiet(&path);
        for number in 200..206 {
            append(&store, number, &mut random);
        }
        return finish(name, Files::read_consistent(&path), older_wal, &store, repeatable);
    };
    assert!(text.ends_with('}') && !read.events.is_empty());
    let again = folder.path().join("again.db");
    files.write(&again);
    let store = Store::open(&again).unwrap();
    finish(name, files, older_wal, &store, repeatable)
}

/// Waits until maintenance has nothing to do, which is when the files no longer change.
fn wait_for_quiet(path: &Path) {
    let mut last = Vec::new();
    loop {
        std::thread::sleep(std::time::Duration::from_millis(700));
        let files = Files::read(path);
        let now = [files.database, files.wal].concat();
        if now == last {
            return;
        }
        last = now;
    }
}

fn finish(
    name: &'static str,
    files: Files,
    older_wal: Vec<u8>,
    store: &Store,
    repeatable: Vec<(String, i64)>,
) -> Original {
    let events = store.read("").unwrap().events;
    let texts = (1..=events.len())
        .map(|position| {
            let after = position - 1;
            let text = store.read_text(&format!(r#"{{"after":{after},"limit":1}}"#)).unwrap();
            let text = text.strip_prefix(r#"{"events":["#).unwrap();
            text.strip_suffix(&format!(r#"],"position":{position}}}"#)).unwrap().to_owned()
        })
        .collect();
    Original { name, files, older_wal, texts, events, repeatable }
}

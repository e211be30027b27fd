//! No store, but what no store can do without whose callers wait until their events are on the
//! disk, and whose reads fetch them from a file: the calls of the system, and nothing else. No
//! condition is judged and no index kept; where an event lies is known beforehand.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};

use super::{Append, Form, Found, Outcome, Subject};
use crate::load::EVENTS_PER_ENTITY;

/// About what an event takes in a file.
const EVENT: usize = 400;
/// Type and data of one.
const TYPE: std::ops::Range<usize> = 0..16;
const DATA: std::ops::Range<usize> = 64..320;
const PAGE: usize = 4096;
/// The log, which is written over and over again: that is synced faster than one that grows.
const LOG: usize = 16 * 1024 * 1024;

pub struct Bare {
    log: File,
    /// Where the next group goes.
    end: AtomicU64,
    gathering: Mutex<Gathering>,
    /// What is there to be read: what was appended without a condition.
    events: File,
    count: AtomicU64,
}

#[derive(Default)]
struct Gathering {
    bytes: Vec<u8>,
    group: Arc<Group>,
    is_led: bool,
}

/// The callers that sleep until their bytes are on the disk.
#[derive(Default)]
struct Group {
    turn: Mutex<Turn>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Turn {
    #[default]
    Waits,
    MayLead,
    IsDone,
}

impl Group {
    fn set(&self, turn: Turn) {
        *self.turn.lock().expect("a turn") = turn;
        match turn {
            Turn::MayLead => self.changed.notify_one(),
            _ => self.changed.notify_all(),
        }
    }

    /// Sleeps until somebody has synced, or this caller is to do it.
    fn sleep(&self) -> Turn {
        let mut turn = self.turn.lock().expect("a turn");
        while *turn == Turn::Waits {
            turn = self.changed.wait(turn).expect("a turn");
        }
        if *turn == Turn::MayLead { std::mem::replace(&mut *turn, Turn::Waits) } else { *turn }
    }
}

impl Bare {
    pub fn open(folder: &Path) -> Self {
        let file = |name: &str| {
            let mut options = File::options();
            options.create(true).truncate(false).read(true).write(true);
            options.open(folder.join(name)).expect("a file")
        };
        let (log, events) = (file("log"), file("events"));
        log.write_all_at(&vec![0; LOG], 0).expect("a log");
        log.sync_all().expect("a sync");
        let end = AtomicU64::new(0);
        // A store that is opened again has the events that it was filled with.
        let count = events.metadata().expect("a length").len() / EVENT as u64;
        Bare { log, end, gathering: Mutex::default(), events, count: count.into() }
    }

    /// Writes pages, and waits until the disk has them.
    fn write(&self, mut bytes: Vec<u8>) {
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        for piece in bytes.chunks(LOG) {
            let mut begin = self.end.load(Relaxed);
            if begin as usize + piece.len() > LOG {
                begin = 0;
            }
            self.log.write_all_at(piece, begin).expect("a write");
            self.end.store(begin + piece.len() as u64, Relaxed);
        }
        self.log.sync_data().expect("a sync");
    }

    fn lead(&self) {
        let (bytes, group) = {
            let mut gathering = self.gathering.lock().expect("the queue");
            (std::mem::take(&mut gathering.bytes), std::mem::take(&mut gathering.group))
        };
        self.write(bytes);
        group.set(Turn::IsDone);
        let mut gathering = self.gathering.lock().expect("the queue");
        gathering.is_led = !gathering.bytes.is_empty();
        if gathering.is_led {
            gathering.group.set(Turn::MayLead);
        }
    }
}

/// One event as it might lie in a file.
fn event(data: &str) -> [u8; EVENT] {
    let mut bytes = [b' '; EVENT];
    bytes[DATA][..data.len()].copy_from_slice(data.as_bytes());
    bytes
}

impl Subject for Bare {
    fn append(&self, append: &Append<'_>) -> Outcome {
        let bytes = append.events.iter().flat_map(|one| event(one.data)).collect::<Vec<u8>>();
        if append.condition.is_none() {
            let first = self.count.fetch_add(append.events.len() as u64, Relaxed);
            self.events.write_all_at(&bytes, first * EVENT as u64).expect("a write");
            return Outcome::Stored;
        }
        let (group, leads) = {
            let mut gathering = self.gathering.lock().expect("the queue");
            gathering.bytes.extend_from_slice(&bytes);
            let leads = !std::mem::replace(&mut gathering.is_led, true);
            (Arc::clone(&gathering.group), leads)
        };
        if leads || group.sleep() == Turn::MayLead {
            self.lead();
        }
        Outcome::Stored
    }

    /// An event is in a page of its own, and one page more tells where they are.
    fn read(&self, tag: Option<&str>, _form: Form) -> Found {
        let count = self.count.load(Relaxed);
        let mut found = Found { position: count, ..Found::default() };
        let Some(tag) = tag else {
            let (mut at, mut buffer) = (0, vec![0; 160 * EVENT]);
            while at < count {
                let events = (count - at).min(160);
                let bytes = &mut buffer[..events as usize * EVENT];
                self.events.read_exact_at(bytes, at * EVENT as u64).expect("events");
                bytes.chunks(EVENT).for_each(|event| found.look(&event[TYPE], &event[DATA]));
                at += events;
            }
            return found;
        };
        let digits = tag.bytes().filter(u8::is_ascii_digit);
        let number = digits.fold(0, |number: u64, digit| {
            number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
        });
        let entities = (count / EVENTS_PER_ENTITY).max(1);
        let first = number % entities;
        let mut page = [0; PAGE];
        let places = (0..EVENTS_PER_ENTITY).map(|index| first + index * entities);
        for (index, place) in std::iter::once(number * 7 % count).chain(places).enumerate() {
            let begin = place * EVENT as u64;
            let begin = begin.min((count * EVENT as u64).saturating_sub(PAGE as u64));
            self.events.read_exact_at(&mut page, begin).expect("a page");
            if index > 0 {
                found.look(&page[TYPE], &page[DATA]);
            }
        }
        found
    }
}

//! Any sequence of calls, on each kind of store: their answers are held against a list of events,
//! and so against each other.

use std::fmt::Write as _;

use dcb::capi::status::{DCB_CANCELLED, DCB_CLOSED, DCB_INVALID_ARGUMENT, DCB_TIMEOUT};
use tempfile::TempDir;

use super::c::{Cursor, Patience, Store};
use super::documents::{folder, whole};
use super::model::{Event, Found, Model, Read};
use super::rules;

const TYPES: [&str; 3] = ["A", "B", "Ünïcode"];
const TAGS: [&str; 5] = ["x", "y:1", "y:2", "z:\\u00e9", "A"];
const DATA: [&str; 5] = ["null", " {\"a\" : 1e400, \"a\":2 }", "\"\\ud800\"", "1", "LONG"];
const CURSORS: usize = 3;

/// What the bytes say; when they are used up, zeros.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        (*first).into()
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() % bound
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (some, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        some
    }

    fn position(&mut self) -> i64 {
        match self.next() {
            255 => i64::MAX,
            254 => -1,
            253 => -2,
            other => other as i64,
        }
    }

    /// Some of the tags, as a JSON list.
    fn tags(&mut self) -> String {
        let chosen = self.next();
        let tags = TAGS.iter().enumerate().filter(|(bit, _)| chosen >> bit & 1 == 1);
        let tags: Vec<_> = tags.map(|(_, tag)| format!("\"{tag}\"")).collect();
        format!("[{}]", tags.join(","))
    }

    fn query(&mut self) -> String {
        let items = self.below(4);
        if items == 0 {
            return "null".into();
        }
        let items = (0..items).map(|_| {
            let types = match self.below(TYPES.len() + 1) {
                0 => String::new(),
                one => format!("\"{}\"", TYPES[one - 1]),
            };
            format!(r#"{{"types":[{types}],"tags":{}}}"#, self.tags())
        });
        format!(r#"{{"items":[{}]}}"#, items.collect::<Vec<_>>().join(","))
    }

    fn append(&mut self) -> String {
        let shape = self.next();
        // Now and then as many as make a segment of the index.
        let count = if shape.is_multiple_of(16) { 40 } else { 1 + shape % 3 };
        let first_id = if shape >= 160 { Some(self.below(32)) } else { None };
        let (start, step) = (self.next(), self.next());
        let events = (0..count).map(|index| {
            let bytes = [start, start + index * step, start * index + step, index ^ step];
            let bytes = bytes.map(|byte| byte as u8);
            let mut of = Bytes(&bytes);
            let (name, tags) = (TYPES[of.below(TYPES.len())], of.tags());
            let data = match DATA[of.below(DATA.len())] {
                "LONG" => format!("\"{}\"", "long".repeat(1_500)),
                other => other.to_owned(),
            };
            let mut event = format!(r#"{{"type":"{name}","tags":{tags},"data":{data}"#);
            if let Some(first) = first_id {
                let _ = write!(event, r#","id":"i{}""#, first + index);
            }
            if of.below(4) == 0 {
                event += r#","metadata":{"m" :[]}"#;
            }
            event + "}"
        });
        let events = events.collect::<Vec<_>>().join(",");
        let conditions = (0..self.below(3)).map(|_| {
            let (query, after) = (self.query(), self.position());
            format!(r#"{{"failIfEventsMatch":{query},"after":{after}}}"#)
        });
        let conditions = conditions.collect::<Vec<_>>().join(",");
        format!(r#"{{"events":[{events}],"condition":[{conditions}]}}"#)
    }

    fn read(&mut self) -> String {
        let shape = self.next();
        let mut request = format!(r#"{{"query":{},"backwards":{}"#, self.query(), shape & 1 == 1);
        for (bit, key) in [(2, "after"), (4, "before"), (8, "limit")] {
            if shape & bit != 0 {
                let _ = write!(request, r#","{key}":{}"#, self.position());
            }
        }
        request + "}"
    }
}

/// What a cursor has still to give.
struct Expected {
    found: Found,
    request: Read,
    given: usize,
    ended: bool,
}

impl Expected {
    fn position(&self) -> i64 {
        let (events, position) = &self.found;
        if self.request.backwards || self.ended || self.request.limit == Some(0) {
            return *position;
        }
        match self.given {
            0 => self.request.after,
            given => events[given - 1].0,
        }
    }
}

/// One store, as it is open now.
struct Subject {
    uri: String,
    store: Store,
    /// The same file, opened once more.
    again: Option<Store>,
    cursors: [Option<Cursor>; CURSORS],
    _folder: Option<TempDir>,
}

impl Subject {
    fn new(uri: String, is_open_twice: bool, folder: Option<TempDir>) -> Subject {
        let open = || Store::open(uri.as_bytes(), None).unwrap_or_else(|_| panic!("open {uri}"));
        let (store, again) = (open(), is_open_twice.then(open));
        Subject { uri, store, again, cursors: [const { None }; CURSORS], _folder: folder }
    }

    fn store(&self, turn: usize) -> &Store {
        self.again.as_ref().filter(|_| turn % 2 == 1).unwrap_or(&self.store)
    }
}

struct Play {
    subjects: Vec<Subject>,
    model: Model,
    cursors: [Option<Expected>; CURSORS],
    appended: Vec<Vec<u8>>,
}

/// Plays the calls that the bytes say.
pub fn calls(input: &[u8]) {
    let mut bytes = Bytes(input);
    let kind = bytes.next();
    let mut subjects = vec![
        Subject::new("memory:".into(), false, None),
        Subject::new("sqlite::memory:".into(), false, None),
    ];
    // A file takes its time: not every sequence has one.
    if kind % 2 == 1 {
        let folder = folder();
        let uri = format!("sqlite:{}", folder.path().join("x.db").display());
        subjects.push(Subject::new(uri, kind % 4 == 3, Some(folder)));
    }
    let mut play = Play {
        subjects,
        model: Model::default(),
        cursors: [const { None }; CURSORS],
        appended: Vec::new(),
    };
    // A bound, since each call is made on each store.
    for turn in 0..60 {
        if bytes.0.is_empty() {
            break;
        }
        play.turn(turn, &mut bytes);
    }
    play.end();
}

impl Play {
    fn turn(&mut self, turn: usize, bytes: &mut Bytes<'_>) {
        match bytes.below(16) {
            0..=4 => {
                let request = bytes.append().into_bytes();
                self.append(turn, request);
            }
            5 if !self.appended.is_empty() => {
                let nth = bytes.below(self.appended.len());
                self.append(turn, self.appended[nth].clone());
            }
            6 => {
                let count = bytes.next();
                self.append(turn, bytes.take(count).to_vec());
            }
            7 | 8 => {
                let request = bytes.read();
                self.read(turn, request.as_bytes());
            }
            9 => {
                let count = bytes.next();
                self.read(turn, bytes.take(count));
            }
            10 => self.open_cursor(turn, bytes),
            11 | 12 => self.next(bytes),
            13 => self.heads(turn, bytes),
            14 => self.refusals(turn, bytes),
            15 => self.reopen(bytes),
            _ => self.close_cursor(bytes.below(CURSORS)),
        }
    }

    fn append(&mut self, turn: usize, request: Vec<u8>) {
        let meaning = rules::append(&request);
        let expected = meaning.as_ref().map(|append| self.model.append(append));
        for subject in &self.subjects {
            let answer = subject.store(turn).append(&request, None);
            match (&expected, answer) {
                (Err(faults), Err((status, 0))) if faults.has(status) => {}
                (Ok(expected), answer) if *expected == answer => {}
                (expected, answer) => panic!("{}: {answer:?}, not {expected:?}", subject.uri),
            }
        }
        if meaning.is_ok() {
            self.appended.push(request);
        }
    }

    fn read(&self, turn: usize, request: &[u8]) {
        let expected = rules::read(request).map(|read| self.model.read(&read));
        for subject in &self.subjects {
            match (&expected, subject.store(turn).read(request, None)) {
                (Err(faults), Err((status, 0))) if faults.has(status) => {}
                (Ok(expected), Ok(found)) if *expected == found => {}
                (expected, found) => panic!("{}: {found:?}, not {expected:?}", subject.uri),
            }
        }
    }

    fn open_cursor(&mut self, turn: usize, bytes: &mut Bytes<'_>) {
        let (slot, request) = (bytes.below(CURSORS), bytes.read());
        self.close_cursor(slot);
        match rules::read(request.as_bytes()) {
            Err(faults) => {
                for subject in &self.subjects {
                    let answer = subject.store(turn).cursor(request.as_bytes(), None);
                    assert!(matches!(answer, Err((status, 0)) if faults.has(status)));
                }
            }
            Ok(read) => {
                let found = self.model.read(&read);
                self.cursors[slot] =
                    Some(Expected { found, request: read, given: 0, ended: false });
                for subject in &mut self.subjects {
                    let cursor = subject.store(turn).cursor(request.as_bytes(), None);
                    subject.cursors[slot] = Some(cursor.expect("a cursor"));
                }
                self.check_position(slot);
            }
        }
    }

    fn check_position(&self, slot: usize) {
        let Some(expected) = &self.cursors[slot] else { return };
        for subject in &self.subjects {
            let position = subject.cursors[slot].as_ref().map(Cursor::position);
            assert_eq!(position, Some(expected.position()), "{}", subject.uri);
        }
    }

    fn next(&mut self, bytes: &mut Bytes<'_>) {
        let (slot, max) = (bytes.below(CURSORS), bytes.below(12));
        let Some(expected) = &mut self.cursors[slot] else { return };
        let events = &expected.found.0;
        let rest: &[(i64, Event)] = &events[expected.given..];
        // A batch may be shorter, as its bytes are bounded; of these few events none is.
        let batch = &rest[..max.min(rest.len())];
        for subject in &mut self.subjects {
            let cursor = subject.cursors[slot].as_mut().expect("as in the model");
            if bytes.below(8) == 7 {
                let answer = cursor.next(max.max(1), Some(&Patience::cancelled()));
                assert_eq!(answer, Err((DCB_CANCELLED, 0)), "{}", subject.uri);
            }
            match cursor.next(max, None) {
                Err((DCB_INVALID_ARGUMENT, 0)) if max == 0 => {}
                Ok(given) if max > 0 => assert_eq!(given, batch, "{}", subject.uri),
                other => panic!("{}: {other:?}", subject.uri),
            }
        }
        expected.ended |= max > 0 && batch.is_empty();
        expected.given += batch.len();
        self.check_position(slot);
    }

    fn close_cursor(&mut self, slot: usize) {
        self.cursors[slot] = None;
        for subject in &mut self.subjects {
            subject.cursors[slot] = None;
        }
    }

    fn heads(&self, turn: usize, bytes: &mut Bytes<'_>) {
        let (after, head) = (bytes.position(), self.model.head());
        for subject in &self.subjects {
            let store = subject.store(turn);
            assert_eq!(store.head(None), Ok(head), "{}", subject.uri);
            assert_eq!(store.count(Some(&Patience::of(0))), Ok(head), "{}", subject.uri);
            let expected = match after {
                ..-1 => Err((DCB_INVALID_ARGUMENT, 0)),
                _ if head > after.max(0) => Ok(head),
                _ => Err((DCB_TIMEOUT, 0)),
            };
            assert_eq!(store.wait(after, &Patience::of(0)), expected, "{}", subject.uri);
        }
    }

    /// Calls that are refused, whatever the store holds.
    fn refusals(&self, turn: usize, bytes: &mut Bytes<'_>) {
        let request = bytes.append().into_bytes();
        if rules::append(&request).is_err() {
            return;
        }
        for subject in &self.subjects {
            let store = subject.store(turn);
            for (deadline, status) in
                [(Patience::cancelled(), DCB_CANCELLED), (Patience::broken(), DCB_INVALID_ARGUMENT)]
            {
                let (refused, deadline) = (Err((status, 0)), Some(&deadline));
                let last = store.append(&request, deadline).map(|stored| stored.last);
                assert_eq!(last, refused, "{}", subject.uri);
                assert_eq!(store.head(deadline), refused, "{}", subject.uri);
                let read = store.read(b"", deadline).map(|found| found.1);
                assert_eq!(read, refused, "{}", subject.uri);
            }
            for answer in store.without_outputs() {
                assert_eq!(answer, Err((DCB_INVALID_ARGUMENT, 0)), "{}", subject.uri);
            }
        }
        let null = Err((DCB_INVALID_ARGUMENT, 0));
        assert_eq!(Store::null().append(&request, None).map(|stored| stored.last), null);
        assert_eq!(Store::null().head(None), null);
        assert_eq!(Store::null().wait(0, &Patience::of(0)), null);
        assert_eq!(Cursor::null().next(1, None).map(|events| events.len() as i64), null);
    }

    /// Closes what outlives its closing, and opens it again. Its cursors end.
    fn reopen(&mut self, bytes: &mut Bytes<'_>) {
        if self.subjects.len() < 3 {
            return;
        }
        for slot in 0..CURSORS {
            self.close_cursor(slot);
        }
        let file = self.subjects.pop().expect("three");
        let Subject { uri, store, again, _folder, .. } = file;
        let first = bytes.next().is_multiple_of(2);
        if first {
            drop(store);
            drop(again);
        } else {
            drop(again);
            drop(store);
        }
        self.subjects.push(Subject::new(uri, bytes.next() % 2 == 1, _folder));
    }

    /// Everything is there, and what outlives its store says so.
    fn end(self) {
        for subject in self.subjects {
            whole(&subject.store, &self.model);
            let Subject { uri, store, again, cursors, _folder } = subject;
            drop((store, again));
            for mut cursor in cursors.into_iter().flatten() {
                assert_eq!(cursor.next(1, None), Err((DCB_CLOSED, 0)), "{uri}");
            }
        }
    }
}

//! Queries a store that may be damaged, and compares every answer with that of the undamaged store.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, Once};
use std::time::Duration;

use dcb::capi::status::{
    DCB_CONDITION_FAILED, DCB_CORRUPT, DCB_FULL, DCB_IO, DCB_NO_MEMORY, DCB_READ_ONLY,
    DCB_UNSUPPORTED_FORMAT,
};

use crate::client::{Answer, Failure, Store};
use crate::file::{Files, Original, folder};
use crate::random::Random;

/// The outcome of a case.
#[derive(Debug)]
pub enum Outcome {
    /// Every answer was right.
    Right,
    /// Some calls returned a status that reports the damage; all other answers were right.
    Reported,
    /// An answer was wrong, or a status does not fit the damage.
    Wrong(String),
}

static CASE: Mutex<String> = Mutex::new(String::new());
static CASES: AtomicU64 = AtomicU64::new(0);

/// Ends the process and prints the case if it takes longer than a minute or two.
fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::thread::spawn(|| {
            loop {
                let before = CASES.load(SeqCst);
                std::thread::sleep(Duration::from_secs(60));
                if before == CASES.load(SeqCst) {
                    eprintln!("hangs: {}", CASE.lock().unwrap());
                    std::process::abort();
                }
            }
        });
    });
}

/// Opens the files as a store, queries it, and compares each result with that of the original.
pub fn compare(
    name: &str,
    original: &Original,
    files: &Files,
    may_lose: bool,
    random: &mut Random,
) -> Outcome {
    watch();
    name.clone_into(&mut CASE.lock().unwrap());
    CASES.fetch_add(1, SeqCst);
    let folder = folder();
    let path = folder.path().join("x.db");
    files.write(&path);
    let mut comparison = Comparison { original, head: 0, kept: 0, reported: false, wrong: None };
    let reads_only = random.one_in(4);
    let options = if reads_only { r#""read_only":true"# } else { r#""busy_timeout_ms":300"# };
    // In most cases every row comes from the file.
    let cache_bytes = if random.one_in(4) { 1 << 20 } else { 0 };
    let options = format!(r#"{{{options},"cache_bytes":{cache_bytes}}}"#);
    let opened = Store::open_with(&path, &options);
    let is_unknown = opened.as_ref().is_err_and(|failure| failure.status == DCB_UNSUPPORTED_FORMAT);
    if let Some(store) = comparison.answer("opening", opened) {
        comparison.compare_all(&store, may_lose, reads_only, random);
        drop(store);
        if !reads_only && comparison.wrong.is_none() {
            comparison.compare_after_reopening(&path);
        }
    } else if is_unknown && std::fs::read(&path).unwrap() != files.database {
        comparison
            .wrong
            .get_or_insert("the format is reported as unknown, but the file has changed".into());
    }
    match comparison {
        Comparison { wrong: Some(wrong), .. } => Outcome::Wrong(wrong),
        Comparison { reported: true, .. } => Outcome::Reported,
        _ => Outcome::Right,
    }
}

struct Comparison<'a> {
    original: &'a Original,
    /// The head of the damaged store.
    head: usize,
    /// How many of the original's events the damaged store holds.
    kept: usize,
    reported: bool,
    wrong: Option<String>,
}

impl Comparison<'_> {
    /// Returns the value of a call. A failure must have a status that reports damage.
    fn answer<T>(&mut self, what: &str, answer: Answer<T>) -> Option<T> {
        answer.map_err(|failure| self.report(what, &failure)).ok()
    }

    fn report(&mut self, what: &str, failure: &Failure) {
        let fits =
            [DCB_CORRUPT, DCB_UNSUPPORTED_FORMAT, DCB_IO, DCB_READ_ONLY, DCB_FULL, DCB_NO_MEMORY];
        self.reported = true;
        if !fits.contains(&failure.status) {
            self.wrong.get_or_insert(format!("{what}: {failure}"));
        }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: &T, wanted: &T) {
        if found != wanted {
            let shown = |value: &T| format!("{value:?}").chars().take(300).collect::<String>();
            let text = format!("{what}: {}, not {}", shown(found), shown(wanted));
            self.wrong.get_or_insert(text);
        }
    }

    fn compare_all(
        &mut self,
        store: &Store,
        may_lose: bool,
        reads_only: bool,
        random: &mut Random,
    ) {
        let all = self.original.texts.len();
        let Some(head) = self.answer("head", store.head()) else { return };
        (self.head, self.kept) = (head as usize, head as usize);
        if self.head != all && !(may_lose && self.head < all) {
            self.same("head", &self.head.clone(), &all);
            return;
        }
        let events = &self.original.events[..self.head];
        self.read(store, "everything", "", |_| true, false, usize::MAX);
        self.read(store, "backwards", r#"{"backwards":true}"#, |_| true, true, usize::MAX);
        let mut tags: Vec<&str> = vec!["none", "shard:3"];
        for _ in 0..6.min(events.len()) {
            let event = &events[random.below(events.len() as u64) as usize];
            tags.extend(event.tags.iter().take(3).map(String::as_str));
        }
        for tag in tags {
            let has = |index: usize| events[index].tags.iter().any(|own| own == tag);
            let query = format!(r#""query":{{"items":[{{"tags":["{tag}"]}}]}}"#);
            self.read(store, tag, &format!("{{{query}}}"), has, false, usize::MAX);
            let newest = format!(r#"{{{query},"backwards":true,"limit":3}}"#);
            self.read(store, tag, &newest, has, true, 3);
            if reads_only {
                continue;
            }
            if let Some(first) = (0..self.head).find(|index| has(*index)) {
                let request = format!(
                    r#"{{"events":[{{"type":"Wrong"}}],"condition":{{"failIfEventsMatch":{{"items":[{{"tags":["{tag}"]}}]}}}}}}"#
                );
                self.assert_rejected(tag, store.append(&request), first as i64 + 1);
            }
        }
        for kind in 0..4 {
            let name = format!("Kind{kind}");
            let has = |index: usize| events[index].event_type == name;
            let query = format!(r#"{{"query":{{"items":[{{"types":["{name}"]}}]}}}}"#);
            self.read(store, &name, &query, has, false, usize::MAX);
        }
        if reads_only {
            return;
        }
        for _ in 0..4 {
            let repeatable = &self.original.repeatable;
            let (request, last) = &repeatable[random.below(repeatable.len() as u64) as usize];
            if *last <= head
                && let Some(position) = self.answer("repeated", store.append(request))
            {
                self.same("repeated", &position, last);
            }
        }
        let request = r#"{"events":[{"type":"New","tags":["new:1"]}],"condition":{"failIfEventsMatch":{"items":[{"tags":["new:1"]}]}}}"#;
        if let Some(position) = self.answer("an append", store.append(request)) {
            self.same("an append", &position, &(head + 1));
            self.head += 1;
            let found = self.answer("the new one", store.head());
            self.same("the new one", &found.unwrap_or(head + 1), &(head + 1));
        }
    }

    fn read(
        &mut self,
        store: &Store,
        what: &str,
        request: &str,
        has: impl Fn(usize) -> bool,
        backwards: bool,
        limit: usize,
    ) {
        let Some(found) = self.answer(what, store.read_text(request)) else { return };
        let mut texts: Vec<&str> = (0..self.head)
            .filter(|index| has(*index))
            .map(|index| self.original.texts[index].as_str())
            .collect();
        if backwards {
            texts.reverse();
        }
        texts.truncate(limit);
        let head = self.head;
        let wanted = format!(r#"{{"events":[{}],"position":{head}}}"#, texts.join(","));
        self.same(what, &found, &wanted);
    }

    fn assert_rejected(&mut self, tag: &str, answer: Answer<i64>, first: i64) {
        match answer {
            Err(failure) if failure.status == DCB_CONDITION_FAILED => {
                self.same(tag, &failure.position, &first);
            }
            Err(failure) => self.report(tag, &failure),
            Ok(last) => {
                self.wrong.get_or_insert(format!(
                    "{tag} is stored at {first}, but an append that it excludes is stored at {last}"
                ));
            }
        }
    }

    /// Opens the store again and checks that its head is the same.
    fn compare_after_reopening(&mut self, path: &std::path::Path) {
        if self.head == 0 {
            return;
        }
        let Some(store) = self.answer("opening again", Store::open(path)) else { return };
        let Some(read) = self.answer("all again", store.read_text("")) else { return };
        let texts = self.original.texts[..self.kept].join(",");
        let begins = read.starts_with(&format!(r#"{{"events":[{texts}"#));
        let ends = read.ends_with(&format!(r#"],"position":{}}}"#, self.head));
        self.same("all again", &(begins, ends), &(true, true));
    }
}

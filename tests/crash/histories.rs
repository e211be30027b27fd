//! Histories: the concurrent calls of threads and processes with their results, and a check that
//! these are possible.
//!
//! Every call is recorded with the times before and after it, on one clock that all processes
//! share. Positions give the order in which appends took effect, so the check does not have to
//! search for an order: it compares each result with the final events.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::time::Duration;

use dcb::capi::status::{DCB_BUSY, DCB_CONDITION_FAILED, DCB_TIMEOUT, DCB_UNAVAILABLE};
use dcb::failpoints::SeededBug;
use tempfile::TempDir;

use crate::client::{Answer, Store};
use crate::random::Random;
use crate::roles::{Part, open};
use crate::times;

const THREADS: u64 = 6;

/// Returns the time in nanoseconds, on a monotonic clock that all processes share.
fn now() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the output is a local variable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// A query for the events with a tag, of one type or of any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    tag: u64,
    kind: Option<u64>,
}

impl Wanted {
    fn any(random: &mut Random, operation: u64) -> Wanted {
        // Tags go out of use after a while, so that results stay short.
        let tag = operation / 100 * 4 + random.below(4);
        Wanted { tag, kind: random.one_in(2).then(|| random.below(3)) }
    }

    fn query(self) -> String {
        let types = self.kind.map_or(String::new(), |kind| format!(r#""types":["K{kind}"],"#));
        format!(r#"{{"items":[{{{types}"tags":["t:{}"]}}]}}"#, self.tag)
    }
}

/// One call and its result, which is written as a line of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Called {
    what: What,
    called_at: i64,
    returned_at: i64,
    wanted: Wanted,
    after: i64,
    /// The name of an append and the number of its events, or the limit of a read.
    number: i64,
    len: i64,
    /// The position in the result.
    position: i64,
    /// The positions that a read returned.
    found: Vec<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Stored,
    Rejected,
    Read,
    ReadBackwards,
    Head,
    /// A subscriber received its next events.
    Delivered,
}

const WHAT: [What; 6] =
    [What::Stored, What::Rejected, What::Read, What::ReadBackwards, What::Head, What::Delivered];

impl Called {
    fn to_line(&self) -> String {
        let what = WHAT.iter().position(|what| *what == self.what).unwrap_or_default();
        let kind = self.wanted.kind.map_or(-1, |kind| kind as i64);
        let mut line = format!(
            "{what} {} {} {} {kind} {} {} {} {}",
            self.called_at,
            self.returned_at,
            self.wanted.tag,
            self.after,
            self.number,
            self.len,
            self.position
        );
        for position in &self.found {
            write!(line, " {position}").unwrap();
        }
        line
    }

    fn from_line(line: &str) -> Called {
        let numbers: Vec<i64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [what, called_at, returned_at, tag, kind, after, number, len, position, found @ ..] =
            numbers.as_slice()
        else {
            panic!("not a call: {line}");
        };
        Called {
            what: WHAT[*what as usize],
            called_at: *called_at,
            returned_at: *returned_at,
            wanted: Wanted { tag: *tag as u64, kind: u64::try_from(*kind).ok() },
            after: *after,
            number: *number,
            len: *len,
            position: *position,
            found: found.to_vec(),
        }
    }
}

/// Makes this many random calls, and records each of them.
fn call(store: &Store, thread: u64, operations: u64, seen: &AtomicI64) -> Vec<Called> {
    let mut random = Random::new(thread);
    let mut calls = Vec::new();
    let mut operation = 0;
    while operation < operations {
        let wanted = Wanted::any(&mut random, operation);
        let known = seen.load(SeqCst);
        let after = known - random.below(known.min(30) as u64 + 1) as i64;
        let number = (thread << 32 | operation) as i64;
        let mut called = Called {
            what: What::Head,
            called_at: now(),
            returned_at: 0,
            wanted,
            after,
            number,
            len: 0,
            position: 0,
            found: Vec::new(),
        };
        let answer = match random.below(10) {
            0..=4 => {
                called.len = 1 + random.below(3) as i64;
                let events: Vec<String> = (0..called.len)
                    .map(|_| {
                        let Wanted { tag, .. } = Wanted::any(&mut random, operation);
                        let kind = random.below(3);
                        format!(r#"{{"type":"K{kind}","tags":["t:{tag}"],"data":{number}}}"#)
                    })
                    .collect();
                let request = format!(
                    r#"{{"events":[{}],"condition":{{"failIfEventsMatch":{},"after":{after}}}}}"#,
                    events.join(","),
                    wanted.query()
                );
                match store.append(&request) {
                    Ok(last) => {
                        called.what = What::Stored;
                        Ok(last)
                    }
                    Err(failure) if failure.status == DCB_CONDITION_FAILED => {
                        called.what = What::Rejected;
                        Ok(failure.position)
                    }
                    Err(failure) => Err(failure),
                }
            }
            5 => store.head(),
            way => {
                let backwards = way == 6;
                called.what = if backwards { What::ReadBackwards } else { What::Read };
                let most = if random.one_in(3) { 3 } else { 1_000 };
                called.len = 1 + random.below(most) as i64;
                store
                    .read(&format!(
                        r#"{{"query":{},"after":{after},"limit":{},"backwards":{backwards}}}"#,
                        wanted.query(),
                        called.len
                    ))
                    .map(|read| {
                        called.found = read.positions();
                        read.position
                    })
            }
        };
        called.returned_at = now();
        match answer {
            Ok(position) => {
                called.position = position;
                if called.what != What::Rejected {
                    seen.fetch_max(position, SeqCst);
                }
                calls.push(called);
                operation += 1;
            }
            Err(failure) if failure.status == DCB_BUSY => {}
            Err(failure) => panic!("{failure}"),
        }
    }
    calls
}

/// Waits and reads until no more events can follow.
fn subscribe(store: &Store, over: &AtomicBool) -> Vec<Called> {
    let mut calls: Vec<Called> = Vec::new();
    let mut after = 0;
    loop {
        let ends = over.load(SeqCst);
        match store.wait(after, 20) {
            Ok(head) => assert!(head > after),
            Err(failure) if failure.status == DCB_TIMEOUT && ends => return calls,
            // A server that was just killed is unavailable.
            Err(failure) if [DCB_TIMEOUT, DCB_BUSY, DCB_UNAVAILABLE].contains(&failure.status) => {
                continue;
            }
            Err(failure) => panic!("{failure}"),
        }
        let called_at = now();
        let read = store.read(&format!(r#"{{"after":{after},"limit":100}}"#)).expect("a read");
        calls.push(Called {
            what: What::Delivered,
            called_at,
            returned_at: now(),
            wanted: Wanted { tag: 0, kind: None },
            after,
            number: 0,
            len: 100,
            position: read.position,
            found: read.positions(),
        });
        after = read.position;
    }
}

/// Opens the store in a file, on a server, or, without a name, in memory.
fn open_any(place: &Path) -> Answer<Store> {
    match place.to_str() {
        Some("") => Store::open_uri("memory:", "{}"),
        // With the time to outlast a server that recovers.
        Some(uri) if uri.starts_with("postgres:") => {
            Store::open_uri(uri, r#"{"busy_timeout_ms": 60000}"#)
        }
        _ => open(place),
    }
}

/// The role of a process: several threads that call, and one that subscribes.
pub fn play(part: &Part) {
    let store = open_any(&part.store).expect("the place is a store's");
    let (seen, over) = (AtomicI64::new(0), AtomicBool::new(false));
    let calls: Vec<Called> = std::thread::scope(|scope| {
        let subscriber = scope.spawn(|| subscribe(&store, &over));
        let threads: Vec<_> = (0..part.threads)
            .map(|thread| {
                let (store, seen) = (&store, &seen);
                scope.spawn(move || call(store, part.writer + thread, part.first, seen))
            })
            .collect();
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        // Set before a thread's panic propagates: the scope ends only after the subscriber does.
        over.store(true, SeqCst);
        let mut calls: Vec<Called> = ended.into_iter().flat_map(|calls| calls.unwrap()).collect();
        calls.extend(subscriber.join().unwrap());
        calls
    });
    let mut text: String = calls.iter().map(|call| call.to_line() + "\n").collect();
    if part.store.as_os_str().is_empty() {
        text += &stored(&store);
    }
    std::fs::write(&part.witness, text).unwrap();
}

/// Returns the final events, one a line: position, tag, type, name.
fn stored(store: &Store) -> String {
    let mut text = String::new();
    for event in store.read("").expect("a read").events {
        let tag = event.tags[0].trim_start_matches("t:").to_owned();
        let kind = event.event_type.trim_start_matches('K').to_owned();
        writeln!(text, "event {} {tag} {kind} {}", event.position, event.data.get()).unwrap();
    }
    text
}

/// A final event.
#[derive(Debug, Clone, Copy)]
struct Event {
    kind: u64,
    /// When its append was called; `None` if no call returned that it is stored.
    called_at: Option<i64>,
    name: i64,
}

/// Decides whether the results of the calls are possible.
struct Checker {
    /// The final events; the first has position 1.
    events: Vec<Event>,
    by_tag: HashMap<u64, Vec<i64>>,
    /// The times at which stored appends returned, each with the highest position that any append
    /// had returned until then.
    returns: Vec<(i64, i64)>,
}

impl Checker {
    fn new(lines: &[&str], calls: &[Called]) -> Result<Checker, String> {
        let mut events = Vec::new();
        let mut by_tag: HashMap<u64, Vec<i64>> = HashMap::new();
        for (line, position) in lines.iter().zip(1..) {
            let numbers: Vec<i64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
            if numbers[0] != position {
                return Err(format!("position {position} has the event {line}"));
            }
            by_tag.entry(numbers[1] as u64).or_default().push(position);
            events.push(Event { kind: numbers[2] as u64, called_at: None, name: numbers[3] });
        }
        let mut returns = Vec::new();
        for call in calls.iter().filter(|call| call.what == What::Stored) {
            for position in call.position - call.len + 1..=call.position {
                match events.get_mut(position as usize - 1) {
                    Some(event) if event.name == call.number && event.called_at.is_none() => {
                        event.called_at = Some(call.called_at);
                    }
                    other => return Err(format!("{call:?} is not at {position}: {other:?}")),
                }
            }
            returns.push((call.returned_at, call.position));
        }
        if let Some(at) = events.iter().position(|event| event.called_at.is_none()) {
            return Err(format!("no call returned that the event at {} is stored", at + 1));
        }
        returns.sort_unstable();
        let mut highest = 0;
        for (_, position) in &mut returns {
            highest = highest.max(*position);
            *position = highest;
        }
        Ok(Checker { events, by_tag, returns })
    }

    /// Returns the events that match, at the positions above `low` up to `high`.
    fn matching(
        &self,
        wanted: Wanted,
        low: i64,
        high: i64,
    ) -> impl DoubleEndedIterator<Item = i64> {
        let positions = self.by_tag.get(&wanted.tag).map_or(&[][..], Vec::as_slice);
        let positions = &positions[positions.partition_point(|position| *position <= low)..];
        positions
            .iter()
            .copied()
            .take_while(move |position| *position <= high)
            .filter(move |position| {
                wanted.kind.is_none_or(|kind| self.events[*position as usize - 1].kind == kind)
            })
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Returns the highest position that any append had returned before `time`.
    fn known_before(&self, time: i64) -> i64 {
        let before = self.returns.partition_point(|(returned_at, _)| *returned_at < time);
        before.checked_sub(1).map_or(0, |last| self.returns[last].1)
    }

    /// Returns whether the append of the event at `position` was called before `time`.
    fn was_called_before(&self, position: i64, time: i64) -> bool {
        let event = usize::try_from(position - 1).ok().and_then(|index| self.events.get(index));
        position == 0 || event.is_some_and(|event| event.called_at.is_some_and(|at| at < time))
    }

    /// Checks that an append that returned before another was called has the lower position.
    fn check_order(&self, calls: &[Called]) -> Result<(), String> {
        let mut stored: Vec<&Called> =
            calls.iter().filter(|call| call.what == What::Stored).collect();
        stored.sort_unstable_by_key(|call| std::cmp::Reverse(call.position));
        let mut earliest = i64::MAX;
        for call in stored {
            if earliest < call.called_at {
                return Err(format!(
                    "{call:?}: an append with a higher position returned before this one was called"
                ));
            }
            earliest = earliest.min(call.returned_at);
        }
        Ok(())
    }

    fn check(&self, call: &Called) -> Result<(), String> {
        let Called { wanted, after, position, returned_at, .. } = *call;
        let wrong = |why: String| Err(format!("{call:?}: {why}"));
        match call.what {
            What::Stored => {
                let first = position - call.len;
                if let Some(conflict) = self.matching(wanted, after, first).next() {
                    return wrong(format!("the condition fails at {conflict}"));
                }
            }
            What::Rejected => {
                let first = self.matching(wanted, after, i64::MAX).next();
                if first != Some(position) || !self.was_called_before(position, returned_at) {
                    return wrong(format!("the first that matches is {first:?}"));
                }
            }
            What::Head => {
                let known = self.known_before(call.called_at);
                if position < known || !self.was_called_before(position, returned_at) {
                    return wrong(format!("{known} was known"));
                }
            }
            What::Read => {
                let limit = call.len as usize;
                let found: Vec<i64> = self.matching(wanted, after, position).take(limit).collect();
                if found != call.found {
                    return wrong(format!("it should have returned {found:?}"));
                }
                let full = found.len() == limit;
                let known = self.known_before(call.called_at);
                if (!full && position < known) || !self.was_called_before(position, returned_at) {
                    return wrong(format!("{known} was known"));
                }
            }
            What::ReadBackwards => {
                let limit = call.len as usize;
                let found: Vec<i64> =
                    self.matching(wanted, after, position).rev().take(limit).collect();
                let known = self.known_before(call.called_at);
                if found != call.found
                    || position < known
                    || !self.was_called_before(position, returned_at)
                {
                    return wrong(format!("it should have returned {found:?}; {known} was known"));
                }
            }
            What::Delivered => {
                if call.found != (after + 1..=position).collect::<Vec<_>>() {
                    return wrong("a subscriber missed something".into());
                }
            }
        }
        Ok(())
    }
}

/// Runs processes on a store, in a file, on a server or in memory, and checks their calls. Calls
/// `meanwhile` again and again until the processes end. Returns how many calls there were.
pub fn history(
    place: &Path,
    processes: u64,
    calls: u64,
    flaw: Option<SeededBug>,
    meanwhile: &mut dyn FnMut(),
) -> Result<u64, String> {
    let witness = TempDir::new().unwrap();
    let seed = Random::seed_of_this_run() % (1 << 20);
    let parts: Vec<Part> = (0..processes)
        .map(|process| Part {
            role: "history".into(),
            store: place.to_owned(),
            witness: witness.path().join(process.to_string()),
            writer: (seed * processes + process) * THREADS,
            threads: THREADS,
            first: calls / processes / THREADS,
            flaw,
            ..Part::default()
        })
        .collect();
    let mut running: Vec<_> = parts.iter().map(Part::start).collect();
    let ended: Vec<_> = running
        .iter_mut()
        .map(|process| {
            loop {
                match process.try_wait().unwrap() {
                    Some(status) => return status,
                    None => meanwhile(),
                }
            }
        })
        .collect();
    if let Some(status) = ended.iter().find(|status| !status.success()) {
        return Err(format!("a process ended with {status}"));
    }
    let mut text: String = parts.iter().map(|part| read(&part.witness)).collect();
    if !place.as_os_str().is_empty() {
        text += &stored(&open_any(place).map_err(|failure| failure.to_string())?);
    }
    let (events, calls): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("event "));
    let events: Vec<&str> = events.iter().map(|line| &line["event ".len()..]).collect();
    let calls: Vec<Called> = calls.iter().map(|line| Called::from_line(line)).collect();
    let checker = Checker::new(&events, &calls)?;
    checker.check_order(&calls)?;
    calls.iter().try_for_each(|call| checker.check(call))?;
    // A subscriber that outlived all appends received every event, in order.
    let delivered = calls.iter().filter(|call| call.what == What::Delivered);
    let delivered: usize = delivered.map(|call| call.found.len()).sum();
    if processes == 1 && delivered != events.len() {
        return Err(format!("{delivered} of {} events were delivered", events.len()));
    }
    Ok(calls.len() as u64)
}

/// Runs a history on a new file that nothing disturbs.
fn history_in_file(processes: u64, calls: u64, flaw: Option<SeededBug>) -> Result<u64, String> {
    let folder = TempDir::new().unwrap();
    history(&folder.path().join("x.db"), processes, calls, flaw, &mut rest)
}

fn rest() {
    std::thread::sleep(Duration::from_millis(5));
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn histories_in_memory_are_possible() {
    let calls = history(Path::new(""), 1, times(40_000, 4_000_000), None, &mut rest);
    println!("{calls:?} calls");
    assert!(calls.is_ok(), "{calls:?}");
}

#[test]
fn histories_of_one_process_are_possible() {
    let calls = history_in_file(1, times(30_000, 3_000_000), None);
    println!("{calls:?} calls");
    assert!(calls.is_ok(), "{calls:?}");
}

#[test]
fn histories_of_several_processes_are_possible() {
    let calls = history_in_file(8, times(30_000, 3_000_000), None);
    println!("{calls:?} calls");
    assert!(calls.is_ok(), "{calls:?}");
}

#[test]
fn histories_reveal_bugs_of_the_index_and_the_conditions() {
    for flaw in [
        SeededBug::SkipCatchUp,
        SeededBug::ForgetGroup,
        SeededBug::MarkTooEarly,
        SeededBug::LoseLastBlock,
        SeededBug::CheckTooFar,
    ] {
        let wrong = history_in_file(3, 6_000, Some(flaw)).expect_err("the bug was not noticed");
        println!("{flaw:?}: {wrong}");
    }
}

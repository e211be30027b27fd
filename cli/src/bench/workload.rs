//! What is measured: the rows of the table.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dcb::{
    AppendCondition, AppendRequest, CallOptions, CancelToken, Direction, Event, EventBuilder,
    EventType, Position, Query, QueryItem, ReadRequest, Status, Store, Tag,
};

use crate::exit::Failure;
use crate::progress::{Progress, Unit};
use crate::store;

/// The name of the rows of single appends.
pub const APPEND: &str = "append, guarded";
/// The events of an entity.
const ENTITY: u64 = 10;
/// The events of an append that loads many.
const LOAD: u64 = 4_096;

/// A row of the table.
pub struct Row {
    /// What was done.
    pub what: &'static str,
    /// By how many threads at the same time.
    pub threads: usize,
    /// What was counted.
    pub unit: &'static str,
    /// How many of them a second.
    pub per_second: f64,
    /// How long one took in half of the cases; nothing where it was one long read.
    pub p50: Option<Duration>,
    /// How long one took in all but a hundredth of the cases.
    pub p99: Option<Duration>,
}

/// A measurement of a store.
pub struct Bench<'s> {
    store: &'s dyn Store,
    /// Where the events of this measurement begin.
    before: Position,
    /// Different in each measurement, so that one does not meet the tags of another.
    mark: i64,
    entities: u64,
    time: Duration,
    stop: CancelToken,
    /// What was measured so far.
    pub rows: Vec<Row>,
}

impl<'s> Bench<'s> {
    /// Returns a measurement that loads so many events, and takes so long for each row.
    pub fn new(
        store: &'s dyn Store,
        events: u64,
        time: Duration,
        stop: CancelToken,
    ) -> Result<Self, Failure> {
        let before = store.head(&CallOptions::default())?;
        let entities = events / ENTITY;
        Ok(Bench { store, before, mark: before.get(), entities, time, stop, rows: Vec::new() })
    }

    /// Measures everything.
    pub fn run(&mut self) -> Result<(), Failure> {
        self.load()?;
        let next = AtomicU64::new(0);
        for threads in [1, 16, 64] {
            self.repeat(APPEND, "appends", threads, |bench, _| {
                bench.append_new(next.fetch_add(1, Ordering::Relaxed))
            })?;
        }
        let of_thread = |thread: usize, turn: u64| scattered(turn * 64 + thread as u64);
        for threads in [1, 4] {
            self.repeat("read an entity", "reads", threads, |bench, (thread, turn)| {
                bench.read_entity(of_thread(thread, turn) % bench.entities).map(|_| ())
            })?;
        }
        for threads in [1, 16] {
            self.repeat("read, decide, append", "decisions", threads, |bench, (thread, turn)| {
                bench.decide(of_thread(thread, turn) % bench.entities)
            })?;
        }
        self.scan()
    }

    /// The entity's events are spread over all that is loaded.
    fn load(&mut self) -> Result<(), Failure> {
        let events = self.entities * ENTITY;
        let bar = Progress::new("loading", Unit::Events, Some(events));
        let begin = Instant::now();
        let mut loaded = 0;
        let mut latencies = Vec::new();
        while loaded < events {
            self.check()?;
            let chunk = LOAD.min(events - loaded);
            let list: dcb::Result<Vec<Event>> = (loaded..loaded + chunk)
                .map(|number| self.event(number % self.entities, "Loaded"))
                .collect();
            let request = AppendRequest::new(list?, Vec::new())?;
            let start = Instant::now();
            self.store.append(request, &CallOptions::default())?;
            latencies.push(start.elapsed());
            loaded += chunk;
            bar.reach(loaded);
        }
        self.add("load, 4,096 an append", 1, "events", events, begin.elapsed(), Some(latencies));
        Ok(())
    }

    fn scan(&mut self) -> Result<(), Failure> {
        let bar = Progress::new("scanning", Unit::Events, None);
        let begin = Instant::now();
        let mut events = 0;
        let request = ReadRequest::new(Query::all(), self.before, None, None, Direction::Forward);
        store::for_each(self.store, request, &CallOptions::default(), |_| {
            events += 1;
            if events % 4_096 == 0 {
                bar.reach(events);
                return Ok(begin.elapsed() < self.time * 4 && !self.stop.is_triggered());
            }
            Ok(true)
        })?;
        drop(bar);
        self.check()?;
        self.add("scan", 1, "events", events, begin.elapsed(), None);
        Ok(())
    }

    /// Lets threads do something again and again, after a moment to warm up.
    fn repeat(
        &mut self,
        what: &'static str,
        unit: &'static str,
        threads: usize,
        each: impl Fn(&Self, (usize, u64)) -> Result<(), Failure> + Sync,
    ) -> Result<(), Failure> {
        let bar = Progress::new(what, Unit::Events, None);
        let warm = Instant::now() + self.time / 5;
        let end = warm + self.time;
        let this = &*self;
        let each = &each;
        let done = thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|thread| {
                    scope.spawn(move || {
                        let (mut latencies, mut turn) = (Vec::new(), 0);
                        loop {
                            let start = Instant::now();
                            if start >= end || this.stop.is_triggered() {
                                return Ok::<_, Failure>(latencies);
                            }
                            each(this, (thread, turn))?;
                            turn += 1;
                            if start >= warm {
                                latencies.push(start.elapsed());
                            }
                        }
                    })
                })
                .collect();
            let mut all = Vec::new();
            for thread in running {
                let latencies =
                    thread.join().unwrap_or_else(|_| Err(Failure::new("an internal error")));
                all.extend(latencies?);
            }
            Ok::<_, Failure>(all)
        })?;
        drop(bar);
        self.check()?;
        let count = done.len() as u64;
        let time = self.time.max(Instant::now() - warm);
        self.add(what, threads, unit, count, time, Some(done));
        Ok(())
    }

    fn add(
        &mut self,
        what: &'static str,
        threads: usize,
        unit: &'static str,
        count: u64,
        time: Duration,
        latencies: Option<Vec<Duration>>,
    ) {
        let mut latencies = latencies.unwrap_or_default();
        latencies.sort_unstable();
        let of = |share: f64| {
            let at = (latencies.len() as f64 * share) as usize;
            latencies.get(at).or(latencies.last()).copied()
        };
        let per_second = count as f64 / time.as_secs_f64().max(1e-9);
        self.rows.push(Row { what, threads, unit, per_second, p50: of(0.5), p99: of(0.99) });
    }

    fn check(&self) -> Result<(), Failure> {
        match self.stop.is_triggered() {
            true => Err(Failure::new("interrupted")),
            false => Ok(()),
        }
    }

    fn tag(&self, entity: u64) -> String {
        format!("entity:{}-{entity}", self.mark)
    }

    fn event(&self, entity: u64, event_type: &str) -> dcb::Result<Event> {
        let (own, group) = (self.tag(entity), format!("group:{}", entity % 100));
        let text = "what a small event of an application may say about itself ".repeat(3);
        let data = format!("{{\"entity\": {entity}, \"text\": \"{text}\"}}");
        let mut event = EventBuilder::new(EventType::new(event_type)?);
        event.tag(Tag::new(&own)?)?;
        event.tag(Tag::new(&group)?)?;
        event.data(&data)?;
        Ok(event.build())
    }

    fn query(&self, entity: u64) -> dcb::Result<Query> {
        let mut item = QueryItem::new();
        item.and_tag(Tag::new(&self.tag(entity))?)?;
        Query::of(vec![item])
    }

    /// Appends the first event of a new entity, on condition that it is the first.
    fn append_new(&self, number: u64) -> Result<(), Failure> {
        let entity = self.entities + number;
        let condition = AppendCondition::new(self.query(entity)?, Position::START);
        let request = AppendRequest::new(vec![self.event(entity, "Begun")?], vec![condition])?;
        self.store.append(request, &CallOptions::default())?;
        Ok(())
    }

    fn read_entity(&self, entity: u64) -> Result<Position, Failure> {
        let request =
            ReadRequest::new(self.query(entity)?, Position::START, None, None, Direction::Forward);
        Ok(self.store.read_all(request, &CallOptions::default())?.1)
    }

    /// Reads an entity and appends an event to it, on condition that nothing has been appended to it since.
    /// Decides again where another thread was first.
    fn decide(&self, entity: u64) -> Result<(), Failure> {
        loop {
            let position = self.read_entity(entity)?;
            let condition = AppendCondition::new(self.query(entity)?, position);
            let request =
                AppendRequest::new(vec![self.event(entity, "Decided")?], vec![condition])?;
            match self.store.append(request, &CallOptions::default()) {
                Err(error) if error.status == Status::ConditionFailed => {}
                other => return Ok(other.map(|_| ())?),
            }
        }
    }
}

/// Spreads neighbouring numbers.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17
}

/// Returns the median of overwriting a block of 4 KiB and syncing it, which is the least that an append to a
/// file of this folder can take.
pub fn sync(folder: &Path, time: Duration) -> io::Result<Duration> {
    let path = folder.join(format!("dcb-bench-{}.block", std::process::id()));
    let file = File::create_new(&path)?;
    // It has no name any more, so nothing is left of it however the command ends.
    std::fs::remove_file(path)?;
    let write = |byte: u8| {
        file.write_all_at(&[byte; 4_096], 0)?;
        file.sync_data()
    };
    write(0)?;
    let (begin, mut latencies) = (Instant::now(), Vec::new());
    while latencies.is_empty() || begin.elapsed() < time {
        let start = Instant::now();
        write(latencies.len() as u8)?;
        latencies.push(start.elapsed());
    }
    latencies.sort_unstable();
    Ok(latencies[latencies.len() / 2])
}

//! One execution: the threads of a store, and another process that appends to the same file.

use std::sync::atomic::Ordering::SeqCst as Now;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};
use std::sync::{Arc, Mutex as Plain};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use crate::commit::Appended;
use crate::commit::deadline::{CallOptions, CancelToken, Deadline, Timeout};
use crate::commit::durability::Durability;
use crate::commit::group_commit::{Committer, GroupCommit, Outcome};
use crate::commit::head_watch::HeadWatch;
use crate::commit::visibility::{OwnCommits, visible};
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sync::{Mutex, PoisonError, one_in, restart_clock, step};
use crate::wal::Wal;

/// The events that may happen in an execution in addition to appends.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scene {
    pub name: &'static str,
    /// Whether calls may time out or be cancelled.
    pub hurried: bool,
    /// Whether commits may fail.
    pub commits_fail: bool,
    /// Whether a sync may fail.
    pub syncs_fail: bool,
    /// Whether another process appends to the file.
    pub others: bool,
    /// Whether leaders may panic.
    pub panics: bool,
    /// Whether groups may be full, and the lead may be handed on before the sync.
    pub large: bool,
    /// Whether the threads take turns instead of appending.
    pub turns: bool,
}

/// The state of the disk. It is no part of the protocol, so its accesses are not steps.
#[derive(Debug, Default)]
pub struct Disk {
    /// The head of the WAL as written.
    written: AtomicI64,
    /// The head of the WAL as it would be after a power failure.
    durable: AtomicI64,
    /// Whether a part of the WAL is lost.
    has_hole: AtomicBool,
    may_fail: AtomicBool,
    /// For each descriptor whether the kernel still has to report the failure to it.
    unreported: [AtomicBool; 2],
}

impl Disk {
    pub const OURS: usize = 0;
    const OTHERS: usize = 1;

    pub fn sync(&self, descriptor: usize) -> bool {
        let target = self.written.load(Now);
        step();
        if target > self.durable.load(Now) && self.may_fail.load(Now) && one_in(3) {
            self.may_fail.store(false, Now);
            self.has_hole.store(true, Now);
            self.unreported.iter().for_each(|unreported| unreported.store(true, Now));
        }
        if !self.has_hole.load(Now) {
            self.durable.fetch_max(target, Now);
        }
        let is_reported = self.unreported[descriptor].swap(false, Now);
        step();
        !is_reported
    }
}

/// Returns the position that a thread has stored.
fn loaded(position: &AtomicI64) -> Position {
    Position::new(position.load(Now)).expect("only positions are stored")
}

/// The database file.
#[derive(Debug, Default)]
struct File {
    /// SQLite's write lock.
    lock: AtomicBool,
    /// For each append its number, its first and its last position.
    appends: Plain<Vec<(usize, Position, Position)>>,
}

impl File {
    fn head(&self) -> Position {
        self.appends.lock().unwrap().last().map_or(Position::START, |append| append.2)
    }

    fn find(&self, number: usize) -> Vec<Position> {
        let appends = self.appends.lock().unwrap();
        appends.iter().filter(|append| append.0 == number).map(|append| append.2).collect()
    }
}

#[derive(Debug)]
struct Request {
    number: usize,
    events: usize,
    /// Whether a condition refuses the request if the file has an event.
    guarded: bool,
}

const APPENDS: usize = 8;

/// Counts of what has happened in all executions, to check that everything does happen.
#[derive(Debug, Default)]
pub struct Tally {
    pub stored: AtomicUsize,
    pub refused: AtomicUsize,
    pub out_of_time: AtomicUsize,
    pub cancelled: AtomicUsize,
    pub failed: AtomicUsize,
    pub syncs_failed: AtomicUsize,
    pub panicked: AtomicUsize,
    /// The number of groups of more than one request.
    pub groups: AtomicUsize,
    /// The number of groups that began before every request of another had returned.
    pub overlaps: AtomicUsize,
}

impl Tally {
    /// Returns all counts with their names.
    pub fn counts(&self) -> [(&'static str, usize); 9] {
        [
            ("appends stored", &self.stored),
            ("refused", &self.refused),
            ("out of time", &self.out_of_time),
            ("cancelled", &self.cancelled),
            ("failed by a commit", &self.failed),
            ("failed by a sync", &self.syncs_failed),
            ("failed by a panic", &self.panicked),
            ("groups of several", &self.groups),
            ("groups begun before another had returned", &self.overlaps),
        ]
        .map(|(name, count)| (name, count.load(Now)))
    }
}

fn add(count: &AtomicUsize) {
    count.fetch_add(1, Now);
}

/// A store, with the state that the checks need.
struct Store {
    scene: Scene,
    tally: Arc<Tally>,
    /// The number of requests that a leader has taken and whose calls have not returned.
    running: AtomicUsize,
    disk: Arc<Disk>,
    file: File,
    queue: GroupCommit<Request>,
    /// The lock of the writer's connection.
    connection: Mutex<()>,
    durability: Durability,
    watch: HeadWatch,
    own: OwnCommits,
    /// The number of times that each request was run.
    runs: [AtomicUsize; APPENDS],
    panicked: AtomicBool,
    /// The highest position that a call of this process has returned.
    returned: AtomicI64,
    /// The highest position that a call of any process has returned.
    returned_by_any: AtomicI64,
}

/// The write lock of the file, held until this is dropped.
struct Locked<'a>(&'a File);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.0.lock.store(false, Now);
    }
}

impl Committer for Store {
    type Request = Request;

    fn run(
        &self,
        deadline: &Deadline,
        take: impl FnOnce() -> Vec<Request>,
    ) -> Result<Vec<Outcome>> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        step();
        let locked = loop {
            if !self.file.lock.swap(true, Now) {
                break Locked(&self.file);
            }
            thread::yield_now();
            deadline.check_cancel()?;
            if deadline.is_over() {
                return Err(Error::new(Status::Busy, "the database is locked"));
            }
        };
        let mut head = self.file.head();
        self.own.begin(head);
        let requests = take();
        if self.running.fetch_add(requests.len(), Now) > 0 {
            add(&self.tally.overlaps);
        }
        if requests.len() > 1 {
            add(&self.tally.groups);
        }
        let mut stored = Vec::new();
        let mut outcomes = Vec::new();
        for request in &requests {
            self.runs[request.number].fetch_add(1, Now);
            let answer = if request.guarded && head > Position::START {
                Err(Error::condition_failed(head))
            } else {
                stored.push((request.number, head.next(), head + request.events));
                head = head + request.events;
                Ok(Appended::new(head))
            };
            outcomes.push(Outcome::new(answer));
        }
        if self.scene.panics && one_in(4) {
            self.panicked.store(true, Now);
            // Released before the panic: the checker would take a lock that a panic releases for
            // one that is still held.
            drop((connection, locked));
            std::panic::resume_unwind(Box::new("as the model asked"));
        }
        if !stored.is_empty() {
            self.own.commit(head, || {
                step();
                if self.scene.commits_fail && one_in(3) {
                    return Err(Error::new(Status::Full, "the disk is full"));
                }
                self.file.appends.lock().unwrap().extend(stored);
                self.disk.written.store(head.get(), Now);
                step();
                Ok(())
            })?;
            self.durability.note_written(head);
        }
        drop(locked);
        Ok(outcomes)
    }

    fn make_durable(&self, position: Position) -> Result<()> {
        self.durability.ensure(position)
    }

    fn durable(&self) -> Position {
        self.durability.durable()
    }

    fn failure(&self) -> Option<Error> {
        self.durability.failure()
    }

    fn watch(&self) -> &HeadWatch {
        &self.watch
    }
}

impl Store {
    fn new(scene: Scene, tally: Arc<Tally>) -> Self {
        let disk = Arc::new(Disk::default());
        disk.may_fail.store(scene.syncs_fail, Now);
        Store {
            scene,
            tally,
            running: AtomicUsize::new(0),
            file: File::default(),
            queue: GroupCommit::default(),
            connection: Mutex::new(()),
            durability: Durability::new(Some(Box::new(Wal(Arc::clone(&disk)))), Position::START),
            disk,
            watch: HeadWatch::new(Position::START),
            own: OwnCommits::default(),
            runs: Default::default(),
            panicked: AtomicBool::new(false),
            returned: AtomicI64::new(0),
            returned_by_any: AtomicI64::new(0),
        }
    }

    fn assert_durable(&self, position: Position, call: &str) {
        let durable = loaded(&self.disk.durable);
        assert!(position <= durable, "{call} returned {position}, but only {durable} is durable");
    }

    fn append(&self, number: usize) {
        let events = match thread_rng().gen_range(0..3) {
            0 if self.scene.large => 16_384,
            1 if self.scene.large => 512,
            _ => 1,
        };
        let request = Request { number, events, guarded: one_in(4) };
        let cancel = CancelToken::new();
        let call = match thread_rng().gen_range(0..3) {
            0 if self.scene.hurried => {
                CallOptions { timeout: Timeout::After(Duration::from_micros(900)), cancel: None }
            }
            1 if self.scene.hurried => {
                if one_in(2) {
                    cancel.trigger();
                }
                CallOptions { timeout: Timeout::Never, cancel: Some(cancel.clone()) }
            }
            _ => CallOptions { timeout: Timeout::Never, cancel: None },
        };
        // A sync that failed before the call has to make the append fail.
        let had_failed = self.durability.failure().is_some();
        let deadline = call.start(None);
        let answer = self.queue.append(self, request, events as usize, &deadline);
        let runs = self.runs[number].load(Now);
        self.running.fetch_sub(runs, Now);
        let tally = &self.tally;
        match answer {
            Ok(Appended { last: position, .. }) => {
                add(&tally.stored);
                self.assert_durable(position, "an append");
                assert_eq!(self.file.find(number), [position], "the position of an append");
                assert_eq!(runs, 1, "the number of runs of an append");
                assert!(!had_failed, "an append succeeded after a sync had failed");
                self.note_returned(position);
            }
            Err(error) if error.status == Status::ConditionFailed => {
                add(&tally.refused);
                self.assert_durable(error.position, "a refused append");
                assert_eq!(runs, 1, "the number of runs of an append");
                assert!(!had_failed, "a condition was checked after a sync had failed");
                self.note_returned(error.position);
            }
            Err(error) if matches!(error.status, Status::Busy | Status::Cancelled) => {
                let is_late = error.status == Status::Busy;
                add(if is_late { &tally.out_of_time } else { &tally.cancelled });
                assert!(self.scene.hurried, "{error}");
                assert_eq!(runs, 0, "the number of runs of an append that left the queue");
            }
            Err(error) if error.status == Status::Full => {
                add(&tally.failed);
                assert!(self.scene.commits_fail, "{error}");
                assert_eq!(
                    self.file.find(number),
                    [Position::START; 0],
                    "an append that failed is stored"
                );
            }
            Err(error) if error.status == Status::Io => {
                add(&tally.syncs_failed);
                assert!(self.disk.has_hole.load(Now), "{error}");
                assert!(runs <= 1, "an append was run {runs} times");
            }
            Err(error) => {
                add(&tally.panicked);
                assert!(matches!(error.status, Status::Internal | Status::Closed), "{error}");
                assert!(self.panicked.load(Now), "{error}");
            }
        }
    }

    fn note_returned(&self, position: Position) {
        self.returned.fetch_max(position.get(), Now);
        self.returned_by_any.fetch_max(position.get(), Now);
    }

    /// Reads a few times.
    fn read(&self) {
        let mut seen = Position::START;
        for _ in 0..4 {
            let returned = loaded(&self.returned);
            let returned_by_any = loaded(&self.returned_by_any);
            let head = self.file.head();
            let had_failed = self.durability.failure().is_some();
            step();
            let shown = visible(head, &self.durability, &self.own, &self.watch);
            let failed = self.durability.failure().is_some();
            let nothing_is_durable = self.durability.durable() == Position::START;
            assert!(shown.is_ok() || failed && nothing_is_durable, "a read failed");
            if had_failed && nothing_is_durable && head > Position::START {
                assert!(shown.is_err(), "a read reported a failed store as empty");
            }
            let shown = shown.unwrap_or_default();
            assert!(shown <= head, "a read showed {shown} in a snapshot that ends at {head}");
            self.assert_durable(shown, "a read");
            assert!(shown >= seen, "a read showed {shown} after {seen}");
            assert!(shown >= returned, "a read showed {shown} after a call returned {returned}");
            assert!(
                shown >= returned_by_any || failed,
                "a read showed {shown} after another process returned {returned_by_any}"
            );
            seen = shown;
        }
    }

    /// Waits for one position after the other, until the store is closed.
    fn follow(&self) {
        let deadline = CallOptions { timeout: Timeout::Never, cancel: None }.start(None);
        let mut seen = Position::START;
        loop {
            match self.watch.wait_above(seen, &deadline, None) {
                Ok(head) => {
                    let head = head.expect("a wait without a slice returns a head");
                    assert!(head > seen, "a wait above {seen} returned {head}");
                    self.assert_durable(head, "a wait");
                    seen = head;
                }
                Err(error) => {
                    assert_eq!(error.status, Status::Closed);
                    return;
                }
            }
        }
    }

    /// Waits for the first event, which comes in a scene without failures.
    fn await_first(&self) {
        let deadline = CallOptions { timeout: Timeout::Never, cancel: None }.start(None);
        let head = self
            .watch
            .wait_above(Position::START, &deadline, None)
            .expect("nobody closes the store");
        self.assert_durable(head.expect("a wait without a slice returns a head"), "a wait");
    }

    /// Syncs as maintenance does before a checkpoint, and checks that the durable position never
    /// falls.
    fn maintain(&self) {
        let mut seen = Position::START;
        for _ in 0..3 {
            let durable = self.durability.durable();
            assert!(durable >= seen, "{durable} is durable after {seen}");
            self.assert_durable(durable, "maintenance");
            seen = durable;
            let had_hole = self.disk.has_hole.load(Now);
            let checked = self.durability.check();
            assert!(checked.is_ok() || self.disk.has_hole.load(Now));
            assert!(checked.is_err() || !had_hole, "a failed sync was not reported");
        }
    }

    /// Appends as another process does, which syncs with a descriptor of its own before it returns.
    fn append_elsewhere(&self, number: usize) {
        while self.file.lock.swap(true, Now) {
            thread::yield_now();
        }
        let locked = Locked(&self.file);
        let last = self.file.head().next();
        self.file.appends.lock().unwrap().push((number, last, last));
        self.disk.written.store(last.get(), Now);
        drop(locked);
        step();
        if self.disk.sync(Disk::OTHERS) && !self.disk.has_hole.load(Now) {
            self.returned_by_any.fetch_max(last.get(), Now);
        }
    }
}

pub fn play(scene: Scene, tally: &Arc<Tally>) {
    restart_clock();
    let store = Arc::new(Store::new(scene, Arc::clone(tally)));
    let spawn = |act: Box<dyn FnOnce(&Store) + Send>| {
        let store = Arc::clone(&store);
        thread::spawn(move || act(&store))
    };
    // Three threads of the program, with two appends each.
    let mut threads: Vec<_> = (0..3)
        .map(|own| {
            spawn(Box::new(move |store| {
                store.append(own);
                store.append(own + 3);
            }))
        })
        .collect();
    threads.push(spawn(Box::new(Store::read)));
    threads.push(spawn(Box::new(Store::maintain)));
    if scene.others {
        threads.push(spawn(Box::new(|store| {
            store.append_elsewhere(6);
            store.append_elsewhere(7);
        })));
    }
    let is_calm = !(scene.hurried || scene.commits_fail || scene.syncs_fail || scene.panics);
    if is_calm {
        threads.push(spawn(Box::new(Store::await_first)));
    }
    let follower = spawn(Box::new(Store::follow));
    for thread in threads {
        thread.join().unwrap();
    }
    // The follower may not have seen every position, but it has to see that the store closes.
    store.watch.close();
    follower.join().unwrap();
    // A request that left the queue must not have run after its call returned either.
    for (number, runs) in store.runs.iter().enumerate() {
        assert!(runs.load(Now) <= 1, "append {number} was run more than once");
    }
}

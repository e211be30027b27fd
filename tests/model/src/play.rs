//! One execution: the threads of a store, a reader and somebody else's process at one file.

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
use crate::sync::{Mutex, PoisonError, one_in, restart_clock, step};
use crate::wal::Wal;

/// What may happen in an execution beside appends.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scene {
    pub name: &'static str,
    /// Calls run out of time, or are cancelled.
    pub hurried: bool,
    /// A commit fails.
    pub commits_fail: bool,
    /// A sync fails.
    pub syncs_fail: bool,
    /// Another process appends to the file.
    pub others: bool,
    /// A leader panics.
    pub panics: bool,
    /// Groups get as large as they may, and the lead is handed on before the sync.
    pub large: bool,
}

/// What is really on the disk; no part of the protocol, so nothing here is a step of its own.
#[derive(Debug, Default)]
pub struct Disk {
    /// The head of the log as written,
    written: AtomicI64,
    /// and as it would be found after a power failure.
    kept: AtomicI64,
    /// Whether a part of the log is lost for good.
    has_hole: AtomicBool,
    may_fail: AtomicBool,
    /// Which descriptors are still to be told of that.
    untold: [AtomicBool; 2],
}

impl Disk {
    pub const OURS: usize = 0;
    const OTHERS: usize = 1;

    pub fn sync(&self, descriptor: usize) -> bool {
        let target = self.written.load(Now);
        step();
        if target > self.kept.load(Now) && self.may_fail.load(Now) && one_in(3) {
            self.may_fail.store(false, Now);
            self.has_hole.store(true, Now);
            self.untold.iter().for_each(|untold| untold.store(true, Now));
        }
        if !self.has_hole.load(Now) {
            self.kept.fetch_max(target, Now);
        }
        let told = self.untold[descriptor].swap(false, Now);
        step();
        !told
    }
}

/// Who appended what; `lock` is SQLite's write lock.
#[derive(Debug, Default)]
struct File {
    lock: AtomicBool,
    /// Of each append its number and its positions, from the first to the last.
    appends: Plain<Vec<(usize, i64, i64)>>,
}

impl File {
    fn head(&self) -> i64 {
        self.appends.lock().unwrap().last().map_or(0, |append| append.2)
    }

    fn find(&self, number: usize) -> Vec<i64> {
        let appends = self.appends.lock().unwrap();
        appends.iter().filter(|append| append.0 == number).map(|append| append.2).collect()
    }
}

#[derive(Debug)]
struct Request {
    number: usize,
    events: i64,
    /// Refused for the last event that is there, if there is any.
    guarded: bool,
}

const APPENDS: usize = 8;

/// What has happened in all executions, so that it can be seen to have happened.
#[derive(Debug, Default)]
pub struct Tally {
    pub stored: AtomicUsize,
    pub refused: AtomicUsize,
    pub out_of_time: AtomicUsize,
    pub cancelled: AtomicUsize,
    pub failed: AtomicUsize,
    pub syncs_failed: AtomicUsize,
    pub panicked: AtomicUsize,
    /// Groups of more than one request,
    pub groups: AtomicUsize,
    /// and groups that began before all of another were answered.
    pub overlaps: AtomicUsize,
}

impl Tally {
    /// All of them, with their names.
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
            ("groups begun before another was answered", &self.overlaps),
        ]
        .map(|(name, count)| (name, count.load(Now)))
    }
}

fn add(count: &AtomicUsize) {
    count.fetch_add(1, Now);
}

/// A store, and what is known of it from outside.
struct Store {
    scene: Scene,
    tally: Arc<Tally>,
    /// How many were taken by a leader and not answered yet.
    under_way: AtomicUsize,
    disk: Arc<Disk>,
    file: File,
    queue: GroupCommit<Request>,
    core: Mutex<()>,
    durability: Durability,
    watch: HeadWatch,
    own: OwnCommits,
    /// How often each request was run.
    runs: [AtomicUsize; APPENDS],
    panicked: AtomicBool,
    /// The highest position that somebody was told, by this process and by any.
    told: AtomicI64,
    told_by_any: AtomicI64,
}

/// Held while a transaction runs.
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
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
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
        if self.under_way.fetch_add(requests.len(), Now) > 0 {
            add(&self.tally.overlaps);
        }
        if requests.len() > 1 {
            add(&self.tally.groups);
        }
        let mut stored = Vec::new();
        let mut outcomes = Vec::new();
        for request in &requests {
            self.runs[request.number].fetch_add(1, Now);
            let answer = if request.guarded && head > 0 {
                Err(Error::condition_failed(head))
            } else {
                stored.push((request.number, head + 1, head + request.events));
                head += request.events;
                Ok(Appended::new(head))
            };
            outcomes.push(Outcome::new(answer));
        }
        if self.scene.panics && one_in(4) {
            self.panicked.store(true, Now);
            // Not in the hands of who holds them: the checker takes a lock that is let go of in a
            // panic for one that is held.
            drop((core, locked));
            std::panic::resume_unwind(Box::new("as the model asked"));
        }
        if !stored.is_empty() {
            self.own.commit(head, || {
                step();
                if self.scene.commits_fail && one_in(3) {
                    return Err(Error::new(Status::Full, "the disk is full"));
                }
                self.file.appends.lock().unwrap().extend(stored);
                self.disk.written.store(head, Now);
                step();
                Ok(())
            })?;
            self.durability.note_written(head);
        }
        drop(locked);
        Ok(outcomes)
    }

    fn make_durable(&self, position: i64) -> Result<()> {
        self.durability.ensure(position)
    }

    fn durable(&self) -> i64 {
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
            under_way: AtomicUsize::new(0),
            file: File::default(),
            queue: GroupCommit::default(),
            core: Mutex::new(()),
            durability: Durability::new(Some(Box::new(Wal(Arc::clone(&disk)))), 0),
            disk,
            watch: HeadWatch::new(0),
            own: OwnCommits::default(),
            runs: Default::default(),
            panicked: AtomicBool::new(false),
            told: AtomicI64::new(0),
            told_by_any: AtomicI64::new(0),
        }
    }

    fn kept(&self) -> i64 {
        self.disk.kept.load(Now)
    }

    fn assert_kept(&self, position: i64, who: &str) {
        let kept = self.kept();
        assert!(position <= kept, "{who} was told of {position}, and the disk keeps {kept}");
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
        // The failure of a sync that was over before the call: it has to refuse the append.
        let had_failed = self.durability.failure().is_some();
        let deadline = call.start(None);
        let answer = self.queue.append(self, request, events as usize, &deadline);
        let runs = self.runs[number].load(Now);
        self.under_way.fetch_sub(runs, Now);
        let tally = &self.tally;
        match answer {
            Ok(Appended { last: position, .. }) => {
                add(&tally.stored);
                self.assert_kept(position, "an append");
                assert_eq!(self.file.find(number), [position], "where an append is stored");
                assert_eq!(runs, 1, "how often an append was run");
                assert!(!had_failed, "an append was answered with ok after a sync had failed");
                self.tell(position);
            }
            Err(error) if error.status == Status::ConditionFailed => {
                add(&tally.refused);
                self.assert_kept(error.position, "a refused append");
                assert_eq!(runs, 1, "how often an append was run");
                assert!(!had_failed, "a condition was judged after a sync had failed");
                self.tell(error.position);
            }
            Err(error) if matches!(error.status, Status::Busy | Status::Cancelled) => {
                let is_late = error.status == Status::Busy;
                add(if is_late { &tally.out_of_time } else { &tally.cancelled });
                assert!(self.scene.hurried, "{error}");
                assert_eq!(runs, 0, "how often an append that left the queue was run");
            }
            Err(error) if error.status == Status::Full => {
                add(&tally.failed);
                assert!(self.scene.commits_fail, "{error}");
                assert_eq!(self.file.find(number), [0; 0], "an append that failed is stored");
            }
            Err(error) if error.status == Status::Io => {
                add(&tally.syncs_failed);
                assert!(self.disk.has_hole.load(Now), "{error}");
                assert!(runs <= 1, "how often an append was run");
            }
            Err(error) => {
                add(&tally.panicked);
                assert!(matches!(error.status, Status::Internal | Status::Closed), "{error}");
                assert!(self.panicked.load(Now), "{error}");
            }
        }
    }

    fn tell(&self, position: i64) {
        self.told.fetch_max(position, Now);
        self.told_by_any.fetch_max(position, Now);
    }

    /// Looks a few times, as a read does.
    fn read(&self) {
        let mut seen = 0;
        for _ in 0..4 {
            let told = self.told.load(Now);
            let told_by_any = self.told_by_any.load(Now);
            let head = self.file.head();
            let had_failed = self.durability.failure().is_some();
            step();
            let shown = visible(head, &self.durability, &self.own, &self.watch);
            let failed = self.durability.failure().is_some();
            let nothing_is_durable = self.durability.durable() == 0;
            assert!(shown.is_ok() || failed && nothing_is_durable, "a read failed");
            if had_failed && nothing_is_durable && head > 0 {
                assert!(shown.is_err(), "a read took a store that has failed for an empty one");
            }
            let shown = shown.unwrap_or(0);
            assert!(shown <= head, "a read showed {shown} in a snapshot that ends at {head}");
            self.assert_kept(shown, "a read");
            assert!(shown >= seen, "a read showed {shown} after {seen}");
            assert!(shown >= told, "a read showed {shown}, and {told} was told before");
            assert!(
                shown >= told_by_any || failed,
                "a read showed {shown}, and another process told {told_by_any} before"
            );
            seen = shown;
        }
    }

    /// Waits until the store is closed, and for each position.
    fn follow(&self) {
        let deadline = CallOptions { timeout: Timeout::Never, cancel: None }.start(None);
        let mut seen = 0;
        loop {
            match self.watch.wait_above(seen, &deadline, None) {
                Ok(head) => {
                    let head = head.expect("without a slice there is always an answer");
                    assert!(head > seen, "a wait above {seen} gave {head}");
                    self.assert_kept(head, "a wait");
                    seen = head;
                }
                Err(error) => {
                    assert_eq!(error.status, Status::Closed);
                    return;
                }
            }
        }
    }

    /// Waits for the first event, which comes.
    fn await_first(&self) {
        let deadline = CallOptions { timeout: Timeout::Never, cancel: None }.start(None);
        let head = self.watch.wait_above(0, &deadline, None).expect("nobody closes the store");
        self.assert_kept(head.expect("without a slice there is always an answer"), "a wait");
    }

    /// What maintenance does before a checkpoint, and what is durable never falls.
    fn maintain(&self) {
        let mut seen = 0;
        for _ in 0..3 {
            let durable = self.durability.durable();
            assert!(durable >= seen, "{durable} is durable after {seen}");
            self.assert_kept(durable, "maintenance");
            seen = durable;
            let had_hole = self.disk.has_hole.load(Now);
            let checked = self.durability.check();
            assert!(checked.is_ok() || self.disk.has_hole.load(Now));
            assert!(checked.is_err() || !had_hole, "a sync that failed was not told");
        }
    }

    /// Appends from outside: with a descriptor of its own, and synced before it is told.
    fn append_elsewhere(&self, number: usize) {
        while self.file.lock.swap(true, Now) {
            thread::yield_now();
        }
        let locked = Locked(&self.file);
        let last = self.file.head() + 1;
        self.file.appends.lock().unwrap().push((number, last, last));
        self.disk.written.store(last, Now);
        drop(locked);
        step();
        if self.disk.sync(Disk::OTHERS) && !self.disk.has_hole.load(Now) {
            self.told_by_any.fetch_max(last, Now);
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
    // Three of the program's threads, of two appends each.
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
    // What was published may not have reached the one who follows; that the store closes does.
    store.watch.close();
    follower.join().unwrap();
    // Whoever left the queue was not run after it had its answer either.
    for (number, runs) in store.runs.iter().enumerate() {
        assert!(runs.load(Now) <= 1, "append {number} was run more than once");
    }
}

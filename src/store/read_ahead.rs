//! The thread of a store that reads ahead for its cursors.
//!
//! It only helps: a cursor reads for itself whatever the thread has not begun. So nothing waits for the
//! thread to begin, and it may end, or fail to start, at any time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::commit::deadline::CallOptions;
use crate::domain::ReadState;
use crate::error::Result;
use crate::store::batch::{BatchLimits, Sink};
use crate::threads::spawn;

/// What the thread may use of its store.
pub trait SpareReads: Send + Sync {
    /// Delivers the next events of `reading`, which has begun, to `sink`, as a store's `read`
    /// does. Fails with `busy` where a call of the program might have to wait for this one.
    fn read_spare(
        &self,
        reading: &mut ReadState,
        batch: BatchLimits,
        call: &CallOptions,
        sink: &mut dyn Sink,
    ) -> Result<()>;
}

/// A read that the thread reads ahead for.
pub trait Ahead: Send + Sync {
    /// Reads one batch ahead. Returns whether there is another one to read now. It does not panic.
    fn read_one(&self, store: &dyn SpareReads) -> bool;
}

/// A thread that reads ahead, one batch at a time, for all the reads that ask for it in turn. It is
/// started for the first of them.
pub struct ReadAheadThread {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn SpareReads>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<dyn Ahead>>,
    thread: Option<JoinHandle<()>>,
    /// Whether the store is closed, or the thread could not be started.
    has_ended: bool,
}

impl ReadAheadThread {
    /// Creates the thread of this store, which is not started yet.
    pub fn new(store: Arc<dyn SpareReads>) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        ReadAheadThread { shared: Arc::new(Shared { store, state, changed }) }
    }

    /// Adds a read at the end of the queue. Returns `false` if nobody will read ahead for it.
    pub fn add(&self, read: Arc<dyn Ahead>) -> bool {
        let mut state = self.shared.state();
        if state.has_ended || state.waiting.try_reserve(1).is_err() {
            return false;
        }
        if state.thread.is_none() {
            let shared = Arc::clone(&self.shared);
            match spawn("dcb-read-ahead", move || shared.run()) {
                Ok(thread) => state.thread = Some(thread),
                Err(_) => {
                    state.has_ended = true;
                    return false;
                }
            }
        }
        state.waiting.push_back(read);
        drop(state);
        self.shared.changed.notify_one();
        true
    }

    /// Ends the thread, and waits until it has. What it reads should have been told to end before.
    pub fn end(&self) {
        let mut state = self.shared.state();
        state.has_ended = true;
        let (waiting, thread) = (std::mem::take(&mut state.waiting), state.thread.take());
        drop(state);
        drop(waiting);
        self.shared.changed.notify_one();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for ReadAheadThread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReadAheadThread").finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.state();
        loop {
            if state.has_ended {
                return;
            }
            let Some(read) = state.waiting.pop_front() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let goes_on = read.read_one(&*self.store);
            state = self.state();
            // Where there is no room, the caller reads what is left.
            if goes_on && !state.has_ended && state.waiting.try_reserve(1).is_ok() {
                state.waiting.push_back(read);
            } else {
                drop(state);
                drop(read);
                state = self.state();
            }
        }
    }
}

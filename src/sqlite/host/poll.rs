//! Looking for events of others on behalf of the waits, on files that the library never opens.
//!
//! A poll asks how the files look, and looks into the database only if they have changed or may have.
//! That costs no statement as long as nobody writes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::position::Position;
use crate::sqlite::read::POLL;
use crate::sqlite::wal::host_wal::FilesLook;

/// What the polls know.
#[derive(Debug, Default)]
pub struct HostPoll {
    last: Mutex<Option<Look>>,
    awaited: Mutex<Option<Awaited>>,
}

/// A look into the database.
#[derive(Debug)]
struct Look {
    /// The files, as they were just before.
    files: FilesLook,
    at: Instant,
    head: Position,
}

/// An append in a transaction of the program's, which may be committed at any moment.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    since: Instant,
    head: Position,
    /// How long the last look took since then.
    took: Duration,
}

/// So long after a write every poll looks at the database.
const SETTLING: Duration = Duration::from_millis(50);
/// So long a wait relies on the files at the most.
const MAX_UNSEEN: Duration = Duration::from_secs(1);
/// How soon after a poll the next one is, where a commit is awaited.
const EAGER: Duration = Duration::from_micros(250);

impl HostPoll {
    /// Returns the head. `look` looks into the database, as the first poll of a wait always does.
    pub fn head(
        &self,
        files: FilesLook,
        is_first: bool,
        look: impl FnOnce() -> Result<Position>,
    ) -> Result<Position> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && !is_first
            && last.files == files
            && !is_due(files.age(), last.at.elapsed())
        {
            return Ok(last.head);
        }
        let at = Instant::now();
        let looked = look();
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(awaited) = &mut *awaited {
            awaited.took = at.elapsed();
        }
        let head = looked?;
        awaited.take_if(|awaited| awaited.head <= head);
        *last = Some(Look { files, at, head });
        Ok(head)
    }

    /// Notes that a transaction of the program's, which is not committed yet, has this head.
    pub fn await_commit(&self, head: Position) {
        let awaited = Awaited { since: Instant::now(), head, took: Duration::ZERO };
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = Some(awaited);
    }

    /// Returns how long to wait before the next poll.
    pub fn interval(&self) -> Duration {
        let awaited = *self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.map_or(POLL, |awaited| interval(awaited.since.elapsed(), awaited.took))
    }
}

/// The next poll, where a commit has been awaited for some time and a look takes so long. It comes the
/// later the longer the transaction goes on, and looks take a fifth of the time at the most.
fn interval(awaited: Duration, look: Duration) -> Duration {
    (awaited / 8).max(4 * look).clamp(EAGER, POLL)
}

/// Whether the database is to be looked at again, by how long it has not been written to and when it
/// was last looked at. A commit is seen only some time after its last write, since SQLite may sync in
/// between; and two writes at nearly the same time leave the same time behind. So one looks often at
/// first, and ever less.
fn is_due(unwritten: Duration, unseen: Duration) -> bool {
    unwritten < SETTLING || unseen >= (unwritten / 4).min(MAX_UNSEEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::at;

    #[test]
    fn a_wait_looks_at_every_poll_after_a_write_and_then_ever_less() {
        let due = |unwritten, unseen| {
            is_due(Duration::from_millis(unwritten), Duration::from_millis(unseen))
        };
        assert!(due(0, 0) && due(49, 0) && due(200, 50) && due(3_600_000, 1_000));
        assert!(!due(200, 49) && !due(3_600_000, 999));
    }

    #[test]
    fn a_commit_is_polled_for_the_less_the_later_and_the_dearer_it_is() {
        let after = |awaited, look| {
            interval(Duration::from_micros(awaited), Duration::from_micros(look)).as_micros()
        };
        assert_eq!((after(0, 0), after(2_000, 10), after(8_000, 0)), (250, 250, 1_000));
        assert_eq!((after(0, 100), after(8_000, 500), after(0, 9_000)), (400, 2_000, 10_000));
        assert_eq!(after(80_000, 0), 10_000);
    }

    #[test]
    fn polls_are_eager_until_the_commit_is_seen() {
        let poll = HostPoll::default();
        assert_eq!(poll.interval(), POLL);
        poll.await_commit(at(7));
        for (head, is_eager) in [(at(6), true), (at(7), false)] {
            assert_eq!(poll.head(FilesLook::default(), true, || Ok(head)), Ok(head));
            assert_eq!(poll.awaited.lock().unwrap().is_some(), is_eager);
        }
        assert_eq!(poll.interval(), POLL);
    }
}

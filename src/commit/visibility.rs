//! Visibility: which committed events a reader may see.
//!
//! A reader never sees an event that a power failure could still take away.

use crate::commit::durability::Durability;
use crate::commit::head_watch::HeadWatch;
use crate::error::Result;
use crate::failpoints::{SeededBug, has};
use crate::position::Position;
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// The newest range of positions that only this process has written, committed or about to be.
#[derive(Debug, Default)]
pub struct OwnCommits(Mutex<(Position, Position)>);

impl OwnCommits {
    /// Called by the writer, which holds the write lock and finds the store at `head`. Returns
    /// whether another process has appended since this one did.
    pub fn begin(&self, head: Position) -> bool {
        let mut range = self.range();
        let others = range.1 != head;
        if others {
            *range = (head, head);
        }
        others
    }

    /// Called by the writer, which still holds the write lock, to commit its events up to `head`.
    /// They are recorded as its own before any reader can see them.
    pub fn commit(&self, head: Position, commit: impl FnOnce() -> Result<()>) -> Result<()> {
        self.range().1 = head;
        let committed = commit();
        if committed.is_err() && !has(SeededBug::KeepLostEvents) {
            // Another process may use the positions now.
            *self.range() = (Position::MAX, Position::MAX);
        }
        committed
    }

    /// Returns whether this process has written everything above `low`, up to `high`.
    fn cover(&self, low: Position, high: Position) -> bool {
        let range = self.range();
        range.0 <= low && high <= range.1
    }

    fn range(&self) -> MutexGuard<'_, (Position, Position)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the position up to which a reader may see a snapshot whose head is `head`.
///
/// Events that this process has committed but not synced are left out: their appends have not
/// returned yet. If another process has written events in between, the log is synced first, since
/// its appends may have returned. The result is an error if that sync fails and no event is known
/// to be durable.
pub fn visible(
    head: Position,
    durability: &Durability,
    own: &OwnCommits,
    watch: &HeadWatch,
) -> Result<Position> {
    let durable = durability.durable();
    if head <= durable || !durability.has_log() || has(SeededBug::ShowUnsynced) {
        return Ok(head);
    }
    above_durable(head, durable, durability, own, watch)
}

/// Does the work of [`visible`] for a snapshot that goes above `durable`, the durable position just
/// read. It may have risen since, and syncs may have failed.
fn above_durable(
    head: Position,
    durable: Position,
    durability: &Durability,
    own: &OwnCommits,
    watch: &HeadWatch,
) -> Result<Position> {
    let ensured = match durability.failure() {
        None if own.cover(durable, head) => return Ok(durable),
        None => durability.ensure(head),
        Some(failure) => Err(failure),
    };
    match ensured {
        Ok(()) => {
            watch.publish(head);
            Ok(head)
        }
        Err(error) if durability.durable() == Position::START => Err(error),
        // The durable position may have risen above this snapshot before the failure.
        Err(_) => Ok(durability.durable().min(head)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::durability::Log;
    use crate::error::{Error, Status};
    use crate::position::at;
    use crate::sync::atomic::Ordering::SeqCst;

    /// A log whose syncs always succeed.
    #[derive(Debug)]
    struct FakeLog;

    impl Log for FakeLog {
        fn sync(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_append_of_another_process_ends_the_own_range() {
        let own = OwnCommits::default();
        assert!(!own.begin(at(0)));
        own.commit(at(1), || Ok(())).unwrap();
        assert!(!own.begin(at(1)));
        own.commit(at(2), || Ok(())).unwrap();
        assert!(own.cover(at(0), at(2)));
        // 3 is another process's.
        assert!(own.begin(at(3)));
        own.commit(at(4), || Ok(())).unwrap();
        assert_eq!(
            [(0, 4), (2, 4), (3, 5)].map(|(low, high)| own.cover(at(low), at(high))),
            [false; 3]
        );
        assert!(own.cover(at(3), at(4)));
        // It is not known now which process will write 5.
        let failed = own.commit(at(5), || Err(Error::new(Status::Full, "")));
        assert_eq!(failed.unwrap_err().status, Status::Full);
        assert!(!own.cover(at(4), at(5)));
        assert!(own.begin(at(4)));
        own.commit(at(5), || Ok(())).unwrap();
        assert!(own.cover(at(4), at(5)));
    }

    #[test]
    fn a_snapshot_is_whole_if_it_is_durable_or_without_a_log() {
        let on_disk = Durability::new(Some(Box::new(FakeLog)), at(7));
        let in_memory = Durability::new(None, at(0));
        let own = OwnCommits::default();
        own.begin(at(3));
        own.commit(at(9), || Ok(())).unwrap();
        for (durability, heads) in [(&on_disk, [5, 7]), (&in_memory, [5, 9])] {
            for head in heads {
                assert_eq!(
                    visible(at(head), durability, &own, &HeadWatch::new(at(0))),
                    Ok(at(head))
                );
            }
            assert_eq!(durability.tampering.count.load(SeqCst), 0);
        }
        assert_eq!(visible(at(9), &on_disk, &own, &HeadWatch::new(at(0))), Ok(at(7)));
    }

    /// Returns the visible position of a snapshot that ends with another process's events, and the
    /// head that waiters see.
    fn shown(
        durability: &Durability,
        head: Position,
        seen_durable: Position,
    ) -> (Result<Position>, i64) {
        let watch = HeadWatch::new(at(0));
        let shown = above_durable(head, seen_durable, durability, &OwnCommits::default(), &watch);
        (shown, watch.head().get())
    }

    #[test]
    fn events_of_other_processes_are_synced_before_a_read() {
        let durability = Durability::new(None, at(3));
        assert_eq!(shown(&durability, at(5), at(3)), (Ok(at(5)), 5));
        assert_eq!((durability.durable(), durability.tampering.count.load(SeqCst)), (at(5), 1));
    }

    #[test]
    fn own_events_are_left_out_without_a_sync() {
        let (durability, own) = (Durability::new(None, at(3)), OwnCommits::default());
        assert!(own.begin(at(3)));
        own.commit(at(5), || Ok(())).unwrap();
        assert_eq!(
            above_durable(at(5), at(3), &durability, &own, &HeadWatch::new(at(0))),
            Ok(at(3))
        );
        assert_eq!((durability.durable(), durability.tampering.count.load(SeqCst)), (at(3), 0));
    }

    /// After the read has taken its snapshot, one sync makes events above it durable and a second
    /// sync fails.
    #[test]
    fn a_read_never_goes_beyond_its_snapshot() {
        let durability = Durability::new(None, at(3));
        durability.ensure(at(7)).unwrap();
        durability.tampering.fail.store(true, SeqCst);
        durability.ensure(at(9)).unwrap_err();
        assert_eq!(shown(&durability, at(5), at(3)).0, Ok(at(5)));
        // The snapshot of the next read includes the events above.
        assert_eq!(shown(&durability, at(9), at(3)).0, Ok(at(7)));
    }

    #[test]
    fn a_failed_sync_is_reported_if_nothing_is_durable() {
        for (durable, is_reported) in [(0, true), (3, false)] {
            let durability = Durability::new(None, at(durable));
            durability.tampering.fail.store(true, SeqCst);
            for _ in 0..2 {
                let (shown, published) = shown(&durability, at(5), at(durable));
                assert_eq!(shown.is_err(), is_reported);
                assert_eq!((shown.unwrap_or(at(0)), published), (at(durable), 0));
            }
            assert_eq!(durability.tampering.count.load(SeqCst), 1, "a failed sync is not retried");
        }
    }
}

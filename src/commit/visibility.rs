//! What a reader may see of what is committed.

use crate::commit::durability::Durability;
use crate::commit::head_watch::HeadWatch;
use crate::error::Result;
use crate::failpoints::{SeededBug, has};
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// The newest events as far as they are known to be this process's own work, committed or about
/// to be, with nobody else's between them.
#[derive(Debug, Default)]
pub struct OwnCommits(Mutex<(i64, i64)>);

impl OwnCommits {
    /// The writer has the lock and finds `head`; whether others have appended since.
    pub fn begin(&self, head: i64) -> bool {
        let mut range = self.range();
        let others = range.1 != head;
        if others {
            *range = (head, head);
        }
        others
    }

    /// The writer, which still has the lock, commits its events up to `head`. They are noted
    /// before anybody can see them.
    pub fn commit(&self, head: i64, commit: impl FnOnce() -> Result<()>) -> Result<()> {
        self.range().1 = head;
        let committed = commit();
        if committed.is_err() && !has(SeededBug::KeepLostEvents) {
            // Another process may take the positions.
            *self.range() = (i64::MAX, i64::MAX);
        }
        committed
    }

    /// Whether everything above `low`, up to `high`, is this process's own.
    fn cover(&self, low: i64, high: i64) -> bool {
        let range = self.range();
        range.0 <= low && high <= range.1
    }

    fn range(&self) -> MutexGuard<'_, (i64, i64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The position up to which a snapshot may be shown, its head being `head`.
///
/// What this process has committed but not synced is left out: its appends are not answered
/// yet. Where there is anything of others in between, the log is synced first, for they may
/// have answered theirs. An error: it failed, and nothing is known to be durable.
pub fn visible(
    head: i64,
    durability: &Durability,
    own: &OwnCommits,
    watch: &HeadWatch,
) -> Result<i64> {
    let durable = durability.durable();
    if head <= durable || !durability.has_log() || has(SeededBug::ShowUnsynced) {
        return Ok(head);
    }
    above_durable(head, durable, durability, own, watch)
}

/// The same, where the snapshot goes above what was just seen to be durable. By now more may be,
/// and syncs may have failed.
fn above_durable(
    head: i64,
    durable: i64,
    durability: &Durability,
    own: &OwnCommits,
    watch: &HeadWatch,
) -> Result<i64> {
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
        Err(error) if durability.durable() == 0 => Err(error),
        // Which may have risen above this snapshot before the failure.
        Err(_) => Ok(durability.durable().min(head)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::durability::Log;
    use crate::error::{Error, Status};
    use crate::sync::atomic::Ordering::SeqCst;

    /// A log without a disk.
    #[derive(Debug)]
    struct NoDisk;

    impl Log for NoDisk {
        fn sync(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_others_append_in_between_is_not_ones_own() {
        let own = OwnCommits::default();
        assert!(!own.begin(0));
        own.commit(1, || Ok(())).unwrap();
        assert!(!own.begin(1));
        own.commit(2, || Ok(())).unwrap();
        assert!(own.cover(0, 2));
        // 3 is another process's.
        assert!(own.begin(3));
        own.commit(4, || Ok(())).unwrap();
        assert_eq!([(0, 4), (2, 4), (3, 5)].map(|(low, high)| own.cover(low, high)), [false; 3]);
        assert!(own.cover(3, 4));
        // Whose 5 is now is not known.
        let failed = own.commit(5, || Err(Error::new(Status::Full, "")));
        assert_eq!(failed.unwrap_err().status, Status::Full);
        assert!(!own.cover(4, 5));
        assert!(own.begin(4));
        own.commit(5, || Ok(())).unwrap();
        assert!(own.cover(4, 5));
    }

    #[test]
    fn a_snapshot_is_shown_whole_where_it_is_durable_or_nothing_ever_is() {
        let on_disk = Durability::new(Some(Box::new(NoDisk)), 7);
        let in_memory = Durability::new(None, 0);
        let own = OwnCommits::default();
        own.begin(3);
        own.commit(9, || Ok(())).unwrap();
        for (durability, heads) in [(&on_disk, [5, 7]), (&in_memory, [5, 9])] {
            for head in heads {
                assert_eq!(visible(head, durability, &own, &HeadWatch::new(0)), Ok(head));
            }
            assert_eq!(durability.tampering.count.load(SeqCst), 0);
        }
        assert_eq!(visible(9, &on_disk, &own, &HeadWatch::new(0)), Ok(7));
    }

    /// Where a read is shown others' events, and what those who wait are told.
    fn shown(durability: &Durability, head: i64, seen_durable: i64) -> (Result<i64>, i64) {
        let watch = HeadWatch::new(0);
        let shown = above_durable(head, seen_durable, durability, &OwnCommits::default(), &watch);
        (shown, watch.head())
    }

    #[test]
    fn what_others_have_committed_is_synced_before_it_is_shown() {
        let durability = Durability::new(None, 3);
        assert_eq!(shown(&durability, 5, 3), (Ok(5), 5));
        assert_eq!((durability.durable(), durability.tampering.count.load(SeqCst)), (5, 1));
    }

    #[test]
    fn what_is_ones_own_is_left_out_without_a_sync() {
        let (durability, own) = (Durability::new(None, 3), OwnCommits::default());
        assert!(own.begin(3));
        own.commit(5, || Ok(())).unwrap();
        assert_eq!(above_durable(5, 3, &durability, &own, &HeadWatch::new(0)), Ok(3));
        assert_eq!((durability.durable(), durability.tampering.count.load(SeqCst)), (3, 0));
    }

    /// Of two syncs since the read has looked, the first served events above its snapshot, and the
    /// second failed.
    #[test]
    fn a_read_is_not_shown_beyond_its_snapshot_whatever_became_durable_before_a_failure() {
        let durability = Durability::new(None, 3);
        durability.ensure(7).unwrap();
        durability.tampering.fail.store(true, SeqCst);
        durability.ensure(9).unwrap_err();
        assert_eq!(shown(&durability, 5, 3).0, Ok(5));
        // The events above are in the snapshot of the next one.
        assert_eq!(shown(&durability, 9, 3).0, Ok(7));
    }

    #[test]
    fn where_nothing_is_known_to_be_durable_a_sync_that_failed_is_told() {
        for (durable, is_told) in [(0, true), (3, false)] {
            let durability = Durability::new(None, durable);
            durability.tampering.fail.store(true, SeqCst);
            for _ in 0..2 {
                let (shown, published) = shown(&durability, 5, durable);
                assert_eq!(shown.is_err(), is_told);
                assert_eq!((shown.unwrap_or(0), published), (durable, 0));
            }
            assert_eq!(durability.tampering.count.load(SeqCst), 1, "it is not tried again");
        }
    }
}

//! Noticing that a process left a merge behind.

use std::time::{Duration, Instant};

/// A merge of another process that stands still for so long was left behind by it.
const ABANDONED: Duration = Duration::from_secs(30);

/// A merge of another process, and when it was last seen to move.
#[derive(Debug, Default)]
pub struct MergeWatch(Option<(i64, MergeProgress, Instant)>);

impl MergeWatch {
    /// Looks at the segment that is being built; gives it where whoever built it is gone.
    pub fn look(&mut self, building: Option<(i64, MergeProgress)>) -> Option<i64> {
        let known = self.0.take();
        let (segment, progress) = building?;
        let since = match known {
            Some((own, seen, since)) if (own, seen) == (segment, progress) => since,
            _ => Instant::now(),
        };
        self.0 = Some((segment, progress, since));
        (since.elapsed() >= ABANDONED).then_some(segment)
    }
}

/// The highest term that a merge has written, and the last part of its filter.
pub type MergeProgress = (Option<i64>, Option<i64>);

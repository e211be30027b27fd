//! Detecting a merge whose process died.

use std::time::{Duration, Instant};

/// A merge that makes no progress for this long counts as abandoned.
const ABANDONED: Duration = Duration::from_secs(30);

/// The merge that is watched, its progress, and when it last made any.
#[derive(Debug, Default)]
pub struct MergeWatch(Option<(i64, MergeProgress, Instant)>);

impl MergeWatch {
    /// Observes the segment that is being built. Returns it if its merge was abandoned.
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

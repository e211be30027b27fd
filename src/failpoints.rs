//! Failpoints for the tests: named crash points that end the process, and seeded bugs that leave
//! out a step, so that a test can show that it would detect the bug.
//!
//! Without the feature `testing` there are none: both functions are constant.

/// A bug that a test can seed in the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeededBug {
    /// An append returns before its events are durable.
    AnswerBeforeSync,
    /// Conditions are checked without the events that other processes have appended since.
    SkipCatchUp,
    /// Conditions are checked without the events that the same group has stored before.
    ForgetGroup,
    /// A segment claims to cover more events than it does.
    MarkTooEarly,
    /// A read returns events that are committed but not durable.
    ShowUnsynced,
    /// Opening a store trusts the WAL as it is, and does not write it again.
    BelieveLog,
    /// The last block of a segment is not written.
    LoseLastBlock,
    /// A leader whose deadline has passed does not hand the lead on.
    KeepLead,
    /// The last request that leaves a group does not hand on the lead that the group was offered.
    ForgetLead,
    /// The callers of a group are woken before the group's state changes.
    TellTooEarly,
    /// A request whose deadline has passed removes the first request of its group instead of
    /// itself.
    LeaveForAnother,
    /// Only one caller of a group is woken when the answers are there.
    AnswerOneOfAll,
    /// Waiting threads learn of events before these are durable.
    PublishTooEarly,
    /// A sync is taken to cover events that were written while it ran.
    CoverTooMuch,
    /// Only one of the threads that wait for a sync is woken when it ends.
    WakeOneOfAll,
    /// A sync is trusted although an earlier one failed.
    BelieveNextSync,
    /// A thread that waits for events may miss one that comes just before it sleeps.
    WakeWithoutLock,
    /// The events of a failed commit are taken to be stored.
    KeepLostEvents,
    /// A thread that gives up its wait drops what it was handed just before.
    DropTurn,
    /// Pages that were read ahead are used although the file has changed.
    BelieveOldPages,
    /// A condition that is checked before the group runs is taken to be checked on events above the
    /// snapshot, too.
    CheckTooFar,
    /// An append whose connection broke is repeated without looking what has become of it.
    RetryBlindly,
    /// A read takes its head after its rows.
    ReadHeadLater,
    /// Other clients are notified of events before these are committed.
    NotifyTooEarly,
}

#[cfg(feature = "testing")]
mod enabled {
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::SeqCst;

    use crate::failpoints::SeededBug;

    static END: OnceLock<(String, AtomicU32)> = OnceLock::new();
    static BUG: OnceLock<SeededBug> = OnceLock::new();

    /// Makes the process abort when it reaches the crash point `name` for the `nth` time.
    pub fn end_at(name: &str, nth: u32) {
        let _ = END.set((name.to_owned(), AtomicU32::new(nth)));
    }

    /// Marks a crash point, at which [`end_at`] may end the process.
    pub fn crash_point(name: &str) {
        if let Some((end, left)) = END.get()
            && end == name
            && left.fetch_sub(1, SeqCst) == 1
        {
            // An abort runs neither destructors nor exit handlers, so nothing is cleaned up.
            std::process::abort();
        }
    }

    /// Seeds a bug, which stays for the life of the process.
    pub fn seed(bug: SeededBug) {
        let _ = BUG.set(bug);
    }

    /// Returns whether a bug is seeded.
    pub fn has(bug: SeededBug) -> bool {
        BUG.get() == Some(&bug)
    }
}

#[cfg(feature = "testing")]
pub use enabled::{crash_point, end_at, has, seed};

/// Marks a crash point. Without the feature `testing` it does nothing.
#[cfg(not(feature = "testing"))]
pub const fn crash_point(_name: &str) {}

/// Returns whether a bug is seeded. Without the feature `testing` none is.
#[cfg(not(feature = "testing"))]
pub const fn has(_bug: SeededBug) -> bool {
    false
}

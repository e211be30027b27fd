//! What only the tests ask of the library: to end the process at a named place, and to leave out
//! a step, so that they can show that they would notice. Without the feature `testing`, nothing.

/// A step that the library can be told to do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeededBug {
    /// An append is answered before its events are durable.
    AnswerBeforeSync,
    /// Conditions are judged without what other processes have appended since.
    SkipCatchUp,
    /// Conditions are judged without what the same group has stored before.
    ForgetGroup,
    /// A segment says that it covers more events than it does.
    MarkTooEarly,
    /// A read shows events that are committed, but not durable.
    ShowUnsynced,
    /// The log is believed as it is found when a store is opened, not written once more.
    BelieveLog,
    /// The last block of a segment is not written.
    LoseLastBlock,
    /// A leader whose time is over does not hand the lead on.
    KeepLead,
    /// Nor does the last of a group that leaves when the lead was handed to it.
    ForgetLead,
    /// What was a request's turn is told before it is so.
    TellTooEarly,
    /// A request whose time is over takes the first of its group out, not itself.
    LeaveForAnother,
    /// One of a group is told that there are answers, not all.
    AnswerOneOfAll,
    /// Who waits is told of events before they are durable.
    PublishTooEarly,
    /// A sync is taken to cover what was written while it ran.
    CoverTooMuch,
    /// One of those who wait for a sync is told of its end, not all.
    WakeOneOfAll,
    /// A sync that comes after one that failed is believed.
    BelieveNextSync,
    /// Who waits for events may miss one that comes while it is falling asleep.
    WakeWithoutLock,
    /// Events of a commit that failed are taken to be still there.
    KeepLostEvents,
    /// Pages that were read ahead are used under another version of the file.
    BelieveOldPages,
}

#[cfg(feature = "testing")]
mod told {
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::SeqCst;

    use crate::failpoints::SeededBug;

    static END: OnceLock<(String, AtomicU32)> = OnceLock::new();
    static FLAW: OnceLock<SeededBug> = OnceLock::new();

    /// From now on the process ends, as by a crash, when it reaches `place` for the nth time.
    pub fn end_at(place: &str, nth: u32) {
        let _ = END.set((place.to_owned(), AtomicU32::new(nth)));
    }

    /// The process reaches a place.
    pub fn crash_point(place: &str) {
        if let Some((end, left)) = END.get()
            && end == place
            && left.fetch_sub(1, SeqCst) == 1
        {
            // Neither destructors nor handlers run: nothing is brought in order.
            std::process::abort();
        }
    }

    /// From now on the library has a flaw.
    pub fn seed(flaw: SeededBug) {
        let _ = FLAW.set(flaw);
    }

    /// Whether it has this one.
    pub fn has(flaw: SeededBug) -> bool {
        FLAW.get() == Some(&flaw)
    }
}

#[cfg(feature = "testing")]
pub use told::{crash_point, end_at, has, seed};

/// The process reaches a place.
#[cfg(not(feature = "testing"))]
pub const fn crash_point(_place: &str) {}

/// Whether the library was told to have this flaw.
#[cfg(not(feature = "testing"))]
pub const fn has(_flaw: SeededBug) -> bool {
    false
}

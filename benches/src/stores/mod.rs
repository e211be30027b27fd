//! The stores that are measured, each driven as its callers would.

mod bare;
mod libdcb;
mod plain;
#[cfg(feature = "rivals")]
mod tephra;
#[cfg(feature = "rivals")]
mod umadb;

use std::path::Path;
use std::time::Duration;

use crate::load::Event;

pub use libdcb::{Libdcb, append_request, read_request};

/// An append: its events, and the condition that none with this tag lies above `after`.
pub struct Append<'a> {
    pub events: &'a [Event],
    pub condition: Option<(&'a str, u64)>,
}

/// What came of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Stored,
    Refused,
}

/// How a read hands over its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Structs,
    Json,
}

/// What a read gave: how many events, the bytes of what was looked at, and the position up to
/// which a condition need not look.
#[derive(Debug, Default, Clone, Copy)]
pub struct Found {
    pub events: u64,
    pub bytes: u64,
    pub position: u64,
}

impl Found {
    /// Looks at one event, as any caller would at least.
    pub fn look(&mut self, event_type: &[u8], data: &[u8]) {
        self.events += 1;
        self.bytes +=
            (std::hint::black_box(event_type).len() + std::hint::black_box(data).len()) as u64;
    }
}

/// A store under measurement.
pub trait Subject: Send + Sync {
    /// Appends durably.
    fn append(&self, append: &Append<'_>) -> Outcome;

    /// Reads the events that have this tag, or all.
    fn read(&self, tag: Option<&str>, form: Form) -> Found;

    /// Waits until the store has done what it does behind the appends, which it has when nothing
    /// changes for this time.
    fn come_to_rest(&self, _unchanged: Duration) {}
}

/// The stores, in the order in which they are run and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Libdcb,
    Tephra,
    Umadb,
    Plain,
    Bare,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Libdcb, Kind::Tephra, Kind::Umadb, Kind::Plain, Kind::Bare];
    /// Those that are stores.
    pub const STORES: [Kind; 4] = [Kind::Libdcb, Kind::Tephra, Kind::Umadb, Kind::Plain];

    /// Those that this program was built with.
    pub fn built() -> impl Iterator<Item = Kind> {
        let is_built =
            |kind: &Kind| cfg!(feature = "rivals") || !matches!(kind, Kind::Tephra | Kind::Umadb);
        Self::ALL.into_iter().filter(is_built)
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Libdcb => "libdcb",
            Kind::Tephra => "Tephra",
            Kind::Umadb => "UmaDB",
            Kind::Plain => "plain SQLite",
            Kind::Bare => "bare calls",
        }
    }

    /// The name on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Libdcb => "libdcb",
            Kind::Tephra => "tephra",
            Kind::Umadb => "umadb",
            Kind::Plain => "plain",
            Kind::Bare => "bare",
        }
    }

    /// Opens the store in a folder, creating it if it is not there.
    pub fn open(self, folder: &Path) -> Box<dyn Subject> {
        std::fs::create_dir_all(folder).expect("a folder for the store");
        match self {
            Kind::Libdcb => {
                Box::new(Libdcb::open(&format!("sqlite:{}/store.db", folder.display())))
            }
            #[cfg(feature = "rivals")]
            Kind::Tephra => Box::new(tephra::Tephra::open(folder)),
            #[cfg(feature = "rivals")]
            Kind::Umadb => Box::new(umadb::Umadb::open(folder)),
            #[cfg(not(feature = "rivals"))]
            Kind::Tephra | Kind::Umadb => panic!("{} is not built in", self.name()),
            Kind::Plain => Box::new(plain::Plain::open(&folder.join("store.db"))),
            Kind::Bare => Box::new(bare::Bare::open(folder)),
        }
    }
}

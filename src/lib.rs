//! An embeddable event store with [Dynamic Consistency Boundaries](https://dcb.events).
//!
//! All events of a bounded context form one sequence. An event has a type, tags that say what it is
//! about, and a payload. A [`Query`] selects events by type and tags. An append may carry an
//! [`AppendCondition`]: it fails if an event that matches a query was stored after a position. So a
//! decision guards exactly the events that it depends on.
//!
//! ```
//! use dcb::{
//!     AppendCondition, AppendRequest, CallOptions, Direction, EventBuilder, EventType, Options,
//!     Position, Query, QueryItem, ReadRequest, Status, Tag,
//! };
//!
//! # fn main() -> dcb::Result<()> {
//! // "sqlite:courses.db" opens a file; any number of processes and threads may share it.
//! let store = dcb::open("memory:", &Options::default())?;
//! let call = CallOptions::default();
//!
//! // What does the decision depend on? All that has happened to the course.
//! let mut course = QueryItem::new();
//! course.and_tag(Tag::new("course:c1")?)?;
//! let query = Query::of(vec![course])?;
//! let request = ReadRequest::new(query.clone(), Position::START, None, None, Direction::Forward);
//! let (events, position) = store.read_all(request, &call)?;
//! assert!(events.is_empty());
//!
//! // Decide, and append on condition that nothing else has happened to it since.
//! let mut defined = EventBuilder::new(EventType::new("CourseDefined")?);
//! defined.tag(Tag::new("course:c1")?)?;
//! defined.data(r#"{"capacity": 20}"#)?;
//! let condition = AppendCondition::new(query, position);
//! let request = AppendRequest::new(vec![defined.build()], vec![condition])?;
//! store.append(request.clone(), &call)?;
//!
//! // A second append that was decided on the same state fails; its caller reads and decides again.
//! let refused = store.append(request, &call).unwrap_err();
//! assert_eq!((refused.status, refused.position), (Status::ConditionFailed, Position::from(1)));
//! # Ok(())
//! # }
//! ```
//!
//! Any number of threads may use a [`Store`] at once. Calls block for as long as their
//! [`CallOptions`] allow. Every failure is an [`Error`], whose [`Status`] tells the kind.
//!
//! The modules that this documentation hides are internal. The library's tests, benchmarks and fuzz
//! targets use them, and they may change with every release. ARCHITECTURE.md describes them.

#[doc(hidden)]
pub mod capi;
mod clock;
#[doc(hidden)]
pub mod commit;
#[doc(hidden)]
pub mod domain;
#[cfg(test)]
#[path = "../tests/ends/mod.rs"]
mod ends;
mod error;
#[doc(hidden)]
pub mod failpoints;
#[doc(hidden)]
pub mod index;
#[doc(hidden)]
pub mod json;
pub mod limits;
#[doc(hidden)]
pub mod memory;
mod open;
mod percent;
mod position;
#[cfg(feature = "postgres")]
#[doc(hidden)]
pub mod postgres;
#[doc(hidden)]
pub mod sql;
#[doc(hidden)]
pub mod sqlite;
#[doc(hidden)]
pub mod store;
mod sync;
mod threads;

pub use commit::deadline::{CallOptions, CancelToken, Timeout};
pub use domain::{
    AppendCondition, AppendRequest, Direction, Event, EventBuilder, EventId, EventType, EventView,
    Query, QueryItem, ReadRequest, ReadState, SequencedEvent, Tag, Tags,
};
pub use error::{Error, Result, Status};
pub use open::open;
pub use position::{NegativePosition, Position};
#[cfg(feature = "postgres")]
pub use postgres::{POSTGRES_REVISION, postgres_schema, postgres_upgrade};
pub use sqlite::FORMAT as SQLITE_FORMAT;
pub use store::diagnosis::{Diagnosis, PostgresDiagnosis, SqliteDiagnosis, TableSize};
pub use store::options::Options;
pub use store::{Appended, BackupProgress, BatchLimits, IndexCounts, Sink, Store};

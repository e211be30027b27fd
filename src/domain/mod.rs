//! The terms of DCB: events, queries, append conditions and reads, and the rules that they obey.
//!
//! Nothing here does I/O or takes a lock.

pub use append::AppendRequest;
pub use append_check::{Verdict, check_conditions, check_ids};
pub use condition::AppendCondition;
pub use event::{Event, EventBuilder};
pub use name::{EventId, EventType, Tag, Term};
pub use query::{Names, Query, QueryItem, Wanted};
pub use read::{Direction, PositionRange, ReadRequest, ReadState, position_of_after};
pub use sequenced_event::{EventView, PackedText, SequencedEvent};
pub use tags::Tags;

mod append;
mod append_check;
mod condition;
mod event;
mod name;
mod query;
mod read;
mod sequenced_event;
mod tags;

//! Writing rows of `dcb_events`.

use std::sync::Arc;

use crate::domain::SequencedEvent;
use crate::error::Result;
use crate::sql::{SqlConnection, Value};
use crate::sqlite::events::checksum;

/// How many rows are bound at a time, which bounds the memory for their values.
const ROWS_PER_BATCH: usize = 64;

/// Writes the rows of `events`, each with the checksum of its texts.
pub fn insert<'e>(
    connection: &dyn SqlConnection,
    events: impl IntoIterator<Item = (&'e Arc<SequencedEvent>, &'e u32)>,
) -> Result<()> {
    let mut events = events.into_iter().peekable();
    let mut values = Vec::new();
    while events.peek().is_some() {
        values.clear();
        for (event, texts) in events.by_ref().take(ROWS_PER_BATCH) {
            let body = &event.event;
            let checksum = checksum::of_row(*texts, event.position.get(), event.timestamp_us);
            values.extend([
                event.position.into(),
                body.event_type().into(),
                body.tags_json().into(),
                body.data().into(),
                body.id().into(),
                body.metadata().into(),
                Value::Integer(event.timestamp_us),
                Value::Integer(checksum),
            ]);
        }
        connection.run_each(
            "INSERT INTO main.dcb_events \
             (position, type, tags, data, id, metadata, timestamp, checksum) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            8,
            &values,
        )?;
    }
    Ok(())
}

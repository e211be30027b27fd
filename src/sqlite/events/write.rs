//! Writing rows of `dcb_events`.

use std::sync::Arc;

use crate::domain::SequencedEvent;
use crate::error::Result;
use crate::sql::{SqlConnection, Value};
use crate::sqlite::events::checksum;

/// How many rows are bound at a time, which bounds the memory for their values.
const ROWS_PER_BATCH: usize = 64;

/// Writes the rows of `events`, whose texts have these checksums.
pub fn insert(
    connection: &dyn SqlConnection,
    events: &[Arc<SequencedEvent>],
    checksums: &[u32],
) -> Result<()> {
    for (events, checksums) in events.chunks(ROWS_PER_BATCH).zip(checksums.chunks(ROWS_PER_BATCH)) {
        let mut values = Vec::with_capacity(events.len() * 8);
        for (event, texts) in events.iter().zip(checksums) {
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

//! Reading rows of `dcb_events`, from pages of the file or by SQL.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::domain::{Direction, EventView, PositionRange};
use crate::error::Result;
use crate::position::Position;
use crate::sql::Value;
use crate::sqlite::cache::{CacheUse, Found, ReadCaches};
use crate::sqlite::events::btree::BTree;
use crate::sqlite::events::page_reader::{PageReader, ReadAhead};
use crate::sqlite::events::row::{Scratch, damaged, to_owned};
use crate::sqlite::events::source::{ReadResult, Source};
use crate::sqlite::wal::wal_index::DatabaseFile;

const COLUMNS: &str = "position, type, tags, data, id, metadata, timestamp, checksum";
/// The statement that reads an event by its position.
const FETCH: &str = "SELECT position, type, tags, data, id, metadata, timestamp, checksum \
                     FROM main.dcb_events WHERE position = ?1";

/// Reads and verifies rows. It keeps the pages and the buffers of earlier reads.
#[derive(Debug, Default)]
pub struct EventReader {
    /// Reads the rows that need no SQLite.
    pages: PageReader,
    scratch: Scratch,
    cache: CacheUse,
}

impl EventReader {
    /// Creates a reader for a connection that only reads. It adds the events that it fetches to the
    /// cache.
    pub fn new(tree: Arc<BTree>, caches: Arc<ReadCaches>) -> Self {
        let pages = PageReader::lasting(tree);
        let cache = CacheUse { caches: Some(caches), may_keep: true };
        EventReader { pages, scratch: Scratch::default(), cache }
    }

    /// Creates a reader for a connection that writes. It uses the cache, but adds nothing to it:
    /// what it reads in its transaction may be undone.
    pub fn of_writer(tree: Arc<BTree>, caches: Arc<ReadCaches>) -> Self {
        let mut reader = EventReader::new(tree, caches);
        reader.cache.may_keep = false;
        reader
    }

    /// Returns what the reader does with the caches of its store.
    pub fn cache(&self) -> CacheUse {
        self.cache.clone()
    }

    /// Returns how many events were read, from the file or the cache.
    #[cfg(test)]
    pub fn count(&self) -> u64 {
        self.scratch.count
    }

    /// Calls `visit` with the events in `span`, in order, until it breaks. Fails if one is missing.
    pub fn scan<'s>(
        &mut self,
        source: impl Into<Source<'s>>,
        span: PositionRange,
        direction: Direction,
        mut visit: impl FnMut(&EventView<'_>) -> Result<ControlFlow<()>>,
    ) -> ReadResult<()> {
        let (source, mut rest) = (source.into(), span);
        let file = source.file();
        while !rest.is_empty() {
            let before = rest;
            if let Some(file) = &file
                && self.scan_leaf(file, source, &mut rest, direction, &mut visit)?.is_break()
            {
                return Ok(());
            }
            if rest == before {
                let most = if self.pages.is_off() { u64::MAX } else { SCANNED_AFTER_MISS };
                let PositionRange { after: low, through: high } = rest;
                let stretch = match direction {
                    Direction::Forward => {
                        PositionRange { after: low, through: high.min(low.saturating_add(most)) }
                    }
                    Direction::Backward => {
                        PositionRange { after: low.max(high.saturating_sub(most)), through: high }
                    }
                };
                if self.scan_rows(source, stretch, direction, &mut visit)?.is_break() {
                    return Ok(());
                }
                rest = rest.beyond(stretch.last(direction), direction);
            }
        }
        Ok(())
    }

    /// Visits the events at the start of `rest` that one page holds, as far as no SQL is needed,
    /// and removes them from `rest`.
    fn scan_leaf(
        &mut self,
        file: &DatabaseFile<'_>,
        source: Source<'_>,
        rest: &mut PositionRange,
        direction: Direction,
        mut visit: impl FnMut(&EventView<'_>) -> Result<ControlFlow<()>>,
    ) -> ReadResult<ControlFlow<()>> {
        let EventReader { pages, scratch, .. } = self;
        let ahead = match direction {
            Direction::Forward => ReadAhead::Behind,
            Direction::Backward => ReadAhead::Before,
        };
        let first = rest.first(direction).get();
        let Some((leaf, memory)) = pages.leaf_in(file, source, first, ahead) else {
            return Ok(ControlFlow::Continue(()));
        };
        while !rest.is_empty() {
            let position = rest.first(direction);
            let record = leaf.row(position.get());
            let row = record.and_then(|record| scratch.verify_record(&record, Some(memory)));
            let Some(row) = row else { break };
            if row.with_view(&mut visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            *rest = rest.beyond(position, direction);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Visits all events in `span` by SQL.
    fn scan_rows(
        &mut self,
        source: Source<'_>,
        span: PositionRange,
        direction: Direction,
        mut visit: impl FnMut(&EventView<'_>) -> Result<ControlFlow<()>>,
    ) -> ReadResult<ControlFlow<()>> {
        let (order, step) = match direction {
            Direction::Forward => ("ASC", Position::next as fn(Position) -> Position),
            Direction::Backward => ("DESC", Position::previous as fn(Position) -> Position),
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM main.dcb_events WHERE position > ?1 AND position <= ?2 \
             ORDER BY position {order}"
        );
        let bounds = [span.after, span.through].map(Value::from);
        let mut expected = span.first(direction);
        let mut last = ControlFlow::Continue(());
        source.sql()?.query(&sql, &bounds, &mut |row| {
            let row = self.scratch.verify_row(row)?;
            if row.position != expected {
                return Err(damaged(expected));
            }
            last = row.with_view(&mut visit)?;
            expected = step(expected);
            Ok(last)
        })?;
        if last.is_continue() && expected != step(span.last(direction)) {
            return Err(damaged(expected).into());
        }
        Ok(last)
    }

    /// Calls `visit` with the event at `position`, which the store must have.
    pub fn at<'s, T>(
        &mut self,
        source: impl Into<Source<'s>>,
        position: Position,
        visit: impl FnOnce(&EventView<'_>) -> Result<T>,
    ) -> ReadResult<T> {
        let (mut visit, mut value) = (Some(visit), None);
        self.fetch(source, &[position], |view| {
            value = visit.take().map(|visit| visit(view)).transpose()?;
            Ok(ControlFlow::Break(()))
        })?;
        value.ok_or_else(|| damaged(position).into())
    }

    /// Calls `visit` with the events at `positions`, which the store must have, in this order.
    pub fn fetch<'s>(
        &mut self,
        source: impl Into<Source<'s>>,
        mut positions: &[Position],
        mut visit: impl FnMut(&EventView<'_>) -> Result<ControlFlow<()>>,
    ) -> ReadResult<()> {
        let source = source.into();
        // A long read would drive out what other reads need.
        let may_keep = self.cache.may_keep && positions.len() <= MAX_CACHED_FETCH;
        let file = source.file();
        while let Some((position, later)) = positions.split_first() {
            let EventReader { pages, scratch, cache: CacheUse { caches, .. } } = self;
            let cached = caches.as_ref().map(|caches| caches.events.get(*position));
            if let Some(Found::Cached(event)) = cached {
                scratch.count();
                if visit(&event.view())?.is_break() {
                    return Ok(());
                }
                positions = later;
                continue;
            }
            let keeps = may_keep && matches!(cached, Some(Found::Wanted));
            let found = file
                .as_ref()
                .and_then(|file| pages.leaf_in(file, source, position.get(), ReadAhead::None))
                .and_then(|(leaf, _)| scratch.verify_record(&leaf.row(position.get())?, None));
            let Some(row) = found else {
                let most = if pages.is_off() { usize::MAX } else { FETCHES_AFTER_MISS };
                let (stretch, later) = positions.split_at(positions.len().min(most));
                if self.fetch_rows(source, stretch, may_keep, &mut visit)?.is_break() {
                    return Ok(());
                }
                positions = later;
                continue;
            };
            let flow = row.with_view(|view| {
                if keeps && let (Some(caches), Ok(event)) = (caches, to_owned(view)) {
                    caches.events.keep(event);
                }
                visit(view)
            })?;
            if flow.is_break() {
                return Ok(());
            }
            positions = later;
        }
        Ok(())
    }

    /// Visits the events at `positions` by SQL.
    fn fetch_rows(
        &mut self,
        source: Source<'_>,
        positions: &[Position],
        may_keep: bool,
        mut visit: impl FnMut(&EventView<'_>) -> Result<ControlFlow<()>>,
    ) -> ReadResult<ControlFlow<()>> {
        let caches = self.cache.caches.as_ref().filter(|_| may_keep);
        let keys: Vec<i64> = positions.iter().map(|position| position.get()).collect();
        let mut expected = positions.iter();
        let mut last = ControlFlow::Continue(());
        source.sql()?.query_each(FETCH, &keys, &mut |row| {
            let row = self.scratch.verify_row(row)?;
            match expected.next() {
                Some(position) if row.position == *position => {}
                Some(position) => return Err(damaged(*position)),
                None => return Err(damaged(row.position)),
            }
            last = row.with_view(|view| {
                if let Some(caches) = caches
                    && matches!(caches.events.get(view.position), Found::Wanted)
                    && let Ok(event) = to_owned(view)
                {
                    caches.events.keep(event);
                }
                visit(view)
            })?;
            Ok(last)
        })?;
        match expected.next() {
            Some(position) if last.is_continue() => Err(damaged(*position).into()),
            _ => Ok(last),
        }
    }
}

/// The most events of one fetch that are cached.
const MAX_CACHED_FETCH: usize = 64;

/// After a page lookup that failed, this many events are fetched by SQL before the next one.
const FETCHES_AFTER_MISS: usize = 16;

/// After a page lookup that failed, this many positions are scanned by SQL before the next one.
const SCANNED_AFTER_MISS: u64 = 256;

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::domain::{EventBuilder, EventId, EventType, SequencedEvent, Tag};
    use crate::position::at;
    use crate::sqlite::connection::{Location, OpenMode, connect};
    use crate::sqlite::events::checksum::checksums;
    use crate::sqlite::events::write::insert;
    use crate::sqlite::schema;

    fn store() -> Connection {
        let mut connection = connect(&Location::Memory, OpenMode::Create).unwrap();
        schema::create(&mut connection, false).unwrap();
        connection
    }

    fn write(connection: &Connection, event: SequencedEvent) {
        let checksums = checksums(std::slice::from_ref(&event.event));
        insert(connection, [&event.into()].into_iter().zip(&checksums)).unwrap();
    }

    fn event(position: i64, tags: &[&str], id: Option<&str>) -> SequencedEvent {
        let mut builder = EventBuilder::new(EventType::new("Typé").unwrap());
        for tag in tags {
            builder.tag(Tag::new(tag).unwrap()).unwrap();
        }
        builder.data(r#"{"a" : 1e400}"#).unwrap();
        if let Some(id) = id {
            builder.id(EventId::new(id).unwrap());
            builder.metadata(r#"{ "m":null}"#).unwrap();
        }
        SequencedEvent { position: at(position), timestamp_us: 17, event: builder.build() }
    }

    #[test]
    fn a_row_is_read_back_as_it_was_written() {
        let connection = store();
        let many: Vec<String> = (0..20).map(|n| format!("k:{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let cases: [&[&str]; 5] =
            [&[], &["a"], &["a:1", "b:\",\"", "c\\d", "\u{1}"], &many, &["é:ü", "x:y:z"]];
        for (index, tags) in cases.into_iter().enumerate() {
            let id = (index % 2 == 0).then_some("id \" \\ \u{7f}");
            let event = event(index as i64 + 1, tags, id);
            write(&connection, event);
        }
        let mut reader = EventReader::default();
        for (index, tags) in cases.into_iter().enumerate() {
            let id = (index % 2 == 0).then_some("id \" \\ \u{7f}");
            let wanted = event(index as i64 + 1, tags, id);
            let got = reader.at(&connection, wanted.position, to_owned).unwrap();
            assert_eq!(got.event, wanted.event);
            assert_eq!((got.position, got.timestamp_us), (wanted.position, 17));
        }
    }

    #[test]
    fn a_changed_row_and_a_missing_row_are_reported() {
        let connection = store();
        for position in 1..=3 {
            let event = event(position, &["a:1"], Some("x"));
            write(&connection, event);
        }
        let all = PositionRange { after: at(0), through: at(3) };
        let mut reader = EventReader::default();
        let mut count = |connection: &Connection, span| {
            let mut count = 0;
            reader
                .scan(connection, span, Direction::Forward, |_| {
                    count += 1;
                    Ok(ControlFlow::Continue(()))
                })
                .map(|()| count)
        };
        assert_eq!(count(&connection, all), Ok(3));
        for change in [
            "UPDATE dcb_events SET data = '{\"a\" : 1e401}' WHERE position = 2",
            "UPDATE dcb_events SET timestamp = 18 WHERE position = 2",
            "UPDATE dcb_events SET id = NULL WHERE position = 2",
            "UPDATE dcb_events SET tags = '[a:1]' WHERE position = 2",
            "UPDATE dcb_events SET type = x'41' WHERE position = 2",
            "DELETE FROM dcb_events WHERE position = 2",
        ] {
            connection.execute_batch("SAVEPOINT s").unwrap();
            connection.execute_batch(change).unwrap();
            assert_eq!(count(&connection, all), Err(damaged(at(2)).into()), "{change}");
            connection.execute_batch("ROLLBACK TO s; RELEASE s").unwrap();
        }
        assert_eq!(
            count(&connection, PositionRange { after: at(0), through: at(4) }),
            Err(damaged(at(4)).into())
        );
    }
}

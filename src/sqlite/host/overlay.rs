//! The events above the tail that the caller's transactions see, indexed in memory.
//!
//! An append in a transaction of the caller's cannot add what it sees to the tail, because the
//! transaction may be rolled back. To read those rows again for each append would take longer the
//! more there are. So the overlay keeps them, with a proof that another transaction sees the same.
//!
//! The proof is a mark: a random number in `dcb_meta`. Each append in a transaction of the caller's
//! replaces it. A transaction that finds a mark sees all that the writer of the mark saw, because a
//! rollback also undoes the mark, and events never change. So an index of what the writer saw also
//! holds for that transaction. Without the mark, the rows are read.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use crate::clock::now_us;
use crate::domain::PositionRange;
use crate::error::Result;
use crate::index::Index;
use crate::position::Position;
use crate::sql::{SqlConnection, Value};
use crate::sqlite::append::group::PreparedAppend;
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::index::segment_list::Segments;
use crate::sqlite::index::tail::{TAIL_BYTES, newest_in};
use crate::sqlite::snapshot::Snapshot;

/// What the transactions of callers see above the tail.
#[derive(Debug)]
pub struct Overlay {
    index: Index,
    /// The mark with which everything in the index was seen.
    seen_with: Option<i64>,
    /// The newest append, which is not in the index yet, and the mark that it wrote.
    newest: Option<(i64, PreparedAppend)>,
    /// The lists of segments that were seen with a mark: before the newest append and after it.
    lists: Vec<(i64, Arc<Segments>)>,
    /// What the last transaction saw, or what its append left.
    latest: Option<Seen>,
}

impl Default for Overlay {
    fn default() -> Self {
        Overlay {
            index: Index::new(Position::START),
            seen_with: None,
            newest: None,
            lists: Vec::new(),
            latest: None,
        }
    }
}

impl Overlay {
    /// Returns the list of segments that a transaction with this mark sees.
    pub fn segments(
        &self,
        connection: &dyn SqlConnection,
        snapshot: Snapshot,
        mark: Option<i64>,
        committed: &Arc<Segments>,
    ) -> Result<Arc<Segments>> {
        let seen = self.lists.iter().find(|(with, _)| Some(*with) == mark).map(|(_, list)| list);
        match seen {
            Some(list) if list.version == snapshot.version => Ok(Arc::clone(list)),
            // Numbers of segments are not used again, but for those that were rolled back.
            known => {
                let known = known.unwrap_or(committed);
                Ok(Arc::new(Segments::load(connection, snapshot.version, known)?))
            }
        }
    }

    /// Makes this the overlay of a transaction with this snapshot and this mark: it then ends at the
    /// snapshot's head. It begins at `covered` or below, up to which others know the events; or
    /// above, if more events than memory allows are between.
    pub fn enter(
        &mut self,
        connection: &dyn SqlConnection,
        reader: &mut EventReader,
        snapshot: Snapshot,
        mark: Option<i64>,
        covered: Position,
    ) -> Result<()> {
        match self.newest.take() {
            Some((written, append)) if Some(written) == mark => {
                append.add_to(&mut self.index);
                self.seen_with = mark;
            }
            _ => {}
        }
        let is_proven = mark.is_some() && self.seen_with == mark;
        if !is_proven || self.index.head() <= covered || self.index.head() > snapshot.head {
            self.index = Index::new(covered);
            self.seen_with = mark;
        }
        let span = PositionRange { after: self.index.head(), through: snapshot.head };
        if span.after >= span.through {
            return Ok(());
        }
        let events = newest_in(connection, reader, span)?;
        let base = snapshot.head.saturating_sub(events.len() as u64);
        if self.index.head() != base {
            self.index = Index::new(base);
        }
        for event in events {
            self.index.push(event);
        }
        // These rows may be newer than the mark.
        self.seen_with = None;
        Ok(())
    }

    /// Returns the list of segments that the last transaction left, if it has this version.
    pub fn newest_segments(&self, version: i64) -> Option<&Segments> {
        let newest = self.lists.last().map(|(_, segments)| &**segments);
        newest.filter(|segments| segments.version == version)
    }

    /// Takes the index for the check of an append, which gives it back.
    pub fn take_index(&mut self) -> Index {
        std::mem::replace(&mut self.index, Index::new(Position::START))
    }

    /// Gives the index back.
    pub fn give_back(&mut self, index: Index) {
        self.index = index;
    }

    /// Whether the events are so long that a segment is to be written, whatever their number.
    pub fn is_long(&self) -> bool {
        self.index.footprint() > TAIL_BYTES / 2
    }

    /// Notes what a transaction saw.
    pub fn note_seen(&mut self, seen: Seen, segments: Arc<Segments>) {
        self.lists = seen.mark.map(|mark| (mark, segments)).into_iter().collect();
        self.latest = Some(seen);
    }

    /// Notes an append, which ends at `last`, the mark that it has written, and the segments that it
    /// has left.
    pub fn note_append(
        &mut self,
        written: i64,
        append: PreparedAppend,
        last: Position,
        segments: Arc<Segments>,
    ) {
        let snapshot = Snapshot { head: last, version: segments.version };
        self.latest = Some(Seen { snapshot, mark: Some(written) });
        self.newest = Some((written, append));
        self.lists.push((written, segments));
    }

    /// Returns what the next transaction sees, if nobody else has written, nor rolled back, since
    /// the last one, except for what is known to be committed: events up to `head`, and a list of
    /// segments of this version.
    pub fn expected(&self, head: Position, version: i64) -> Option<Seen> {
        let mut expected = self.latest?;
        expected.mark?;
        expected.snapshot.head = expected.snapshot.head.max(head);
        expected.snapshot.version = expected.snapshot.version.max(version);
        Some(expected)
    }
}

/// What a transaction of the caller's sees.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The state of the store.
    pub snapshot: Snapshot,
    /// The mark of the newest append in a transaction of a caller's.
    pub mark: Option<i64>,
}

impl Seen {
    /// Reads it.
    pub fn take(connection: &dyn SqlConnection) -> Result<Self> {
        let sql = "SELECT (SELECT max(position) FROM main.dcb_events), \
                   (SELECT value FROM main.dcb_meta WHERE key = 'index'), \
                   (SELECT value FROM main.dcb_meta WHERE key = 'within')";
        let seen = connection.query_row(sql, &[], |row| {
            Ok(Seen { snapshot: Snapshot::of(row)?, mark: row.integer(2) })
        })?;
        seen.ok_or_else(damaged_index)
    }
}

/// Writes a new mark. Returns it, or `None` if a trigger of the program's has left it out.
pub fn write_mark(connection: &dyn SqlConnection) -> Result<Option<i64>> {
    // A forked child may have inherited the random state of its parent.
    let mark = RandomState::new().hash_one((std::process::id(), now_us())).cast_signed();
    let sql = "REPLACE INTO main.dcb_meta (key, value) VALUES ('within', ?1)";
    let changes = connection.run(sql, &[Value::Integer(mark)])?;
    Ok((changes == 1).then_some(mark))
}

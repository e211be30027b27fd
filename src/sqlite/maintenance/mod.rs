//! What goes on behind the appends: the segments are written, merged and cleared away, and the
//! log is brought into the database.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::domain::{EventView, Span, Term};
use crate::error::Result;
use crate::failpoints::{Flaw, has, reach};
use crate::sql::{Database, Value, Walk};
use crate::sqlite::append::writer::{Writer, rollback};
use crate::sqlite::connection::{Moment, end_left_over, from_sqlite};
use crate::sqlite::events::reader::Decoder;
use crate::sqlite::index::bloom_filter::Filter;
use crate::sqlite::index::merge::Merge;
use crate::sqlite::index::segment::{
    BUILDING, FILTER_PART_BYTES, LIVE, MAX_FILTER_BYTES, Packed, Segment, Segments, insert_blocks,
    insert_filter_part, insert_segment, integer, pack, raise_version,
};
use crate::sqlite::index::view::Snapshot;
use crate::sqlite::state::{CHECKPOINT_PAGES, SEGMENT_EVENTS, Shared, Waking};

/// Events in a segment as it is first written.
pub const MAX_SEGMENT_EVENTS: i64 = 2 * SEGMENT_EVENTS;
/// Blocks that a merge writes in one transaction, and clearing deletes.
const SLICE_BLOCKS: usize = 256;
/// How long maintenance sleeps when nobody wakes it.
const IDLE: Duration = Duration::from_millis(500);
/// How often SQLite's lock is asked for to have the log begin anew, with this process held up,
const RESTART_TRIES: u32 = 20;
/// and how long after one another: in a turn's pause of another process there is one at least.
const RESTART_POLL: Duration = Duration::from_micros(500);
/// A merge of another process that stands still for so long was left behind by it.
const ABANDONED: Duration = Duration::from_secs(30);
/// So many neighbours of one rank are merged, into one of the next.
const FEWEST: usize = 8;
/// While nothing else is to be done, a segment is merged with those after it once they are
/// together an eighth of it.
const IDLE_RATIO: i64 = 8;

/// Segments of a rank are up to eight times as long as those of the rank below.
fn rank(segment: &Segment) -> u32 {
    (segment.len().unsigned_abs() / SEGMENT_EVENTS.unsigned_abs()).max(1).ilog2() / FEWEST.ilog2()
}

/// Neighbours of one rank, above `low`, that are enough to be merged: the shortest first.
pub fn due_for_merge(segments: &Segments, low: i64) -> Option<Vec<Arc<Segment>>> {
    let runs = segments.list.chunk_by(|left, right| rank(left) == rank(right));
    let due = runs.filter(|run| run.len() >= FEWEST && run[0].low >= low);
    due.min_by_key(|run| rank(&run[0])).map(<[_]>::to_vec)
}

/// The terms of a stored event.
fn terms_of<'a>(view: &EventView<'a>) -> impl Iterator<Item = Term> + use<'a> {
    std::iter::once(Term::of_type(view.event_type))
        .chain(view.tags.iter().map(Term::of_tag))
        .chain(view.id.map(Term::of_id))
}

/// Writes the next segment, if there are `at_least` events for it, or so many bytes that it is
/// worth writing: from memory, or where that does not reach down to the mark, from the rows. Gives
/// whether there may be more to write.
pub fn write_segment(shared: &Shared, writer: &Writer, at_least: i64) -> Result<bool> {
    // One thread prepares a segment; who comes to help waits for it, and looks again.
    let _turn = shared.segmenting.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(draft) = draft_segment(shared, at_least)? else { return Ok(false) };
    let mut guard = writer.begin_chore()?;
    let (connection, decoder) = guard.open()?.parts();
    let transaction = Moment(connection);
    let Some(blocks) = store_segment(shared, connection, decoder, draft)? else {
        return Ok(false);
    };
    transaction.commit()?;
    let (snapshot, segments) = shared.segments.now(connection)?;
    drop(guard);
    shared.pages_written.fetch_add(blocks as u64 / 2, Relaxed);
    shared.tail.trim(segments.mark());
    Ok(snapshot.head - segments.mark() >= at_least)
}

/// A segment that is worth writing.
pub struct SegmentDraft {
    at_least: i64,
    /// Where the tail reaches down to the mark: the span, and its postings, packed.
    packed: Option<(Span, Packed)>,
}

/// Prepares the next segment, before the write lock is taken; `None`: there is too little for one.
pub fn draft_segment(shared: &Shared, at_least: i64) -> Result<Option<SegmentDraft>> {
    let mark = shared.segments.newest().mark();
    // Few events may be large ones.
    let at_least = if shared.is_tail_long() { 1 } else { at_least.max(1) };
    // Sorted outside of the tail's lock.
    let (from_memory, is_needed) = shared.tail.read(|tail| {
        let span = Span { low: mark, high: tail.head().min(mark + MAX_SEGMENT_EVENTS) };
        let is_enough = span.high - span.low >= at_least;
        let is_in_memory = tail.base() <= mark;
        let events = (is_enough && is_in_memory).then(|| (span, tail.range(span)));
        (events, is_enough || !is_in_memory)
    });
    if !is_needed {
        return Ok(None);
    }
    let packed = match from_memory {
        Some((span, events)) => {
            let views = events.iter().map(|event| event.view());
            let mut postings: Vec<(Term, i64)> = views
                .flat_map(|view| terms_of(&view).map(move |term| (term, view.position)))
                .collect();
            sort(&mut postings);
            Some((span, pack(span.low, &postings)?))
        }
        None => None,
    };
    Ok(Some(SegmentDraft { at_least, packed }))
}

/// Writes the segment, in a transaction that has written nothing yet; gives of how many blocks it
/// is, `None` where there is too little for one after all.
pub fn store_segment(
    shared: &Shared,
    connection: &dyn Database,
    decoder: &mut Decoder,
    draft: SegmentDraft,
) -> Result<Option<usize>> {
    let snapshot = Snapshot::take(connection)?;
    let segments = shared.segments.at_version(connection, snapshot.version)?;
    let (span, packed) = match draft.packed {
        // Of events that the database has: they may be gone, if somebody has put an older state there.
        Some((span, packed)) if span.low == segments.mark() && span.high <= snapshot.head => {
            (span, packed)
        }
        _ => {
            let low = segments.mark();
            let span = Span { low, high: snapshot.head.min(low + MAX_SEGMENT_EVENTS) };
            if span.high - span.low < draft.at_least {
                return Ok(None);
            }
            (span, pack(span.low, &postings_of_rows(connection, decoder, span)?)?)
        }
    };
    let beyond = if has(Flaw::MarkTooEarly) { snapshot.head.min(span.high + 8) } else { span.high };
    insert_live(connection, Span { high: beyond, ..span }, packed).map(Some)
}

/// Writes a live segment of the span; gives of how many blocks it is.
pub fn insert_live(connection: &dyn Database, span: Span, packed: Packed) -> Result<usize> {
    let (blocks, filter, terms) = packed;
    let segment = insert_segment(connection, LIVE, span.low, span.high, terms)?;
    let lost = usize::from(has(Flaw::LoseLastBlock));
    insert_blocks(connection, segment, &blocks[..blocks.len().saturating_sub(lost)])?;
    reach("in a segment");
    insert_filter(connection, segment, &filter)?;
    raise_version(connection)?;
    Ok(blocks.len())
}

/// The postings of the events in `span`, from their rows, sorted.
pub fn postings_of_rows(
    connection: &dyn Database,
    decoder: &mut Decoder,
    span: Span,
) -> Result<Vec<(Term, i64)>> {
    let mut postings = Vec::new();
    decoder.scan(connection, span, false, |view| {
        postings.extend(terms_of(view).map(|term| (term, view.position)));
        Ok(Walk::On)
    })?;
    sort(&mut postings);
    Ok(postings)
}

fn sort(postings: &mut Vec<(Term, i64)>) {
    postings.sort_unstable();
    // Two tags of an event may share a term.
    postings.dedup();
}

/// Writes the filter of a segment, unless it is too large.
pub fn insert_filter(connection: &dyn Database, segment: i64, filter: &Filter) -> Result<()> {
    if filter.bytes() <= MAX_FILTER_BYTES {
        for (part, bits) in filter.bits().chunks(FILTER_PART_BYTES).enumerate() {
            insert_filter_part(connection, segment, part, bits)?;
        }
    }
    Ok(())
}

/// A merge of another process, and when it was last seen to move.
#[derive(Debug, Default)]
pub struct Watched(Option<(i64, Progress, Instant)>);

impl Watched {
    /// Looks at the segment that is being built; gives it where whoever built it is gone.
    pub fn look(&mut self, building: Option<(i64, Progress)>) -> Option<i64> {
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
pub type Progress = (Option<i64>, Option<i64>);

/// The maintenance of one store.
#[derive(Debug)]
pub struct Maintenance {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
    /// Its own, to checkpoint and to read what it merges.
    connection: Connection,
    watched: Watched,
}

impl Maintenance {
    /// Maintenance over a connection of its own.
    pub fn new(shared: Arc<Shared>, writer: Arc<Writer>, connection: Connection) -> Self {
        Maintenance { shared, writer, connection, watched: Watched::default() }
    }

    /// Runs until the store closes.
    pub fn run(mut self) {
        loop {
            let waking = self.shared.chores.sleep(IDLE);
            if self.shared.durability.failure().is_some() {
                // The log may have a hole on the disk that no further sync tells of: nothing of it
                // goes into the database before the store is opened again.
                match waking {
                    Waking::Ended => return,
                    Waking::Due | Waking::Idle => continue,
                }
            }
            // A chore that fails meets its cause again, or the appends do and report it.
            match waking {
                Waking::Ended => {
                    let _ = self.write_segments(1);
                    return;
                }
                Waking::Due => {
                    let _ = self.write_segments(SEGMENT_EVENTS);
                    let _ = self.checkpoint(false);
                    let _ = self.tidy(false);
                }
                Waking::Idle => {
                    let _ = self.end_left_over();
                    let _ = self.write_segments(SEGMENT_EVENTS);
                    let _ = self.tidy(true);
                    let _ = self.checkpoint(true);
                }
            }
        }
    }

    /// Lets go of SQLite's lock where an append could not: others would wait for it for ever.
    fn end_left_over(&self) -> Result<()> {
        end_left_over(&self.writer.core().open()?.connection)
    }

    fn write_segments(&self, at_least: i64) -> Result<()> {
        while write_segment(&self.shared, &self.writer, at_least)? {}
        Ok(())
    }

    /// Brings the log into the database if it has grown enough, or at all while nothing else is to
    /// be done. When it is all in, the next writer begins the log anew, so it stays small.
    fn checkpoint(&self, is_idle: bool) -> Result<()> {
        // Where the log is at its limit nothing is written, so the count does not rise.
        let is_held = self.shared.log_held.load(Relaxed);
        let pages = self.shared.pages_written.load(Relaxed);
        let is_due = if is_idle { pages > 0 } else { self.shared.is_checkpoint_due(pages) };
        if !is_due && !is_held {
            return Ok(());
        }
        self.shared.pages_written.store(0, Relaxed);
        *self.shared.checkpointed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        // Most of it without holding anybody up,
        let (mut log, mut done) = self.checkpoint_passively()?;
        if !is_idle || done < log {
            reach("in a checkpoint");
            // and what was added meanwhile while nobody writes, nor reads from the log.
            let mut guard = self.writer.core();
            guard.open()?;
            let _gate = self.shared.close_gate();
            (log, done) = if log < 2 * CHECKPOINT_PAGES as i64 {
                self.checkpoint_passively()?
            } else {
                self.restart_log()?
            };
        }
        self.shared.note_log(log, log - done);
        Ok(())
    }

    /// Pages in the log, and how many of them are in the database by now.
    fn checkpoint_passively(&self) -> Result<(i64, i64)> {
        let (_, log, done) = self.run_checkpoint("PRAGMA wal_checkpoint(PASSIVE)")?;
        Ok((log, done))
    }

    /// As [`Self::checkpoint_passively`], and with SQLite's write lock: while other processes write
    /// without a pause, there is always something new in the log by the time that the rest of it is
    /// in the database, and it would grow for as long as they do.
    fn restart_log(&self) -> Result<(i64, i64)> {
        let mut tries = RESTART_TRIES;
        loop {
            let (is_busy, log, done) = self.run_checkpoint("PRAGMA wal_checkpoint(RESTART)")?;
            tries -= 1;
            if !is_busy || tries == 0 {
                return Ok((log, done));
            }
            std::thread::sleep(RESTART_POLL);
        }
    }

    fn run_checkpoint(&self, pragma: &str) -> Result<(bool, i64, i64)> {
        self.shared.durability.check()?;
        end_left_over(&self.connection)?;
        self.connection
            .query_row(pragma, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .map_err(|error| {
                let error = from_sqlite(error);
                if error.detail == rusqlite::ffi::SQLITE_IOERR_FSYNC {
                    // SQLite counts pages as brought in that an earlier, partial checkpoint wrote
                    // without a sync. The sync that failed now may have been theirs, and the next
                    // one would be believed. Opening the file again brings all of the log in anew.
                    self.shared.durability.fail(&error);
                }
                error
            })
    }

    /// Merges segments, and clears away what merges have left behind.
    fn tidy(&mut self, is_idle: bool) -> Result<()> {
        while let Some(sources) =
            if is_idle { self.worth_merging()? } else { self.due_for_merge(0)? }
        {
            if !self.merge(&sources)? {
                break;
            }
            self.clear()?;
        }
        self.clear()
    }

    /// Neighbours of one rank, above `low`, that are enough to be merged: the shortest first.
    fn due_for_merge(&self, low: i64) -> Result<Option<Vec<Arc<Segment>>>> {
        // Not the newest list that was seen: another process may have merged since, and whoever
        // does not read would try the same merge for ever.
        let (_, segments) = self.shared.segments.now(&self.connection)?;
        Ok(due_for_merge(&segments, low))
    }

    /// The newest segments, as far back as each is not much longer than all after it together: each
    /// that is gone spares every read a look-up.
    fn worth_merging(&self) -> Result<Option<Vec<Arc<Segment>>>> {
        let (_, segments) = self.shared.segments.now(&self.connection)?;
        let list = &segments.list;
        let (mut first, mut after) = (list.len(), 0);
        for (index, segment) in list.iter().enumerate().rev() {
            if segment.len() <= after * IDLE_RATIO {
                first = index;
            }
            after += segment.len();
        }
        Ok((list.len() - first > 1).then(|| list[first..].to_vec()))
    }

    /// Merges `sources`, neighbours, into one segment, in slices that hold no append up for long.
    /// Gives whether it came to its end: another process may have done the same.
    fn merge(&self, sources: &[Arc<Segment>]) -> Result<bool> {
        let (low, high) = match (sources.first(), sources.last()) {
            (Some(first), Some(last)) => (first.low, last.high),
            _ => return Ok(false),
        };
        let terms: u64 = sources.iter().map(|segment| segment.terms.unsigned_abs()).sum();
        let mut merge = Merge::new(sources, low, terms)?;
        let target = self.slice(|connection| begin_building(connection, low, high, terms))?;
        let Some(target) = target else { return Ok(false) };
        while let Some(blocks) = merge.next(&self.connection, SLICE_BLOCKS)? {
            if self.shared.chores.ended() || self.shared.is_tail_long() {
                self.write_segments(SEGMENT_EVENTS)?;
            }
            // Neither the log nor the number of short segments grows until a long merge has ended.
            let _ = self.checkpoint(false);
            if let Some(shorter) = self.due_for_merge_beside(sources)? {
                self.merge(&shorter)?;
            }
            reach("between slices");
            let alive = !self.shared.chores.ended()
                && self.slice(|connection| {
                    let alive = is_building(connection, target)?;
                    if alive {
                        insert_blocks(connection, target, &blocks)?;
                    }
                    Ok(alive)
                })?;
            if !alive {
                self.abandon(target)?;
                return Ok(false);
            }
        }
        if let Some(filter) = merge.filter() {
            for (part, bits) in filter.bits().chunks(FILTER_PART_BYTES).enumerate() {
                self.slice(|connection| {
                    if is_building(connection, target)? {
                        insert_filter_part(connection, target, part, bits)?;
                    }
                    Ok(())
                })?;
            }
        }
        let replaced = self.slice(|connection| {
            if !is_building(connection, target)? {
                return Ok(false);
            }
            let replaced = replace(connection, sources, target)?;
            if !replaced {
                rollback(connection);
            }
            Ok(replaced)
        })?;
        if !replaced {
            self.abandon(target)?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Segments that have come since a merge of `sources` began, if they are due themselves and
    /// shorter, so that this ends.
    fn due_for_merge_beside(&self, sources: &[Arc<Segment>]) -> Result<Option<Vec<Arc<Segment>>>> {
        let (Some(first), Some(last)) = (sources.first(), sources.last()) else { return Ok(None) };
        let due = self.due_for_merge(last.high)?;
        Ok(due.filter(|shorter| rank(&shorter[0]) < rank(first)))
    }

    fn abandon(&self, target: i64) -> Result<()> {
        self.slice(|connection| give_up(connection, target))
    }

    /// Runs `body` as one write transaction on the writer's connection.
    fn slice<T>(&self, body: impl FnOnce(&dyn Database) -> Result<T>) -> Result<T> {
        let mut guard = self.writer.begin_chore()?;
        let (connection, _) = guard.open()?.parts();
        let transaction = Moment(connection);
        let value = body(connection)?;
        if !connection.is_autocommit() {
            transaction.commit()?;
        }
        self.shared.pages_written.fetch_add(SLICE_BLOCKS as u64 / 2, Relaxed);
        Ok(value)
    }

    /// Deletes the rows of segments that are dead, or building for nobody.
    fn clear(&mut self) -> Result<()> {
        self.watch_building()?;
        for segment in dead_segments(&self.connection)? {
            while !self.shared.chores.ended()
                && !self.slice(|connection| clear_slice(connection, segment))?
            {
                if self.shared.is_tail_long() {
                    self.write_segments(SEGMENT_EVENTS)?;
                }
            }
        }
        Ok(())
    }

    /// Gives up the merge of a process that died in it.
    fn watch_building(&mut self) -> Result<()> {
        if let Some(left_behind) = self.watched.look(building_segment(&self.connection)?) {
            self.abandon(left_behind)?;
        }
        Ok(())
    }
}

/// Begins the segment that a merge of the positions above `low`, up to `high`, builds; `None`
/// where somebody builds one there already.
pub fn begin_building(
    connection: &dyn Database,
    low: i64,
    high: i64,
    terms: u64,
) -> Result<Option<i64>> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM dcb_segments WHERE state = 0 AND low < ?2 AND ?1 < high)";
    let is_busy =
        connection.query_row(sql, &[low, high].map(Value::Integer), |row| integer(row, 0))?;
    if is_busy != Some(0) {
        return Ok(None);
    }
    insert_segment(connection, BUILDING, low, high, terms).map(Some)
}

/// Whether the segment is being built still.
pub fn is_building(connection: &dyn Database, segment: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM dcb_segments WHERE segment = ?1 AND state = 0)";
    let found = connection.query_row(sql, &[Value::Integer(segment)], |row| integer(row, 0))?;
    Ok(found == Some(1))
}

/// Makes the segment that was built live, and its sources dead. `false`: somebody else has merged
/// one of them, and the transaction is to be rolled back.
pub fn replace(connection: &dyn Database, sources: &[Arc<Segment>], target: i64) -> Result<bool> {
    for source in sources {
        let changed = connection.run(
            "UPDATE dcb_segments SET state = 2 WHERE segment = ?1 AND state = 1",
            &[Value::Integer(source.id)],
        )?;
        if changed != 1 {
            return Ok(false);
        }
    }
    connection
        .run("UPDATE dcb_segments SET state = 1 WHERE segment = ?1", &[Value::Integer(target)])?;
    raise_version(connection)?;
    Ok(true)
}

/// Has what was built of the segment cleared away.
pub fn give_up(connection: &dyn Database, target: i64) -> Result<()> {
    let sql = "UPDATE dcb_segments SET state = 2 WHERE segment = ?1 AND state = 0";
    connection.run(sql, &[Value::Integer(target)]).map(drop)
}

/// Segments whose rows are to be deleted.
pub fn dead_segments(connection: &dyn Database) -> Result<Vec<i64>> {
    let mut dead = Vec::new();
    connection.query("SELECT segment FROM dcb_segments WHERE state = 2", &[], &mut |row| {
        dead.push(integer(row, 0)?);
        Ok(Walk::On)
    })?;
    Ok(dead)
}

/// A segment that is being built, and how far that has come.
pub fn building_segment(connection: &dyn Database) -> Result<Option<(i64, Progress)>> {
    connection.query_row(
        "SELECT segment, \
         (SELECT max(term) FROM dcb_postings AS own WHERE own.segment = all_.segment), \
         (SELECT max(part) FROM dcb_filters AS own WHERE own.segment = all_.segment) \
         FROM dcb_segments AS all_ WHERE state = 0 LIMIT 1",
        &[],
        |row| Ok((integer(row, 0)?, (row.integer(1), row.integer(2)))),
    )
}

/// Deletes some rows of a dead segment; in the end the segment itself. Gives whether it is gone.
pub fn clear_slice(connection: &dyn Database, segment: i64) -> Result<bool> {
    let segment = Value::Integer(segment);
    let end = connection.query_row(
        "SELECT term, position FROM dcb_postings WHERE segment = ?1 \
         ORDER BY term, position LIMIT 1 OFFSET ?2",
        &[segment, Value::Integer(SLICE_BLOCKS as i64)],
        |row| Ok((integer(row, 0)?, integer(row, 1)?)),
    )?;
    if let Some((term, position)) = end {
        connection.run(
            "DELETE FROM dcb_postings WHERE segment = ?1 AND (term, position) < (?2, ?3)",
            &[segment, Value::Integer(term), Value::Integer(position)],
        )?;
        return Ok(false);
    }
    connection.run("DELETE FROM dcb_postings WHERE segment = ?1", &[segment])?;
    connection.run("DELETE FROM dcb_filters WHERE segment = ?1", &[segment])?;
    connection.run("DELETE FROM dcb_segments WHERE segment = ?1 AND state = 2", &[segment])?;
    Ok(true)
}

//! What goes on behind the appends: the segments are written, merged and cleared away, and the
//! log is brought into the database.

pub mod checkpoint;
pub mod merge_watch;
pub mod merging;
pub mod segment_merge;
pub mod segments;
use std::cell::RefCell;
use std::sync::Arc;

use rusqlite::Connection;

use crate::error::Result;
use crate::sqlite::append::writer::Writer;
use crate::sqlite::connection::transaction::end_left_over;
use crate::sqlite::maintenance::merge_watch::MergeWatch;
use crate::sqlite::maintenance::segments::write_segment;
use crate::sqlite::read::pool::ReaderPool;
use crate::sqlite::signal::WakeReason;
use crate::sqlite::state::{SEGMENT_EVENTS, StoreState};

/// The maintenance of one store.
#[derive(Debug)]
pub struct Maintenance {
    shared: Arc<StoreState>,
    writer: Arc<Writer>,
    readers: Arc<ReaderPool>,
    /// Its own, to checkpoint and to read what it merges.
    connection: Connection,
    watched: MergeWatch,
    /// Segments of its own merges that failed, and could not be given up then.
    left_behind: RefCell<Vec<i64>>,
}

impl Maintenance {
    /// Maintenance over a connection of its own.
    pub fn new(
        shared: Arc<StoreState>,
        writer: Arc<Writer>,
        readers: Arc<ReaderPool>,
        connection: Connection,
    ) -> Self {
        let (watched, left_behind) = (MergeWatch::default(), RefCell::default());
        Maintenance { shared, writer, readers, connection, watched, left_behind }
    }

    /// Runs until the store closes.
    pub fn run(mut self) {
        loop {
            let waking = self.shared.maintenance_signal.sleep();
            self.readers.close_idle();
            if self.shared.commits.durability.failure().is_some() {
                // The log may have a hole on the disk that no further sync tells of: nothing of it
                // goes into the database before the store is opened again.
                match waking {
                    WakeReason::Ended => return,
                    WakeReason::Due | WakeReason::Idle => continue,
                }
            }
            // A chore that fails meets its cause again, or the appends do and report it.
            match waking {
                WakeReason::Ended => {
                    let _ = self.write_segments(1);
                    return;
                }
                WakeReason::Due => {
                    let _ = self.write_segments(SEGMENT_EVENTS);
                    let _ = self.checkpoint(false);
                    let _ = self.tidy(false);
                }
                WakeReason::Idle => {
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
        end_left_over(&self.writer.lock().open()?.connection)
    }

    fn write_segments(&self, at_least: i64) -> Result<()> {
        while write_segment(&self.shared, &self.writer, at_least)? {}
        Ok(())
    }
}

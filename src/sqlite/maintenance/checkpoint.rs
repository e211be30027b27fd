//! Checkpoints.

use std::time::Duration;

use crate::error::{Result, Status};
use crate::failpoints::crash_point;
use crate::sqlite::connection::error::from_sqlite;
use crate::sqlite::connection::transaction::end_left_over;
use crate::sqlite::maintenance::Maintenance;
use crate::sqlite::state::{CHECKPOINT_PAGES, MAX_WAL_PAGES};

/// How often a restart of the WAL is tried. Meanwhile the writers of this process wait.
const RESTART_TRIES: u32 = 20;
/// The time between two tries. Writers of other processes pause for longer between two turns, so at
/// least one try falls into a pause.
const RESTART_POLL: Duration = Duration::from_micros(500);

impl Maintenance {
    /// Brings the log into the database if it has grown enough, or at all while nothing else is to
    /// be done. When it is all in, the next writer begins the log anew, so it stays small.
    pub fn checkpoint(&self, is_idle: bool) -> Result<()> {
        // Where the log is at its limit nothing is written, so the count does not rise.
        let is_held = self.shared.checkpoints.is_log_held();
        let pages = self.shared.checkpoints.pages_written();
        let is_due = if is_idle { pages > 0 } else { self.shared.checkpoints.is_due(pages) };
        if !is_due && !is_held {
            return Ok(());
        }
        self.shared.checkpoints.begin();
        // Most of it without holding anybody up,
        let (mut log, done) = self.checkpoint_passively()?;
        let mut is_reset = false;
        if !is_idle || done < log || log >= MAX_WAL_PAGES {
            crash_point("in a checkpoint");
            // and what was added meanwhile while nobody writes, nor reads from the log.
            let mut guard = self.writer.lock();
            guard.open()?;
            let _gate = self.shared.checkpoints.close_gate();
            if log < 2 * CHECKPOINT_PAGES as i64 {
                (log, _) = self.checkpoint_passively()?;
            } else {
                (log, is_reset) = self.restart_log()?;
            }
        }
        self.shared.checkpoints.end(log, is_reset);
        Ok(())
    }

    /// Pages in the log, and how many of them are in the database by now.
    fn checkpoint_passively(&self) -> Result<(i64, i64)> {
        let (_, log, done) = self.run_checkpoint("PRAGMA wal_checkpoint(PASSIVE)")?;
        Ok((log, done))
    }

    /// As [`Self::checkpoint_passively`], and with SQLite's write lock: while other processes write
    /// without a pause, there is always something new in the log by the time that the rest of it is
    /// in the database, and it would grow for as long as they do. Returns the pages in the log, and
    /// whether the next commit resets it.
    fn restart_log(&self) -> Result<(i64, bool)> {
        let mut tries = RESTART_TRIES;
        loop {
            let (is_busy, log, _) = self.run_checkpoint("PRAGMA wal_checkpoint(RESTART)")?;
            tries -= 1;
            if !is_busy || tries == 0 {
                return Ok((log, !is_busy));
            }
            std::thread::sleep(RESTART_POLL);
        }
    }

    /// Runs a checkpoint; where the disk is full, once more with the room that the log had ahead.
    fn run_checkpoint(&self, pragma: &str) -> Result<(bool, i64, i64)> {
        match self.try_checkpoint(pragma) {
            Err(error) if error.status == Status::Full => {
                if self.shared.checkpoints.give_back_room(&self.connection)? {
                    self.try_checkpoint(pragma)
                } else {
                    Err(error)
                }
            }
            other => other,
        }
    }

    fn try_checkpoint(&self, pragma: &str) -> Result<(bool, i64, i64)> {
        self.shared.commits.durability.check()?;
        end_left_over(&self.connection)?;
        self.connection
            .query_row(pragma, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .map_err(|error| {
                let error = from_sqlite(error);
                if error.detail == rusqlite::ffi::SQLITE_IOERR_FSYNC {
                    // SQLite counts pages as brought in that an earlier, partial checkpoint wrote
                    // without a sync. The sync that failed now may have been theirs, and the next
                    // one would be believed. Opening the file again brings all of the log in anew.
                    self.shared.commits.durability.fail(&error);
                }
                error
            })
    }
}

//! The settings of a borrowed connection: what the library changes, and restores before it returns
//! the connection.

use rusqlite::ffi;

use crate::commit::deadline::CallOptions;
use crate::error::{Error, Result, Status};
use crate::sql::SqlConnection;
use crate::sqlite::host::connection::{HostConnection, RESTORING, retry_locked};
use crate::sqlite::host::of_host;

impl HostConnection<'_> {
    /// Has the connection show what is committed only: one that shares its pages with others could
    /// show what they may yet undo.
    pub fn see_committed(&self) -> Result<()> {
        if self.setting("PRAGMA read_uncommitted")? != 0 {
            let back = "PRAGMA read_uncommitted = 1".to_owned();
            self.change("PRAGMA read_uncommitted = 0", back)?;
        }
        Ok(())
    }

    /// Has the connection not wait for locks by itself, so that whoever waits does so as long as
    /// its call allows; and sync where it would not at all, since the log would not be brought into
    /// the database safely.
    ///
    /// Where the caller syncs the log itself, once for a whole group, a commit need not: a log that
    /// is synced by nobody but the checkpoints is what `NORMAL` says.
    pub fn settle(&self, syncs_log: bool) -> Result<()> {
        // First, since it waits for nothing: the other setting may meet a lock.
        let timeout = self.setting("PRAGMA busy_timeout")?;
        if timeout != 0 {
            self.change("PRAGMA busy_timeout = 0", format!("PRAGMA busy_timeout = {timeout}"))?;
        }
        let deadline = self.deadline.borrow().clone();
        let found = retry_locked(&deadline, || self.setting("PRAGMA main.synchronous"))?;
        let back = format!("PRAGMA main.synchronous = {found}");
        match (found, syncs_log) {
            (1, true) | (1.., false) => Ok(()),
            (_, true) => self.change_synchronous("PRAGMA main.synchronous = 1", back),
            (_, false) => self.change_synchronous("PRAGMA main.synchronous = 3", back),
        }
    }

    /// Changes a setting that cannot be changed in a transaction.
    fn change_synchronous(&self, sql: &str, back: String) -> Result<()> {
        let changed = self.change(sql, back);
        let is_refused =
            changed.as_ref().is_err_and(|error| error.detail & 0xff == ffi::SQLITE_ERROR);
        if is_refused && self.expect_transaction().is_ok() {
            self.is_dirty.set(true);
            self.lent.borrow_mut().spoil();
        }
        changed
    }

    /// Restores what was changed; the host closes a connection for which that fails.
    pub(super) fn restore(&self) {
        let deadline = CallOptions::default().start(Some(RESTORING));
        for sql in self.restoring.take().iter().rev() {
            let restored = retry_locked(&deadline, || {
                self.lent.borrow_mut().run(sql, &[]).map_err(|failure| of_host(&failure))
            });
            if restored.is_err() {
                self.lent.borrow_mut().spoil();
            }
        }
    }

    fn setting(&self, sql: &str) -> Result<i64> {
        let found = (self as &dyn SqlConnection).query_row(sql, &[], |row| Ok(row.integer(0)))?;
        found
            .flatten()
            .ok_or_else(|| Error::new(Status::Internal, "the database does not tell its settings"))
    }

    fn change(&self, sql: &str, back: String) -> Result<()> {
        debug_assert!(!self.is_callers, "nothing is changed in a transaction of the caller's");
        // First, so that a change of which nobody knows whether it happened is undone too.
        self.restoring.borrow_mut().push(back);
        self.run(sql, &[]).map(drop)
    }
}

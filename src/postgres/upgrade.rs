//! Upgrades: the functions of a store that an earlier version of the library created are replaced by
//! those of this version, while programs of both use the store.

use std::time::Duration;

use crate::commit::deadline::Deadline;
use crate::error::{Error, Result, Status};
use crate::postgres::append::to_ms;
use crate::postgres::connection::Connection;
use crate::postgres::failure::Failure;
use crate::postgres::statements::{REVISION, Statements};
use crate::postgres::store::PostgresStore;
use crate::postgres::values::Values;
use crate::postgres::wire::unexpected;

/// How long opening a store waits for those that append, before it leaves the store as it is.
const OPEN_PATIENCE: Duration = Duration::from_secs(1);
/// How long the upgrade itself may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// The SQLSTATE of an upgrade to an older revision than the store has.
const IS_NEWER: &str = "DCB04";

/// The revision of the functions of a schema, which is 1 if they do not tell, and whether the role is
/// their owner. The body of the function tells the number, so it need not be called.
const REVISION_OF: &str = "\
    SELECT coalesce(max(substring(p.prosrc FROM '^SELECT ([0-9]{1,6})$')::int) \
                    FILTER (WHERE p.proname = 'revision' AND p.pronargs = 0), 1), \
           coalesce(bool_or(p.proname = 'append' AND pg_catalog.pg_has_role(p.proowner, 'USAGE')), \
                    false) \
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    WHERE n.nspname = $1";

impl PostgresStore {
    /// Returns the revision of the store's functions.
    pub(super) fn revision(&self, deadline: &Deadline) -> Result<i32> {
        self.pool.read(&self.target, deadline, |connection, deadline| {
            Ok(revision_of(connection, &self.target.sql.schema, deadline)?.0)
        })
    }

    /// Brings the store's functions to the newest revision, unless they have it.
    pub(super) fn upgrade_within(&self, deadline: &Deadline) -> Result<()> {
        self.expect_writable()?;
        let mut connection = self.target.connect_to_write(deadline)?;
        let (revision, _) = revision_of(&mut connection, &self.target.sql.schema, deadline)?;
        if revision >= REVISION {
            return Ok(());
        }
        let patience = deadline.left().unwrap_or(Duration::ZERO);
        upgrade(&mut connection, &self.target.sql, patience, deadline).map_err(|failure| {
            let what = match failure.code() {
                Some("55P03") => (Status::Busy, "appends did not end in time: upgrade it again"),
                Some("42501") => (
                    Status::ReadOnly,
                    "only the owner of the store can upgrade it, or run the SQL of the upgrade",
                ),
                _ => return failure.into(),
            };
            let error = Error::from(failure);
            Error {
                status: what.0,
                message: format!("{} ({})", what.1, error.message).into(),
                ..error
            }
        })
    }
}

/// Upgrades a store that is being opened, if the role is its owner. One that cannot be upgraded now does
/// as well.
pub fn upgrade_by_the_way(
    connection: &mut Connection,
    sql: &Statements,
    deadline: &Deadline,
) -> std::result::Result<(), Failure> {
    let (revision, is_owner) = revision_of(connection, &sql.schema, deadline)?;
    if revision >= REVISION || !is_owner {
        return Ok(());
    }
    match upgrade(connection, sql, OPEN_PATIENCE, deadline) {
        Err(Failure::Refused(refusal)) if !refusal.is_fatal => Ok(()),
        done => done,
    }
}

/// Runs the text of the upgrade. It waits for those that append for so long, or without end if that is 0.
fn upgrade(
    connection: &mut Connection,
    sql: &Statements,
    patience: Duration,
    deadline: &Deadline,
) -> std::result::Result<(), Failure> {
    let text = format!("SET LOCAL lock_timeout = {};\n{}", to_ms(patience), sql.upgrade());
    let answer = deadline.at_least(patience + ANSWER_PATIENCE);
    match connection.execute(&text, &answer) {
        Err(failure) if failure.code() == Some(IS_NEWER) => Ok(()),
        done => done,
    }
}

fn revision_of(
    connection: &mut Connection,
    schema: &str,
    deadline: &Deadline,
) -> std::result::Result<(i32, bool), Failure> {
    let mut values = Values::new();
    values.text(schema);
    let rows = connection.query(REVISION_OF, &values, deadline)?;
    let row = rows.first().ok_or_else(unexpected)?;
    let told = || -> Result<_> { Ok((row.int(0)?, row.boolean(1)?)) };
    told().map_err(Failure::Stopped)
}

//! The program's own triggers on the tables of the store, which run for appends on its connections.

use std::ops::ControlFlow;

use rusqlite::ffi;

use crate::error::{Error, Result, Status};
use crate::sql::SqlConnection;

/// Explains the error of a statement that a trigger of the program has refused, which is no damage.
/// The library cannot switch triggers off on a connection that is not its own.
pub fn explain(connection: &dyn SqlConnection, error: Error) -> Error {
    let is_raised = error.detail == ffi::SQLITE_CONSTRAINT_TRIGGER;
    let code = error.detail & 0xff;
    // What a trigger's own statements meet: a constraint or a missing table, not of the store's.
    let is_possible = [ffi::SQLITE_CONSTRAINT, ffi::SQLITE_ERROR].contains(&code)
        && error.status == Status::Corrupt
        && !error.message.contains("dcb_");
    if !is_raised && !is_possible {
        return error;
    }
    let of = describe(connection);
    if !is_raised && of == NO_TRIGGER {
        return error;
    }
    let reason = error.message.strip_prefix("the database answered: ").unwrap_or(&error.message);
    let message = format!("{of} refused the append: {reason}");
    Error { status: Status::InvalidArgument, message: message.into(), ..error }
}

const NO_TRIGGER: &str = "a trigger";

/// Returns the program's triggers on the store's tables, for a message.
pub fn describe(connection: &dyn SqlConnection) -> String {
    let sql = "SELECT name FROM \
               (SELECT * FROM sqlite_schema UNION ALL SELECT * FROM sqlite_temp_schema) \
               WHERE type = 'trigger' AND tbl_name LIKE 'dcb!_%' ESCAPE '!' \
               AND name NOT LIKE 'dcb!_%' ESCAPE '!' ORDER BY name";
    let mut names: Vec<String> = Vec::new();
    // An error leaves it at those that were found.
    let _ = connection.query(sql, &[], &mut |row| {
        let name: String = row.text(0).unwrap_or_default().chars().take(40).collect();
        names.push(name.escape_debug().to_string());
        Ok(if names.len() < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    });
    match &names[..] {
        [] => NO_TRIGGER.to_owned(),
        [name] => format!("the trigger {name}"),
        names => format!("one of the triggers {}", names.join(", ")),
    }
}

/// Returns whether the program has a trigger that may fail and keep what it has done so far.
pub fn may_keep_changes(connection: &dyn SqlConnection) -> Result<bool> {
    let sql = "SELECT 1 FROM \
               (SELECT * FROM sqlite_schema UNION ALL SELECT * FROM sqlite_temp_schema) \
               WHERE type = 'trigger' AND (sql LIKE '%FAIL%' OR sql LIKE '%IGNORE%')";
    Ok(connection.query_row(sql, &[], |_| Ok(()))?.is_some())
}

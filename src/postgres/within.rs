//! Appends in a transaction of the program's, which its own driver has open.
//!
//! The program's driver calls the same function of the server as the store does. So the rules are the
//! same, and the lock is held until the program commits.

use crate::commit::Appended;
use crate::commit::deadline::{CallOptions, Deadline};
use crate::domain::AppendRequest;
use crate::error::{Error, Result, Status};
use crate::postgres::append::{group_id, to_ms};
use crate::postgres::failure::{Failure, Refusal};
use crate::postgres::group::{Finding, PreparedAppend, judge, plan};
use crate::postgres::statements::{REWOUND, SESSION};
use crate::postgres::store::PostgresStore;
use crate::postgres::text_form::text_form;
use crate::postgres::values::Values;
use crate::postgres::wire::unexpected;
use crate::store::{ProgramTransaction, TransactionFailure};

impl PostgresStore {
    /// Appends in a transaction of the program's. Without a request it only takes the lock.
    pub fn append_within(
        &self,
        transaction: &mut dyn ProgramTransaction,
        request: Option<AppendRequest>,
        call: &CallOptions,
    ) -> Result<Appended> {
        let deadline = self.start(call, self.busy_timeout)?;
        self.expect_writable()?;
        let mut requests: Vec<PreparedAppend> = Vec::new();
        if let Some(request) = request {
            requests.push(self.prepare(request, &deadline)?);
        }
        let incarnation = self.incarnation(&deadline)?.to_owned();
        // 0 is no limit.
        let lock_ms = deadline.left().map_or(0, to_ms);
        let id = group_id();
        let (_, mut values) = plan(&mut requests, 1, lock_ms, |_| id);
        // The program's connection may lead to another server than those of the store.
        let mark = self.target.history.mark();
        mark.add_to(&mut values);
        let mut values = text_form(&values)?;
        values.push(incarnation);
        let rows = transaction
            .query(&self.target.sql.append_within, values)
            .map_err(|failure| explain(failure, &deadline))?
            .ok_or_else(|| is_another_database(None))?;
        if rows == SESSION {
            return Err(Error::invalid(
                "the session of the transaction must have client_encoding UTF8 and array_nulls on, so \
                 that events are stored as they are given",
            ));
        }
        if rows == REWOUND {
            return Err(mark.missing());
        }
        let (outcomes, head) = judge(&requests, rows.split(',').map(Finding::of_text))?;
        match outcomes.into_iter().next() {
            Some(outcome) => outcome.answer,
            None => Ok(Appended::new(head)),
        }
    }

    /// Returns what tells the store from others, in this database and elsewhere.
    fn incarnation(&self, deadline: &Deadline) -> Result<&str> {
        if self.incarnation.get().is_none() {
            let rows = self.pool.read(&self.target, deadline, |connection, deadline| {
                connection.query(&self.target.sql.incarnation, &Values::new(), deadline)
            })?;
            let text = rows.first().ok_or_else(unexpected)?.text(0)?;
            // Another thread has set the same.
            let _ = self.incarnation.set(text.to_owned());
        }
        Ok(self.incarnation.get().map_or("", String::as_str))
    }
}

fn is_another_database(detail: Option<i32>) -> Error {
    Error::invalid("the transaction is one of another database than the store's")
        .with_detail(detail.unwrap_or(0))
}

/// Returns the error of a statement that failed in the program's transaction. The server has then
/// ended the transaction, but for its rollback.
fn explain(failure: TransactionFailure, deadline: &Deadline) -> Error {
    if failure.sqlstate <= 0 {
        if let Err(cancelled) = deadline.check_cancel() {
            return cancelled;
        }
        let message =
            format!("the statement in the program's transaction failed: {}", failure.message);
        return Error::new(Status::Unavailable, message);
    }
    let refusal = Refusal::reported(failure.sqlstate, failure.message);
    let code = refusal.code.clone();
    let error = Error::from(Failure::Refused(refusal));
    let told = |status, what: &str| Error {
        status,
        message: format!("{what} ({})", error.message).into(),
        ..error.clone()
    };
    match code.as_str() {
        "55P03" => told(
            Status::Busy,
            "another append did not end in time: roll the transaction back, and run all of it again",
        ),
        "23505" | "40001" | "40P01" => told(
            Status::Busy,
            "another transaction was in the way: roll the transaction back, and run all of it again",
        ),
        "42501" => told(Status::ReadOnly, "the role of the transaction may not append"),
        "DCB02" => told(
            Status::InvalidArgument,
            "the transaction must be begun at the isolation level READ COMMITTED, so that a condition \
             sees every event that was stored before",
        ),
        "25P02" => told(
            Status::InvalidArgument,
            "an earlier statement of the transaction has failed: roll it back",
        ),
        // There is no such schema, function or table.
        "3F000" | "42883" | "42P01" => is_another_database(Some(failure.sqlstate)),
        _ => error,
    }
}

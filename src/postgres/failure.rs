//! Why an exchange with the server failed, and the error that a caller sees.

use std::fmt::Write;

use postgres_protocol::message::backend::ErrorFields;

use fallible_iterator::FallibleIterator;

use crate::error::{Error, Status};
use crate::postgres::host::Host;

/// Why an exchange with the server failed.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The server refused the statement, and nothing of it is stored.
    Refused(Refusal),
    /// The connection is gone. What was sent may have been done.
    Broken(String),
    /// The server has not answered in time. What was sent may still be done.
    Late,
    /// The server answers, but has not the role that is asked for.
    Unsuitable(String),
    /// The server could not prove whom it is.
    Untrusted(String),
    /// The call was cancelled, or the store closed, before the server answered.
    Stopped(Error),
}

/// An error that the server reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The SQLSTATE, five letters and digits.
    pub code: String,
    /// The server's message.
    pub message: String,
    /// The name of the constraint that was violated, if any.
    pub constraint: String,
    /// The name of the routine of the server that reports it, which is the same in every language.
    pub routine: String,
    /// Whether the server ends the connection.
    pub is_fatal: bool,
}

/// Where the server finds at a commit that its queue of notifications is full.
const NOTIFY: &str = "PreCommit_Notify";
/// The code of the error that a limit of the server was reached.
pub const LIMIT_REACHED: &str = "54000";

impl Refusal {
    /// Returns the refusal that an error message of the server reports.
    pub fn from_fields(mut fields: ErrorFields<'_>) -> Self {
        let mut refusal = Refusal::default();
        while let Ok(Some(field)) = fields.next() {
            let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => refusal.code = text,
                b'M' => refusal.message = text,
                b'n' => refusal.constraint = text,
                b'R' => refusal.routine = text,
                // The severity that is not translated.
                b'V' => refusal.is_fatal = text == "FATAL" || text == "PANIC",
                _ => {}
            }
        }
        refusal
    }

    /// Returns the refusal that another client of the server reports, with the SQLSTATE as the number
    /// that an error has it as.
    pub fn reported(detail: i32, message: String) -> Self {
        let digit = |power| char::from_digit(detail.unsigned_abs() / 36_u32.pow(power) % 36, 36);
        let code = (0..5).rev().filter_map(digit).map(|c| c.to_ascii_uppercase()).collect();
        Refusal { code, message, ..Refusal::default() }
    }

    /// Returns the status that the SQLSTATE stands for.
    fn status(&self) -> Status {
        let code = self.code.as_str();
        match code {
            // A lock was not had in time, or another transaction was in the way.
            "55P03" | "40001" | "40P01" | "55006" => Status::Busy,
            "57014" => Status::Timeout,
            "25006" => Status::ReadOnly,
            "53100" => Status::Full,
            LIMIT_REACHED if self.routine == NOTIFY => Status::Full,
            "53200" => Status::NoMemory,
            LIMIT_REACHED | "54001" | "54011" | "54023" => Status::TooLarge,
            "58030" => Status::Io,
            "42501" | "3D000" => Status::Unavailable,
            _ => match code.get(..2).unwrap_or_default() {
                "08" | "28" | "53" | "57" => Status::Unavailable,
                "XX" => Status::Corrupt,
                _ => Status::Internal,
            },
        }
    }

    /// Returns the SQLSTATE as a number.
    fn detail(&self) -> i32 {
        as_number(&self.code)
    }
}

/// Returns an SQLSTATE as a number: its five characters as digits of base 36.
pub fn as_number(code: &str) -> i32 {
    i32::from_str_radix(code, 36).unwrap_or(0)
}

impl Failure {
    /// Returns whether the connection can be used again.
    pub fn keeps_connection(&self) -> bool {
        matches!(self, Failure::Refused(refusal) if !refusal.is_fatal)
    }

    /// Returns the SQLSTATE of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Failure::Refused(refusal) => Some(&refusal.code),
            _ => None,
        }
    }

    /// Returns the failure with the host that it happened on.
    pub fn at(self, host: &Host) -> Self {
        match self {
            Failure::Broken(what) => Failure::Broken(format!("{host}: {what}")),
            Failure::Untrusted(what) => Failure::Untrusted(format!("{host}: {what}")),
            Failure::Refused(refusal) => {
                let message = format!("{host}: {}", refusal.message);
                Failure::Refused(Refusal { message, ..refusal })
            }
            other => other,
        }
    }

    /// Returns whether another connection may succeed where this one failed: the server stopped,
    /// restarts, or no longer takes writes.
    pub fn calls_for_another_connection(&self) -> bool {
        match self {
            Failure::Broken(_) | Failure::Unsuitable(_) => true,
            Failure::Refused(refusal) => {
                refusal.is_fatal
                    || refusal.code == "25006"
                    || refusal.code.starts_with("08")
                    || refusal.code.starts_with("57P")
            }
            Failure::Late | Failure::Untrusted(_) | Failure::Stopped(_) => false,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Refused(refusal) => {
                let mut message = String::from("the PostgreSQL server reports: ");
                message.push_str(&refusal.message);
                let _ = write!(message, " (SQLSTATE {})", refusal.code);
                if refusal.routine == NOTIFY {
                    message.push_str(
                        ": end the session that listens (LISTEN) and has a transaction open, the \
                         oldest by xact_start in pg_stat_activity",
                    );
                }
                Error::new(refusal.status(), message).with_detail(refusal.detail())
            }
            Failure::Broken(what) => Error::new(
                Status::Unavailable,
                format!("the connection to the PostgreSQL server failed: {what}"),
            ),
            Failure::Late => {
                Error::new(Status::Timeout, "the PostgreSQL server did not answer in time")
            }
            Failure::Unsuitable(what) | Failure::Untrusted(what) => {
                Error::new(Status::Unavailable, what)
            }
            Failure::Stopped(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str) -> Error {
        Failure::Refused(Refusal { code: code.to_owned(), ..Refusal::default() }).into()
    }

    #[test]
    fn a_sqlstate_decides_the_status_and_is_in_the_detail() {
        for (code, status) in [
            ("55P03", Status::Busy),
            ("40001", Status::Busy),
            ("57014", Status::Timeout),
            ("25006", Status::ReadOnly),
            ("53100", Status::Full),
            ("53300", Status::Unavailable),
            ("57P01", Status::Unavailable),
            ("08006", Status::Unavailable),
            ("28P01", Status::Unavailable),
            ("3D000", Status::Unavailable),
            ("42501", Status::Unavailable),
            ("XX001", Status::Corrupt),
            ("42P01", Status::Internal),
            ("", Status::Internal),
        ] {
            assert_eq!(error(code).status, status, "{code}");
        }
        let refusal = |routine: &str| Refusal {
            code: LIMIT_REACHED.to_owned(),
            routine: routine.to_owned(),
            ..Refusal::default()
        };
        let queue = Error::from(Failure::Refused(refusal("PreCommit_Notify")));
        assert_eq!(queue.status, Status::Full);
        assert!(queue.message.contains("end the session that listens"), "{queue}");
        let other = Error::from(Failure::Refused(refusal("_bt_check_third_page")));
        assert_eq!(other.status, Status::TooLarge);
        assert_eq!(error("42P01").detail, 6_844_177);
        assert_eq!(i64::from(error("ZZZZZ").detail), 36_i64.pow(5) - 1);
        assert_eq!(error("a longer text").detail, 0);
        for code in ["42P01", "00000", "ZZZZZ", "DCB02", "01ABC"] {
            assert_eq!(Refusal::reported(error(code).detail, String::new()).code, code);
        }
    }

    #[test]
    fn only_a_refusal_that_is_not_fatal_keeps_the_connection() {
        let refused = |code: &str, is_fatal| {
            let code = code.to_owned();
            Failure::Refused(Refusal { code, is_fatal, ..Refusal::default() })
        };
        assert!(refused("23505", false).keeps_connection());
        assert!(!refused("57P01", true).keeps_connection());
        assert!(refused("57P01", true).calls_for_another_connection());
        assert!(refused("25006", false).calls_for_another_connection());
        assert!(!refused("23505", false).calls_for_another_connection());
        assert!(!Failure::Late.keeps_connection());
        assert!(Failure::Broken(String::new()).calls_for_another_connection());
    }
}

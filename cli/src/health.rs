//! What is off with a store, by its diagnosis, and what to do about it.

use dcb::{Diagnosis, POSTGRES_REVISION, PostgresDiagnosis, SqliteDiagnosis};
use serde::Serialize;

/// How many events the index may be behind: it is written every 16,384 events.
const FAR_BEHIND: i64 = 4 * 16_384;
/// How long a log is when checkpoints do not get on: the library keeps it far below.
const LONG_LOG: u64 = 256 << 20;
/// How far a standby may be behind: much longer than it takes a healthy one.
const LONG_LAG_MS: i64 = 10_000;

/// How bad something is.
#[derive(Serialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is off.
    Good,
    /// It costs time, or is to be known.
    Notice,
    /// It has to be mended.
    Problem,
}

/// Something to know about a store, and what to do about it.
#[derive(Serialize, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Whole sentences.
    pub text: String,
}

/// Returns what is off, which is nothing for most stores.
pub fn findings(diagnosis: &Diagnosis) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |level, text: String| findings.push(Finding { level, text });
    if let Some(sqlite) = &diagnosis.sqlite {
        of_sqlite(diagnosis.head - sqlite.indexed, sqlite, &mut find);
    }
    if let Some(postgres) = &diagnosis.postgres {
        of_postgres(postgres, &mut find);
    }
    findings
}

fn of_sqlite(behind: i64, sqlite: &SqliteDiagnosis, find: &mut dyn FnMut(Level, String)) {
    let path = sqlite.path.as_ref().map_or(String::new(), |path| path.display().to_string());
    if let Some(failure) = &sqlite.failure {
        find(
            Level::Problem,
            format!(
                "Nothing more becomes durable ({failure}): check the disk, end every program that has \
                 the store open, and start them again."
            ),
        );
    }
    if sqlite.log_held {
        find(
            Level::Problem,
            format!(
                "Another process holds the log, so it cannot be reset: find it with \
                 `fuser {path}-wal`, and end its transaction."
            ),
        );
    } else if sqlite.log_bytes.is_some_and(|bytes| bytes > LONG_LOG) {
        find(
            Level::Notice,
            format!(
                "The log beside the file is long: a process that reads for a long time keeps it from \
                 being reset. Find it with `fuser {path}-wal`."
            ),
        );
    }
    if sqlite.path.is_some() {
        match sqlite.locks {
            None => find(
                Level::Notice,
                "No lock guards the file, so nobody may write it while it is open here.".to_owned(),
            ),
            Some("process") => find(
                Level::Notice,
                "The locks on the file belong to a process as a whole, as this system has no others: \
                 a program must not open the file with a second copy of SQLite, which would drop them."
                    .to_owned(),
            ),
            Some(_) => {}
        }
    }
    if behind > FAR_BEHIND {
        find(
            Level::Notice,
            format!(
                "The index is {behind} events behind, so opening takes longer and queries read more: \
                 a program that has the store open to write catches up by itself."
            ),
        );
    }
}

fn of_postgres(postgres: &PostgresDiagnosis, find: &mut dyn FnMut(Level, String)) {
    if !postgres.fsync {
        find(
            Level::Problem,
            "The server runs with fsync = off, so a crash of its machine loses events: turn it on."
                .to_owned(),
        );
    }
    if postgres.revision < POSTGRES_REVISION.into() {
        find(
            Level::Notice,
            format!(
                "The functions of the store are of revision {}, and {POSTGRES_REVISION} is the newest: \
                 bring them up to date as their owner, with `dcb migrate`.",
                postgres.revision
            ),
        );
    }
    let Some(lag) = postgres.lag_ms.filter(|lag| *lag > LONG_LAG_MS) else { return };
    let seconds = lag / 1_000;
    find(
        Level::Notice,
        match postgres.standby {
            true => format!(
                "Reads are answered by a standby that has applied nothing for {seconds} s: unless \
                 nothing was written, it is that far behind its primary. Look at pg_stat_wal_receiver."
            ),
            false => format!(
                "A standby of this server is {seconds} s behind: a failover to it would take as long, \
                 and lose what it lacks unless replication is synchronous. Look at \
                 pg_stat_replication."
            ),
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use dcb::Position;

    fn of(sqlite: SqliteDiagnosis) -> Diagnosis {
        Diagnosis { head: Position::from(100_000), sqlite: Some(sqlite), postgres: None }
    }

    /// Checks that nothing but this is found.
    fn assert_found(diagnosis: &Diagnosis, level: Level, word: &str) {
        let findings = findings(diagnosis);
        assert!(
            findings.len() == 1 && findings[0].level == level && findings[0].text.contains(word),
            "{word}: {findings:?}"
        );
    }

    #[test]
    fn advice_is_given_where_a_file_is_off() {
        let good = SqliteDiagnosis {
            path: Some("/x/a.db".into()),
            read_only: true,
            format: 1,
            sqlite: "3.0.0".into(),
            bundled_sqlite: true,
            locks: Some("open-file-description"),
            other_sqlite: Some(false),
            durable: Some(Position::from(100_000)),
            indexed: Position::from(90_000),
            segments: 3,
            log_bytes: Some(4_096),
            log_held: false,
            failure: None,
        };
        assert_eq!(findings(&of(good.clone())), []);
        let in_memory = SqliteDiagnosis { path: None, locks: None, ..good.clone() };
        assert_eq!(findings(&of(in_memory)), []);
        for (off, level, word) in [
            (
                SqliteDiagnosis { failure: Some("EIO".into()), ..good.clone() },
                Level::Problem,
                "EIO",
            ),
            (
                SqliteDiagnosis { log_held: true, log_bytes: Some(1 << 40), ..good.clone() },
                Level::Problem,
                "fuser /x/a.db-wal",
            ),
            (
                SqliteDiagnosis { log_bytes: Some(1 << 30), ..good.clone() },
                Level::Notice,
                "The log",
            ),
            (SqliteDiagnosis { locks: None, ..good.clone() }, Level::Notice, "No lock"),
            (
                SqliteDiagnosis { locks: Some("process"), ..good.clone() },
                Level::Notice,
                "a process",
            ),
            (
                SqliteDiagnosis { indexed: Position::from(1), ..good.clone() },
                Level::Notice,
                "99999 events behind",
            ),
        ] {
            assert_found(&of(off), level, word);
        }
        assert_eq!(findings(&Diagnosis { sqlite: None, ..of(good) }), []);
    }

    #[test]
    fn advice_is_given_where_a_server_is_off() {
        let of = |postgres| Diagnosis {
            head: Position::from(1),
            sqlite: None,
            postgres: Some(postgres),
        };
        let good = PostgresDiagnosis {
            schema: "dcb".into(),
            read_only: true,
            format: 1,
            revision: POSTGRES_REVISION.into(),
            server: "15".into(),
            fsync: true,
            standby: false,
            lag_ms: Some(200),
            tables: Vec::new(),
        };
        assert_eq!(findings(&of(good.clone())), []);
        assert_eq!(findings(&of(PostgresDiagnosis { lag_ms: None, ..good.clone() })), []);
        let without_fsync = PostgresDiagnosis { fsync: false, ..good.clone() };
        assert_found(&of(without_fsync), Level::Problem, "fsync");
        let older = PostgresDiagnosis { revision: 1, ..good.clone() };
        assert_found(&of(older), Level::Notice, "dcb migrate");
        let primary = PostgresDiagnosis { lag_ms: Some(61_000), ..good };
        assert_found(&of(primary.clone()), Level::Notice, "pg_stat_replication");
        let standby = PostgresDiagnosis { standby: true, ..primary };
        assert_found(&of(standby), Level::Notice, "for 61 s");
    }
}

//! The store at a glance: its size, its health, its rate, its types and its busiest tags.

use dcb::{CallOptions, Diagnosis, Result};
use serde::Serialize;

use super::names::Counted;
use super::rate::{self, Rate};
use super::reading::Reader;
use super::sample::Sample;

/// How many types and tags are shown.
const SHOWN: usize = 20;
/// How many events may lack in the index of the file before that is worth a word.
const FAR_BEHIND: i64 = 200_000;
/// How long a write-ahead log is before that is worth a word.
const LONG_LOG: u64 = 256 << 20;

/// What the first page shows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    head: i64,
    first_us: Option<i64>,
    last_us: Option<i64>,
    rate: Option<Rate>,
    examined: i64,
    is_whole: bool,
    sample_bytes: usize,
    distinct_types: usize,
    types: Vec<Counted>,
    tags: Vec<Counted>,
    tag_keys: Vec<Counted>,
    store: About,
    health: Vec<Finding>,
}

/// Where the store is, and how large.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct About {
    path: Option<String>,
    file_bytes: Option<u64>,
    log_bytes: Option<u64>,
    format: Option<i64>,
    sqlite: Option<String>,
    locks: Option<&'static str>,
    indexed: Option<i64>,
    segments: Option<usize>,
    schema: Option<String>,
    server: Option<String>,
}

/// Something to know about the store.
#[derive(Serialize, Debug, PartialEq, Eq)]
struct Finding {
    level: Level,
    text: String,
}

#[derive(Serialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Level {
    Good,
    Notice,
    Problem,
}

impl Overview {
    /// Looks at the store. `window_us` limits the rate to that time before the newest event.
    pub fn of(reader: &Reader<'_>, sample: &Sample, window_us: Option<i64>) -> Result<Self> {
        let head = reader.head()?;
        let first_us = rate::time_at(reader, 1)?;
        let last_us = rate::time_at(reader, head)?;
        let rate = match (first_us, last_us) {
            (Some(first), Some(last)) => rate_within(reader, first, (head, last), window_us)?,
            _ => None,
        };
        let diagnosis = reader.store().diagnose(&CallOptions::default())?;
        Ok(Overview {
            head,
            first_us,
            last_us,
            rate,
            examined: sample.examined,
            is_whole: sample.is_whole(),
            sample_bytes: sample.bytes,
            distinct_types: sample.distinct_types(),
            types: sample.types(SHOWN),
            tags: sample.tags(SHOWN),
            tag_keys: sample.tag_keys(SHOWN),
            health: health(&diagnosis),
            store: about(diagnosis),
        })
    }
}

/// Returns the rate over all of the time, or over the last `window_us` of it.
fn rate_within(
    reader: &Reader<'_>,
    first_us: i64,
    (head, last_us): (i64, i64),
    window_us: Option<i64>,
) -> Result<Option<Rate>> {
    let start = window_us.map_or(first_us, |window| last_us.saturating_sub(window.max(1)));
    if start <= first_us {
        return Rate::between(reader, (0, first_us), (head, last_us));
    }
    match rate::last_before(reader, (0, head), start)? {
        Some(before) => Rate::between(reader, (before, start), (head, last_us)),
        None => Ok(None),
    }
}

fn about(diagnosis: Diagnosis) -> About {
    if let Some(postgres) = diagnosis.postgres {
        let bytes: i64 = postgres.tables.iter().map(|table| table.bytes).sum();
        return About {
            file_bytes: Some(bytes.unsigned_abs()),
            schema: Some(postgres.schema),
            server: Some(postgres.server),
            format: Some(postgres.format),
            ..About::default()
        };
    }
    let Some(sqlite) = diagnosis.sqlite else { return About::default() };
    let size = |path: &std::path::PathBuf| std::fs::metadata(path).ok().map(|about| about.len());
    About {
        file_bytes: sqlite.path.as_ref().and_then(size),
        path: sqlite.path.map(|path| path.to_string_lossy().into_owned()),
        log_bytes: sqlite.log_bytes,
        format: Some(sqlite.format),
        sqlite: Some(sqlite.sqlite),
        locks: sqlite.locks,
        indexed: Some(sqlite.indexed.get()),
        segments: Some(sqlite.segments),
        ..About::default()
    }
}

/// Returns what the diagnosis means for the person who runs the store.
fn health(diagnosis: &Diagnosis) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |level, text: String| findings.push(Finding { level, text });
    if let Some(sqlite) = &diagnosis.sqlite {
        if let Some(failure) = &sqlite.failure {
            find(
                Level::Problem,
                format!("Nothing more becomes durable: {failure}. Open the store again."),
            );
        }
        if sqlite.log_held {
            find(
                Level::Problem,
                "The write-ahead log is at its limit, because a reader in another process holds \
                 it. End that reader's transaction."
                    .into(),
            );
        } else if sqlite.log_bytes.is_some_and(|bytes| bytes > LONG_LOG) {
            find(
                Level::Notice,
                "The write-ahead log is long. It is reset once a process that writes can do so."
                    .into(),
            );
        }
        if sqlite.locks.is_none() && sqlite.path.is_some() {
            find(
                Level::Notice,
                "No lock guards the file, so nobody may write it while it is open here.".into(),
            );
        }
        let behind = diagnosis.head - sqlite.indexed;
        if behind > FAR_BEHIND {
            find(
                Level::Notice,
                format!(
                    "The index in the file is {behind} events behind, which makes opening the \
                     store slower. A process that appends catches up."
                ),
            );
        }
    }
    if findings.is_empty() {
        findings.push(Finding { level: Level::Good, text: "Nothing is wrong.".into() });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use dcb::{Position, SqliteDiagnosis};

    #[test]
    fn each_problem_is_told_with_what_to_do() {
        let good = SqliteDiagnosis {
            path: Some("/events.db".into()),
            read_only: true,
            format: 1,
            sqlite: "3".into(),
            bundled_sqlite: true,
            locks: Some("ofd"),
            other_sqlite: Some(false),
            durable: Some(Position::START),
            indexed: Position::from(1_000_000),
            segments: 3,
            log_bytes: Some(4_096),
            log_held: false,
            failure: None,
        };
        let levels = |sqlite: SqliteDiagnosis| -> Vec<Level> {
            let diagnosis =
                Diagnosis { head: Position::from(1_000_000), sqlite: Some(sqlite), postgres: None };
            health(&diagnosis).iter().map(|finding| finding.level).collect()
        };
        assert_eq!(levels(good.clone()), [Level::Good]);
        let failed = SqliteDiagnosis { failure: Some("disk".into()), ..good.clone() };
        assert_eq!(levels(failed), [Level::Problem]);
        let held = SqliteDiagnosis { log_held: true, log_bytes: Some(1 << 40), ..good.clone() };
        assert_eq!(levels(held), [Level::Problem]);
        let notices = SqliteDiagnosis {
            log_bytes: Some(1 << 40),
            locks: None,
            indexed: Position::START,
            ..good.clone()
        };
        assert_eq!(levels(notices), [Level::Notice; 3]);
        let memory = Diagnosis { head: Position::from(3), sqlite: None, postgres: None };
        assert_eq!(health(&memory)[0].level, Level::Good);
    }
}

//! The store at a glance: its size, its health, its rate, its types and its busiest tags.

use dcb::{CallOptions, Diagnosis, Result};
use serde::Serialize;

use super::names::Counted;
use super::rate::{self, Rate};
use super::reading::Reader;
use super::sample::Sample;
use crate::health::{self, Finding, Level};

/// How many types and tags are shown.
const SHOWN: usize = 20;
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
    let mut findings = health::findings(diagnosis);
    if findings.is_empty() {
        findings.push(Finding { level: Level::Good, text: "Nothing is wrong.".into() });
    }
    findings
}

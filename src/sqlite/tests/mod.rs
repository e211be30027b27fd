//! Tests of the SQLite store as a whole: its guarantees under concurrency, failures and damage.

mod ahead;
mod backup;
mod diagnose;
mod formats;
mod full_disk;
mod groups;
mod hosts;
mod index;
mod locks;
mod moved_files;
mod opening;
mod pages;
mod processes;
#[cfg(all(target_os = "linux", feature = "bundled-sqlite"))]
mod readers;
mod rights;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::domain::{
    AppendCondition, AppendRequest, Direction, Event, EventBuilder, EventType, EventView, Query,
    QueryItem, ReadRequest, ReadState, Tag,
};
use crate::ends::Ends;
use crate::position::at;
use crate::sql::{Row, SqlConnection, Value};
use crate::sqlite::{Location, SqliteStore};
use crate::store::options::Options;
use crate::store::{Appended, BatchLimits, Store};
use crate::{CallOptions, Error, Result, Timeout};

/// A store in its own temporary folder.
struct Fixture {
    folder: TempDir,
    store: Arc<SqliteStore>,
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = open(folder.path().join("events.db"));
        Fixture { folder, store }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }

    fn reopen(&mut self) {
        self.store.close();
        self.store = open(self.path());
    }
}

fn open(path: PathBuf) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(Location::File(path), &Options::default()).unwrap())
}

fn event(event_type: &str, tags: &[String]) -> Event {
    let mut builder = EventBuilder::new(EventType::new(event_type).unwrap());
    for tag in tags {
        builder.tag(Tag::new(tag).unwrap()).unwrap();
    }
    builder.build()
}

/// Returns a query item that matches events of any of `types` that have all of `tags`.
fn item(types: &[&str], tags: &[&str]) -> QueryItem {
    let mut item = QueryItem::new();
    types.iter().for_each(|text| item.or_type(EventType::new(text).unwrap()).unwrap());
    tags.iter().for_each(|text| item.and_tag(Tag::new(text).unwrap()).unwrap());
    item
}

fn query(types: &[&str], tags: &[&str]) -> Query {
    Query::of(vec![item(types, tags)]).unwrap()
}

/// Appends `events` on the condition that no event matches `condition`; returns the position of
/// the last event.
fn append(store: &SqliteStore, events: Vec<Event>, condition: Option<Query>) -> Result<i64> {
    let conditions = condition.map(|query| AppendCondition::new(query, at(0)));
    let request = AppendRequest::new(events, conditions.into_iter().collect())?;
    // No timeout, so that a slow machine cannot fail a test. Tests of timeouts set their own.
    let call = CallOptions { timeout: Timeout::Never, cancel: None };
    store.append(request, &call).map(|appended| appended.last.get())
}

/// Returns the positions of the events of `request`, read in batches of at most 7.
fn positions(store: &SqliteStore, request: ReadRequest) -> std::result::Result<Vec<i64>, Error> {
    let mut reading = ReadState::new(request);
    let mut positions = Vec::new();
    while !reading.has_begun() || reading.span().is_some() {
        let batch = BatchLimits { max_events: 7, max_bytes: usize::MAX };
        store.read(&mut reading, batch, &CallOptions::default(), &mut |view: &EventView<'_>| {
            positions.push(view.position.get());
            Ok(())
        })?;
    }
    Ok(positions)
}

fn all(store: &SqliteStore, query: Query) -> Vec<i64> {
    positions(store, ReadRequest::new(query, at(0), None, None, Direction::Forward)).unwrap()
}

/// Polls `done` until it returns true; returns false after some ten seconds, far longer than
/// `done` should take.
fn eventually(mut done: impl FnMut() -> bool) -> bool {
    (0..2_000).any(|_| {
        thread::sleep(Duration::from_millis(5));
        done()
    })
}

/// A connection on which every statement that begins with `sql` fails with `error`.
struct Failing<'a> {
    inner: &'a dyn SqlConnection,
    sql: &'static str,
    error: Error,
}

impl Failing<'_> {
    fn check(&self, sql: &str) -> Result<()> {
        if sql.starts_with(self.sql) { Err(self.error.clone()) } else { Ok(()) }
    }
}

impl SqlConnection for Failing<'_> {
    fn query(
        &self,
        sql: &str,
        values: &[Value<'_>],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        self.check(sql)?;
        self.inner.query(sql, values, visit)
    }

    fn query_each(
        &self,
        sql: &str,
        keys: &[i64],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        self.check(sql)?;
        self.inner.query_each(sql, keys, visit)
    }

    fn run(&self, sql: &str, values: &[Value<'_>]) -> Result<usize> {
        self.check(sql)?;
        self.inner.run(sql, values)
    }

    fn run_each(&self, sql: &str, width: usize, values: &[Value<'_>]) -> Result<()> {
        self.check(sql)?;
        self.inner.run_each(sql, width, values)
    }

    fn is_autocommit(&self) -> bool {
        self.inner.is_autocommit()
    }

    fn is_in_snapshot(&self) -> bool {
        self.inner.is_in_snapshot()
    }
}

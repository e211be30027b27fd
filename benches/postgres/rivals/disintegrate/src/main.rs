//! The driver of disintegrate-postgres: see drive.rs for what it reads and prints.
//!
//! The store is used as its documentation does: a PgEventStore on a PgPool, with its JSON. Callers
//! are tasks of a tokio runtime of many threads. The tags are the domain identifiers of its events.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use disintegrate::serde::json::Json;
use disintegrate::{
    Event, EventListener, EventStore, PersistedEvent, StreamItem, StreamQuery, query,
};
use disintegrate_postgres::{
    Error, PgEventId, PgEventListener, PgEventListenerConfig, PgEventStore,
};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use tokio::sync::mpsc;

const BATCH: u64 = 4096;
const POOL: u32 = 20;
/// How often its listener polls beside the notifications, as in its example.
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[stream(AnnouncedEvent, [Announced])]
enum DomainEvent {
    Registered {
        #[id]
        unique_id: String,
        #[id]
        group_id: String,
        data: String,
    },
    Changed {
        #[id]
        unique_id: String,
        #[id]
        group_id: String,
        #[id]
        entity_id: String,
        data: String,
    },
    Announced {
        #[id]
        unique_id: String,
        data: String,
    },
}

type Store = PgEventStore<DomainEvent, Json<DomainEvent>>;

fn entities(total: u64) -> u64 {
    (total / 10).max(1)
}

fn data() -> String {
    "y".repeat(248)
}

fn registered(number: u64) -> DomainEvent {
    let (unique_id, group_id) = (format!("unique:{number}"), format!("group:{}", number % 1000));
    DomainEvent::Registered { unique_id, group_id, data: data() }
}

fn changed(number: u64, entity: u64) -> DomainEvent {
    let (unique_id, group_id) = (format!("unique:{number}"), format!("group:{}", number % 1000));
    DomainEvent::Changed {
        unique_id,
        group_id,
        entity_id: format!("entity:{entity}"),
        data: data(),
    }
}

/// The function of the store's that PostgreSQL takes from version 16 on alone: its text has a number
/// in hexadecimal. This is the same with that number in decimal.
const BEGIN_EPOCH: &str = "
    CREATE OR REPLACE FUNCTION event_store_begin_epoch() RETURNS void AS $$
    DECLARE
        id BIGINT;
        db_id INT;
    BEGIN
        SELECT last_value INTO id FROM seq_event_event_id;
        SELECT oid INTO db_id FROM pg_database WHERE datname = current_database();
        PERFORM pg_try_advisory_xact_lock_shared(db_id, 0);
        PERFORM pg_try_advisory_xact_lock_shared(1, (id & 4294967295)::bit(32)::integer);
        PERFORM pg_try_advisory_xact_lock_shared(2, (id >> 32)::bit(32)::integer);
    END;
    $$ LANGUAGE plpgsql";

async fn open(uri: &str) -> Store {
    let pool = PgPoolOptions::new()
        .max_connections(POOL)
        .acquire_timeout(Duration::from_secs(120))
        .connect(uri)
        .await
        .expect("a connection");
    let version: String =
        sqlx::query_scalar("SHOW server_version_num").fetch_one(&pool).await.expect("a version");
    let opened = Store::try_new(pool.clone(), Json::default()).await;
    if version.parse::<u32>().expect("a version") >= 160_000 {
        return opened.expect("the tables");
    }
    // The store has made everything up to that function. What it makes after it is this.
    let run = |sql: String| {
        let pool = pool.clone();
        async move { sqlx::query(&sql).execute(&pool).await.expect("the tables") }
    };
    run(BEGIN_EPOCH.to_owned()).await;
    for id in DomainEvent::SCHEMA.domain_ids {
        let column = &id.ident;
        run(format!("ALTER TABLE event ADD COLUMN IF NOT EXISTS {column} TEXT")).await;
        run(format!(
            "CREATE INDEX IF NOT EXISTS idx_event_{column} ON event ({column}) \
             WHERE {column} IS NOT NULL"
        ))
        .await;
    }
    Store::new_uninitialized(pool, Json::default())
}

/// Whether an append may be tried again. Postgres may refuse it before its commit as well, which
/// the store reports as an error of the database.
fn is_conflict(error: &Error) -> bool {
    match error {
        Error::Concurrency => true,
        Error::Database(sqlx::Error::Database(error)) => error.code().as_deref() == Some("40001"),
        _ => false,
    }
}

/// Appends events if none of the query is above a position. Returns whether that was so.
async fn append_if(
    store: &Store,
    events: Vec<DomainEvent>,
    query: StreamQuery<PgEventId, DomainEvent>,
    after: PgEventId,
) -> bool {
    match store.append(events, query, after).await {
        Ok(_) => true,
        Err(error) if is_conflict(&error) => false,
        Err(error) => panic!("an append: {error}"),
    }
}

/// Returns how many events a query selects, and the position up to which they are complete.
async fn read_all(store: &Store, query: &StreamQuery<PgEventId, DomainEvent>) -> (u64, PgEventId) {
    let mut stream = store.stream(query);
    let (mut count, mut last) = (0, 0);
    while let Some(item) = stream.next().await {
        let item = item.expect("a read");
        last = item.id();
        count += u64::from(matches!(item, StreamItem::Event(_)));
    }
    (count, last)
}

/// Numbers that are random enough to pick entities by.
fn pick(state: &mut u64, end: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
}

/// Lets callers repeat an operation until the time is over. It is given a number of its own.
async fn run<F, O>(callers: u64, seconds: f64, operation: F) -> String
where
    F: Fn(u64) -> O + Clone + Send + Sync + 'static,
    O: Future<Output = u64> + Send,
{
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(seconds);
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let operation = operation.clone();
            tokio::spawn(async move {
                let (mut units, mut latencies) = (0, Vec::new());
                let mut state = (caller + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                while latencies.is_empty() || Instant::now() < end {
                    let before = Instant::now();
                    units += operation(pick(&mut state, u64::MAX)).await;
                    latencies.push(before.elapsed());
                }
                (units, latencies)
            })
        })
        .collect();
    let (mut units, mut latencies) = (0, Vec::new());
    for caller in callers {
        let (own, mut times) = caller.await.expect("a caller");
        units += own;
        latencies.append(&mut times);
    }
    sample(units, start.elapsed(), latencies)
}

fn sample(units: u64, time: Duration, mut latencies: Vec<Duration>) -> String {
    latencies.sort_unstable();
    let at = |part: f64| latencies[(latencies.len() as f64 * part) as usize].as_secs_f64() * 1e6;
    format!("ok {} {} {}", units as f64 / time.as_secs_f64(), at(0.5), at(0.99))
}

async fn fill(store: &Store, from: u64, to: u64, total: u64) -> String {
    let (start, mut latencies, mut next) = (Instant::now(), Vec::new(), from);
    while next < to {
        let end = (next + BATCH).min(to);
        let events = (next..end).map(|number| changed(number, number % entities(total))).collect();
        let before = Instant::now();
        store.append_without_validation(events).await.expect("an append");
        latencies.push(before.elapsed());
        next = end;
    }
    sample(to - from, start.elapsed(), latencies)
}

async fn append(store: &Store, callers: u64, count: u64, seconds: f64, first: u64) -> String {
    let next = Arc::new(AtomicU64::new(first));
    let store = store.clone();
    let operation = move |_| {
        let (store, next) = (store.clone(), Arc::clone(&next));
        async move {
            let number = next.fetch_add(count, Ordering::Relaxed);
            let events: Vec<_> = (number..number + count).map(registered).collect();
            let unique = format!("unique:{number}");
            let query = || query!(DomainEvent; unique_id == unique);
            while !append_if(&store, events.clone(), query(), 0).await {}
            count
        }
    };
    run(callers, seconds / 5.0, operation.clone()).await;
    run(callers, seconds, operation).await
}

async fn read(store: &Store, callers: u64, seconds: f64, total: u64) -> String {
    let store = store.clone();
    run(callers, seconds, move |number| {
        let store = store.clone();
        async move {
            let entity = format!("entity:{}", number % entities(total));
            let (count, _) = read_all(&store, &query!(DomainEvent; entity_id == entity)).await;
            assert!(count >= 10, "all events of an entity");
            1
        }
    })
    .await
}

async fn scan(store: &Store, total: u64) -> String {
    let start = Instant::now();
    let (count, _) = read_all(store, &query!(DomainEvent)).await;
    assert!(count >= total, "all events");
    let time = start.elapsed();
    sample(count, time, vec![time])
}

async fn decide(store: &Store, callers: u64, seconds: f64, total: u64, first: u64) -> String {
    let next = Arc::new(AtomicU64::new(first));
    let store = store.clone();
    run(callers, seconds, move |number| {
        let (store, next) = (store.clone(), Arc::clone(&next));
        async move {
            let entity = number % entities(total);
            let tag = format!("entity:{entity}");
            let query = || query!(DomainEvent; entity_id == tag);
            loop {
                let (_, after) = read_all(&store, &query()).await;
                let event = changed(next.fetch_add(1, Ordering::Relaxed), entity);
                if append_if(&store, vec![event], query(), after).await {
                    return 1;
                }
            }
        }
    })
    .await
}

struct Subscriber {
    query: StreamQuery<PgEventId, AnnouncedEvent>,
    received: mpsc::UnboundedSender<String>,
}

#[async_trait]
impl EventListener<PgEventId, AnnouncedEvent> for Subscriber {
    type Error = std::convert::Infallible;

    fn id(&self) -> &'static str {
        "subscriber"
    }

    fn query(&self) -> &StreamQuery<PgEventId, AnnouncedEvent> {
        &self.query
    }

    async fn handle(
        &self,
        event: PersistedEvent<PgEventId, AnnouncedEvent>,
    ) -> Result<(), Self::Error> {
        let AnnouncedEvent::Announced { unique_id, .. } = event.into_inner();
        let _ = self.received.send(unique_id);
        Ok(())
    }
}

async fn notify(store: &Store, uri: &str, seconds: f64, first: u64) -> String {
    let (received, mut events) = mpsc::unbounded_channel();
    let subscriber = Subscriber { query: query!(AnnouncedEvent), received };
    let listener = PgEventListener::builder(open(uri).await)
        .register_listener(subscriber, PgEventListenerConfig::poller(POLL).with_notifier());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(listener.start_with_shutdown(async {
        let _ = stopped.await;
    }));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (start, mut latencies, mut number) = (Instant::now(), Vec::new(), first);
    while latencies.is_empty() || start.elapsed().as_secs_f64() < seconds {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let unique_id = format!("unique:{number}");
        let event = DomainEvent::Announced { unique_id: unique_id.clone(), data: data() };
        let before = Instant::now();
        store.append_without_validation(vec![event]).await.expect("an append");
        while events.recv().await.expect("an event") != unique_id {}
        latencies.push(before.elapsed());
        number += 1;
    }
    let time = start.elapsed();
    let _ = stop.send(());
    let _ = running.await;
    sample(latencies.len() as u64, time, latencies)
}

#[tokio::main]
async fn main() {
    let uri = std::env::args().nth(1).expect("a URI");
    let store = open(&uri).await;
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.expect("a line");
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| words[index].parse::<u64>().expect("a number");
        let seconds = |index: usize| words[index].parse::<f64>().expect("a number of seconds");
        let answer = match words[0] {
            "fill" => fill(&store, number(1), number(2), number(3)).await,
            "append" => append(&store, number(1), number(2), seconds(3), number(4)).await,
            "read" => read(&store, number(1), seconds(2), number(3)).await,
            "scan" => scan(&store, number(1)).await,
            "decide" => decide(&store, number(1), seconds(2), number(3), number(4)).await,
            "notify" => notify(&store, &uri, seconds(1), number(2)).await,
            other => panic!("{other}: there is no such workload"),
        };
        println!("{answer}");
    }
}

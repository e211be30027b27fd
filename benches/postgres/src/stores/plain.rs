//! The store that one writes on PostgreSQL in an afternoon, and writes well: one transaction an
//! append, by a function in the database, an advisory lock, `max(position) + 1`, a table of tags,
//! prepared statements, and a pool of connections.

use std::sync::{Condvar, Mutex};

use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, NoTls, Row, Statement};

use super::{Condition, Subject};
use crate::load::Event;

/// The most connections that are open. More make the appends slower, not faster.
const POOL: usize = 20;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (
        position bigint PRIMARY KEY, type text NOT NULL, tags text[] NOT NULL, data text NOT NULL);
    CREATE TABLE IF NOT EXISTS tags (
        tag text NOT NULL, position bigint NOT NULL, PRIMARY KEY (tag, position));
    CREATE OR REPLACE FUNCTION append(
        p_types text[], p_tags text[], p_data text[], p_tag text, p_after bigint)
    RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE
        v_head bigint;
    BEGIN
        PERFORM pg_advisory_xact_lock(1);
        IF p_tag IS NOT NULL
            AND EXISTS (SELECT FROM tags WHERE tag = p_tag AND position > p_after) THEN
            RETURN NULL;
        END IF;
        SELECT coalesce(max(position), 0) INTO v_head FROM events;
        INSERT INTO events
            SELECT v_head + e.place, e.type, e.tags::text[], e.data
            FROM unnest(p_types, p_tags, p_data) WITH ORDINALITY e (type, tags, data, place);
        INSERT INTO tags
            SELECT tag, v_head + e.place
            FROM unnest(p_tags) WITH ORDINALITY e (tags, place), unnest(e.tags::text[]) tag;
        v_head := v_head + cardinality(p_types);
        PERFORM pg_notify('events', v_head::text);
        RETURN v_head;
    END
    $$;
";
const APPEND: &str = "SELECT append($1, $2, $3, $4, $5)";
const READ_TAG: &str = "
    SELECT e.position, e.type, e.tags, e.data FROM tags t JOIN events e ON e.position = t.position
    WHERE t.tag = $1 AND t.position > $2 ORDER BY t.position";
/// A page of a scan, as a program reads that does not want everything in memory.
const READ_ALL: &str = "
    SELECT position, type, tags, data FROM events WHERE position > $1 ORDER BY position LIMIT 4096";

struct Session {
    client: Client,
    append: Statement,
    read_tag: Statement,
    read_all: Statement,
}

impl Session {
    fn open(uri: &str) -> Self {
        let mut client = Client::connect(uri, NoTls).expect("a connection");
        let mut prepare = |sql| client.prepare(sql).expect("a statement");
        let (append, read_tag, read_all) = (prepare(APPEND), prepare(READ_TAG), prepare(READ_ALL));
        Session { client, append, read_tag, read_all }
    }
}

#[derive(Default)]
struct Pool {
    idle: Vec<Session>,
    open: usize,
}

pub struct Plain {
    uri: String,
    pool: Mutex<Pool>,
    returned: Condvar,
    listener: Mutex<Client>,
}

impl Plain {
    pub fn open(uri: &str) -> Self {
        let mut listener = Client::connect(uri, NoTls).expect("a connection");
        listener.batch_execute(SCHEMA).expect("tables");
        listener.batch_execute("LISTEN events").expect("notifications");
        Plain {
            uri: uri.to_owned(),
            pool: Mutex::default(),
            returned: Condvar::new(),
            listener: Mutex::new(listener),
        }
    }

    fn with<T>(&self, run: impl FnOnce(&mut Session) -> T) -> T {
        let mut pool = self.pool.lock().expect("the pool");
        while pool.idle.is_empty() && pool.open == POOL {
            pool = self.returned.wait(pool).expect("the pool");
        }
        let idle = pool.idle.pop();
        pool.open += usize::from(idle.is_none());
        drop(pool);
        let mut session = idle.unwrap_or_else(|| Session::open(&self.uri));
        let result = run(&mut session);
        self.pool.lock().expect("the pool").idle.push(session);
        self.returned.notify_one();
        result
    }
}

/// Looks at rows as a program does that decodes them. Returns how many there are and the last
/// position.
fn look_at(rows: &[Row]) -> (u64, Option<u64>) {
    let mut last = None;
    for row in rows {
        last = Some(row.get::<_, i64>(0).cast_unsigned());
        let (event_type, tags): (&str, Vec<&str>) = (row.get(1), row.get(2));
        std::hint::black_box((event_type, tags, row.get::<_, &str>(3)));
    }
    (rows.len() as u64, last)
}

impl Subject for Plain {
    fn append(&self, events: &[Event], condition: Condition<'_>) -> bool {
        let types: Vec<&str> = events.iter().map(|event| event.event_type).collect();
        // No tag of the load needs quotes in an array.
        let tags: Vec<String> =
            events.iter().map(|event| format!("{{{}}}", event.tags.join(","))).collect();
        let data: Vec<&str> = events.iter().map(|event| event.data).collect();
        let (tag, after) = condition.unzip();
        let after = after.map(u64::cast_signed);
        self.with(|session| {
            let row = session
                .client
                .query_one(&session.append, &[&types, &tags, &data, &tag, &after])
                .expect("an append");
            row.get::<_, Option<i64>>(0).is_some()
        })
    }

    fn read(&self, tag: Option<&str>, after: u64) -> (u64, u64) {
        let (mut events, mut position) = (0, after);
        self.with(|session| {
            let Session { client, read_tag, read_all, .. } = session;
            if let Some(tag) = tag {
                let rows = client.query(&*read_tag, &[&tag, &after.cast_signed()]).expect("a read");
                let (count, last) = look_at(&rows);
                return (count, last.unwrap_or(after));
            }
            loop {
                let rows = client.query(&*read_all, &[&position.cast_signed()]).expect("a read");
                let (count, last) = look_at(&rows);
                let Some(last) = last else { return (events, position) };
                (events, position) = (events + count, last);
            }
        })
    }

    fn wait(&self, after: u64) {
        let mut listener = self.listener.lock().expect("the listener");
        let mut notifications = listener.notifications();
        let mut heads = notifications.blocking_iter();
        while let Some(notification) = heads.next().expect("a notification") {
            if notification.payload().parse::<u64>().expect("a head") > after {
                return;
            }
        }
    }
}

//! UmaDB's core: a copy-on-write B+tree, and a writer thread that commits in groups.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};
use umadb_core::db::UmaDb;
use umadb_core::mvcc::{Mvcc, StorageOptions};
use umadb_core::writer_thread_blocking::writer_thread_blocking;
use umadb_core::writer_thread_request::WriterThreadRequest;
use umadb_dcb::{
    DcbAppendCondition, DcbError, DcbEvent, DcbEventStoreSync, DcbQuery, DcbQueryItem,
    DcbSequencedEvent,
};

use super::{Append, Form, Found, Outcome, Subject};
use crate::load;

/// What its own server takes into one commit at most.
const GROUP_EVENTS: usize = 2000;
const QUEUE: usize = 10_000;
/// Events that one call reads at most: a read gives all that it found at once.
const PAGE: u32 = 1024;

pub struct Umadb {
    db: UmaDb,
    requests: mpsc::Sender<WriterThreadRequest>,
    writer: Option<JoinHandle<()>>,
}

impl Umadb {
    pub fn open(folder: &Path) -> Self {
        let options = StorageOptions::default().db_path(folder);
        let mvcc = Arc::new(Mvcc::new(false, options).expect("a database"));
        let (requests, receiver) = mpsc::channel(QUEUE);
        let writer = std::thread::spawn({
            let mvcc = Arc::clone(&mvcc);
            move || writer_thread_blocking(mvcc, receiver, watch::channel(None).0, GROUP_EVENTS)
        });
        Umadb { db: UmaDb::from_arc(mvcc), requests, writer: Some(writer) }
    }

    fn scan(&self) -> Found {
        let mut found = Found::default();
        let mut next = 1;
        loop {
            let (events, _) = self
                .db
                .read_with_head(None, Some(next), false, Some(PAGE))
                .expect("a page of events");
            let Some(last) = events.last() else { return found };
            (found.position, next) = (last.position, last.position + 1);
            look_at(&mut found, &events);
        }
    }
}

fn look_at(found: &mut Found, events: &[DcbSequencedEvent]) {
    for event in events {
        found.look(event.event.event_type.as_bytes(), &event.event.data);
    }
}

fn query(tag: &str) -> DcbQuery {
    DcbQuery::new().item(DcbQueryItem::new().tags([tag]))
}

fn event(event: &load::Event) -> DcbEvent {
    DcbEvent::new()
        .event_type(event.event_type)
        .tags(event.tags.iter().map(String::as_str))
        .data(event.data.as_bytes())
}

impl Subject for Umadb {
    fn append(&self, append: &Append<'_>) -> Outcome {
        let (response_tx, response) = oneshot::channel();
        let request = WriterThreadRequest::Append {
            events: append.events.iter().map(event).collect(),
            condition: append
                .condition
                .map(|(tag, after)| DcbAppendCondition::new(query(tag)).after(Some(after))),
            tracking_info: None,
            response_tx,
            cancel: None,
        };
        assert!(self.requests.blocking_send(request).is_ok(), "UmaDB: the writer thread ended");
        match response.blocking_recv().expect("an answer of the writer thread") {
            Ok(_) => Outcome::Stored,
            Err(DcbError::IntegrityError(_)) => Outcome::Refused,
            Err(error) => panic!("UmaDB: {error}"),
        }
    }

    fn read(&self, tag: Option<&str>, _form: Form) -> Found {
        let Some(tag) = tag else { return self.scan() };
        let (events, head) =
            self.db.read_with_head(Some(query(tag)), None, false, None).expect("events");
        let mut found = Found { position: head.unwrap_or(0), ..Found::default() };
        look_at(&mut found, &events);
        found
    }
}

impl Drop for Umadb {
    fn drop(&mut self) {
        let _ = self.requests.blocking_send(WriterThreadRequest::Shutdown);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

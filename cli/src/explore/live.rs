//! Live lists: the events that match a query, sent to the browser as they are appended.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse;
use dcb::{CallOptions, Direction, Position, Query, Status, Timeout};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::store::OpenStore;

use super::event_json::Summary;
use super::reading::{End, Wanted};
use super::server::{Failed, Server};

/// How many events one message has at most.
const MOST: usize = 50;
/// The shortest time between two messages of a list, so that a browser keeps up.
const PAUSE: Duration = Duration::from_millis(150);

/// Starts a thread that follows the head of the store, until the store is closed.
pub fn follow(store: Arc<OpenStore>) -> watch::Receiver<i64> {
    let (sender, receiver) = watch::channel(0);
    std::thread::spawn(move || {
        let call = CallOptions { timeout: Timeout::After(Duration::from_secs(1)), cancel: None };
        let mut head = Position::START;
        while !sender.is_closed() {
            match store.wait(head, &call) {
                Ok(newer) => {
                    head = newer;
                    sender.send_replace(head.get());
                }
                Err(error) if error.status == Status::Closed => break,
                Err(error) if error.status == Status::Timeout => {}
                // A store that cannot be reached for now may come back.
                Err(_) => std::thread::sleep(Duration::from_secs(1)),
            }
        }
    });
    receiver
}

/// One live list.
pub struct List {
    pub server: Arc<Server>,
    pub query: Query,
    /// The position up to which the browser has everything.
    pub after: i64,
    pub head: watch::Receiver<i64>,
    /// Its place among the lists that may run at once.
    pub _place: OwnedSemaphorePermit,
}

/// A message of a live list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    head: i64,
    events: Vec<Summary>,
    /// The position above which events are left out, because more were appended than a page shows.
    skipped_after: Option<i64>,
}

impl List {
    /// Returns the stream of its messages. The first one comes at once.
    pub fn stream(self) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        stream::unfold((self, true), |(mut list, is_first)| async move {
            let message = list.next(is_first).await?;
            let json = serde_json::to_string(&message).unwrap_or_default();
            let event = sse::Event::default().id(list.after.to_string()).data(json);
            Some((Ok(event), (list, false)))
        })
    }

    /// Waits for a newer head, and reads what matches.
    async fn next(&mut self, is_first: bool) -> Option<Message> {
        if !is_first {
            tokio::time::sleep(PAUSE).await;
        }
        loop {
            let head = *self.head.borrow_and_update();
            if head > self.after || is_first {
                match self.read().await {
                    Ok(message) => return Some(message),
                    // The browser tries again, with the position that it has.
                    Err(_) => return None,
                }
            }
            self.head.changed().await.ok()?;
        }
    }

    /// Reads the newest events, and at most a message full of them.
    async fn read(&mut self) -> Result<Message, Failed> {
        let (query, after) = (self.query.clone(), self.after);
        let message = self.server.clone().read(move |server, reader| {
            let head = reader.head()?;
            let mut events = VecDeque::new();
            let wanted = Wanted {
                query,
                after,
                before: Some(head.saturating_add(1)),
                limit: MOST,
                direction: Direction::Backward,
            };
            let stopped = reader.read(wanted, &mut |event| {
                server.see(event);
                events.push_front(Summary::of(event));
            })?;
            let skipped_after = (stopped.end != End::Complete).then_some(after);
            Ok(Message { head, events: events.into(), skipped_after })
        });
        let message = message.await?;
        self.after = self.after.max(message.head);
        Ok(message)
    }
}

//! The pool of connections that read.
//!
//! Reads wait for a connection in the order in which they came (`commit/fair_queue.rs`).

use std::time::Duration;

use crate::commit::deadline::Deadline;
use crate::commit::fair_queue::{FairQueue, Stock};
use crate::error::{Error, Result, Status};
use crate::postgres::connection::Connection;
use crate::postgres::failure::Failure;
use crate::postgres::target::Target;

/// How long at least a read waits for the server's answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before another try to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// A pool of connections that read. They are opened as they are needed, and kept.
#[derive(Debug)]
pub struct Pool {
    stock: FairQueue<PoolStock>,
}

/// The connections that no read has, and the places for those that are still to be opened.
#[derive(Debug)]
struct PoolStock {
    idle: Vec<Connection>,
    /// The number of places for further connections.
    free: usize,
    is_closed: bool,
}

/// What the pool gives to a read.
#[derive(Debug)]
enum Lent {
    Connection(Box<Connection>),
    /// The place of a connection that the read opens itself.
    Place,
    /// Nothing: the store is closed.
    Closed,
}

impl Stock for PoolStock {
    type Item = Lent;

    fn take(&mut self) -> Option<Lent> {
        if self.is_closed {
            return Some(Lent::Closed);
        }
        if let Some(connection) = self.idle.pop() {
            return Some(Lent::Connection(Box::new(connection)));
        }
        (self.free > 0).then(|| {
            self.free -= 1;
            Lent::Place
        })
    }
}

/// A place of the pool with the connection in it, in the hands of one read.
struct Place<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let connection = self.connection.take();
        let unused = self.pool.stock.change(|stock| match connection {
            Some(connection) if !stock.is_closed => {
                stock.idle.push(connection);
                None
            }
            other => {
                stock.free += 1;
                other
            }
        });
        // Without the queue's lock, since it tells the server.
        drop(unused);
    }
}

impl Pool {
    /// Returns a pool of at most `size` connections, the first of which is there already.
    pub fn new(size: usize, first: Option<Connection>) -> Self {
        let idle: Vec<_> = first.into_iter().collect();
        let free = size.saturating_sub(idle.len());
        Pool { stock: FairQueue::new(PoolStock { idle, free, is_closed: false }) }
    }

    /// Runs a read on a connection. If the connection breaks, the read runs again on another one
    /// as long as the deadline lasts.
    pub fn read<T>(
        &self,
        target: &Target,
        deadline: &Deadline,
        mut read: impl FnMut(&mut Connection, &Deadline) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let late = || Error::new(Status::Busy, "timed out waiting for a connection for reading");
        let mut place = match self.stock.take_within(deadline, late)? {
            Lent::Connection(connection) => Place { pool: self, connection: Some(*connection) },
            Lent::Place => Place { pool: self, connection: None },
            Lent::Closed => return Err(Error::new(Status::Closed, "the store is closed")),
        };
        loop {
            target.watch.check_open()?;
            let failure = match self.attempt(target, deadline, &mut place, &mut read) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if !failure.keeps_connection() {
                place.connection = None;
            }
            if !failure.calls_for_another_connection() || deadline.is_over() {
                return Err(failure.into());
            }
            place.connection = None;
            std::thread::sleep(deadline.nap(Some(RECONNECT_PAUSE)).unwrap_or(RECONNECT_PAUSE));
        }
    }

    fn attempt<T>(
        &self,
        target: &Target,
        deadline: &Deadline,
        place: &mut Place<'_>,
        read: &mut impl FnMut(&mut Connection, &Deadline) -> std::result::Result<T, Failure>,
    ) -> std::result::Result<T, Failure> {
        let answer = deadline.at_least(ANSWER_PATIENCE);
        if !place.connection.as_mut().is_some_and(Connection::is_usable) {
            place.connection = None;
            place.connection = Some(target.connect_to_read(&answer)?);
        }
        let Some(connection) = &mut place.connection else { return Err(Failure::Late) };
        read(connection, &answer)
    }

    /// Closes the connections that no read has, and lets no read take one from now on.
    pub fn close(&self) {
        let idle = self.stock.change(|stock| {
            stock.is_closed = true;
            std::mem::take(&mut stock.idle)
        });
        drop(idle);
    }
}

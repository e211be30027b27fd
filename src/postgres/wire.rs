//! The messages of PostgreSQL's protocol over one connection.
//!
//! Messages that the server may send at any time (notices, notifications, changed settings) are
//! taken out here, so that an exchange sees only the answers to what it sent.

use std::io::{Read, Write};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use crate::commit::deadline::Deadline;
use crate::postgres::failure::{Failure, Refusal};
use crate::postgres::socket::{self, broken, forked, is_transient};
use crate::postgres::stream::Stream;

/// How many bytes to read at a time, at least and at most. A long message has all of its memory at
/// once, of which each read clears no more than it may fill.
const READ_SIZE: usize = 16 * 1024;
const MAX_READ_SIZE: usize = 16 * READ_SIZE;
/// Where the server says that it stopped waiting for a synchronous standby, after the commit.
const STANDBY_WAIT: &[u8] = b"SyncRepWaitForLSN";

/// A connection's messages.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    /// The process that opened the connection. In a child of it nothing may be sent.
    process: u32,
    incoming: BytesMut,
    /// What is to be sent next.
    pub outgoing: BytesMut,
    /// Whether a notification has come that nobody has taken yet.
    is_notified: bool,
    /// Whether the server has said that a commit may not have reached the synchronous standbys.
    is_unreplicated: bool,
}

impl Wire {
    /// Returns the messages of a connection over which nothing has been sent yet.
    pub fn new(stream: Stream) -> Self {
        Wire {
            stream,
            process: std::process::id(),
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            is_notified: false,
            is_unreplicated: false,
        }
    }

    /// Returns the stream below.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Sends what is in `outgoing`.
    pub fn send(&mut self, deadline: &Deadline) -> Result<(), Failure> {
        self.check_process()?;
        let sent = socket::send(&mut self.stream, &self.outgoing, deadline);
        // A large request does not keep its memory.
        self.outgoing = BytesMut::new();
        sent
    }

    /// Returns the server's next answer.
    pub fn receive(&mut self, deadline: &Deadline) -> Result<Message, Failure> {
        loop {
            if let Some(message) = self.parsed()? {
                return Ok(message);
            }
            self.check_process()?;
            let before = self.incoming.len();
            let room = (self.incoming.capacity() - before).clamp(READ_SIZE, MAX_READ_SIZE);
            self.incoming.resize(before + room, 0);
            let read = socket::receive(&mut self.stream, &mut self.incoming[before..], deadline);
            self.incoming.truncate(before + *read.as_ref().unwrap_or(&0));
            read?;
        }
    }

    /// Returns whether a notification has come since it was last asked for.
    pub fn take_notified(&mut self) -> bool {
        std::mem::take(&mut self.is_notified)
    }

    /// Returns whether the server has said, since it was last asked for, that it did not wait for
    /// the synchronous standbys to the end.
    pub fn take_unreplicated(&mut self) -> bool {
        std::mem::take(&mut self.is_unreplicated)
    }

    /// Waits for a moment for bytes that the server sends of its own accord, and takes them. The
    /// failure is that of a connection which the server has ended.
    pub fn idle(&mut self) -> Result<(), Failure> {
        self.check_process()?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(Failure::Broken("the server closed it".to_owned())),
            Ok(read) => self.incoming.extend_from_slice(&buffer[..read]),
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err(broken(&error)),
        }
        match self.parsed()? {
            None => Ok(()),
            Some(Message::ErrorResponse(body)) => {
                Err(Failure::Refused(Refusal::from_fields(body.fields())))
            }
            Some(_) => Err(unexpected()),
        }
    }

    /// Takes what the server has sent of its own accord, as [`Wire::idle`] does, without waiting.
    pub fn look(&mut self) -> Result<(), Failure> {
        self.check_process()?;
        self.stream.set_nonblocking(true).map_err(|error| broken(&error))?;
        let looked = self.idle();
        self.stream.set_nonblocking(false).map_err(|error| broken(&error))?;
        looked
    }

    /// Tells the server that the connection ends, if that needs no waiting.
    pub fn terminate(&mut self) {
        if self.check_process().is_ok() && self.stream.set_nonblocking(true).is_ok() {
            self.outgoing.clear();
            frontend::terminate(&mut self.outgoing);
            let _ = self.stream.write(&self.outgoing).and_then(|_| self.stream.flush());
        }
    }

    /// Returns the next answer that has come already.
    fn parsed(&mut self) -> Result<Option<Message>, Failure> {
        while let Some(message) = Message::parse(&mut self.incoming).map_err(|e| broken(&e))? {
            match message {
                Message::ParameterStatus(_) => {}
                Message::NoticeResponse(body) => {
                    let mut fields = body.fields();
                    while let Ok(Some(field)) = fields.next() {
                        // The name of the routine that reports it is the same in every language.
                        self.is_unreplicated |=
                            field.type_() == b'R' && field.value_bytes() == STANDBY_WAIT;
                    }
                }
                // Any connection may get some: behind a pooler, the session of one that has asked
                // for them is later another's.
                Message::NotificationResponse(_) => self.is_notified = true,
                message => return Ok(Some(message)),
            }
        }
        Ok(None)
    }

    fn check_process(&self) -> Result<(), Failure> {
        if self.process == std::process::id() { Ok(()) } else { Err(forked()) }
    }
}

/// Returns the failure of a server that does not keep to the protocol.
pub fn unexpected() -> Failure {
    Failure::Broken("the server sent a message that does not belong there".to_owned())
}

//! The bytes of a connection, as they are or within TLS.

use std::io::{self, Read, Write};

use crate::postgres::socket::PlainSocket;
#[cfg(feature = "postgres-tls")]
use crate::postgres::tls::TlsStream;

/// The bytes of a connection.
#[derive(Debug)]
pub enum Stream {
    /// As they are.
    Plain(PlainSocket),
    /// Within TLS.
    #[cfg(feature = "postgres-tls")]
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Sets whether a read or a write returns at once.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.set_nonblocking(nonblocking),
            #[cfg(feature = "postgres-tls")]
            Stream::Tls(tls) => tls.socket().set_nonblocking(nonblocking),
        }
    }

    /// Returns what binds a password's exchange to this connection, if anything does.
    pub fn server_end_point(&self) -> Option<Vec<u8>> {
        match self {
            Stream::Plain(_) => None,
            #[cfg(feature = "postgres-tls")]
            Stream::Tls(tls) => tls.server_end_point(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            #[cfg(feature = "postgres-tls")]
            Stream::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            #[cfg(feature = "postgres-tls")]
            Stream::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            #[cfg(feature = "postgres-tls")]
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

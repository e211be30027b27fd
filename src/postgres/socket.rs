//! A socket whose reads and writes end soon, so that a call can look at its deadline in between.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use crate::commit::deadline::Deadline;
use crate::error::Error;
use crate::postgres::failure::Failure;
use crate::postgres::host::{Host, Location};
use crate::postgres::parameters::Parameters;

/// How long one read or write waits before the call looks at its deadline and its cancellation.
const SLICE: Duration = Duration::from_millis(20);
/// How long to sleep at first between two looks whether a connection is established.
const FIRST_LOOK: Duration = Duration::from_micros(100);
/// How long to sleep at most.
const LONGEST_LOOK: Duration = Duration::from_millis(10);

/// A connected socket without TLS.
#[derive(Debug)]
pub struct PlainSocket(Socket);

impl PlainSocket {
    /// Sets whether a read or a write returns at once.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.set_nonblocking(nonblocking)
    }
}

impl Read for PlainSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for PlainSocket {
    /// Writes without the signal that a process gets for a closed connection.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send_with_flags(bytes, libc::MSG_NOSIGNAL)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the failure of a call that has no time left, or that was cancelled.
pub fn check(deadline: &Deadline) -> Result<(), Failure> {
    deadline.check_cancel().map_err(Failure::Stopped)?;
    if deadline.is_over() { Err(Failure::Late) } else { Ok(()) }
}

/// Returns the failure of an operation on a socket.
pub fn broken(error: &io::Error) -> Failure {
    Failure::Broken(error.to_string())
}

/// Returns whether an operation on a socket should be tried again.
pub fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Connects to a host, to the first of its addresses that answers.
pub fn connect(
    host: &Host,
    parameters: &Parameters,
    deadline: &Deadline,
) -> Result<PlainSocket, Failure> {
    let addresses = addresses(host).map_err(|error| broken(&error))?;
    let mut failure = Failure::Broken("the name of the host has no address".to_owned());
    for address in addresses {
        match connect_to(&address, parameters, deadline) {
            Ok(socket) => return Ok(PlainSocket(socket)),
            Err(stopped @ Failure::Stopped(_)) => return Err(stopped),
            Err(other) => failure = other,
        }
    }
    Err(failure)
}

/// Looks the name up at each call: after a failover it may stand for another server.
fn addresses(host: &Host) -> io::Result<Vec<SockAddr>> {
    let network = |address: IpAddr| vec![SockAddr::from(SocketAddr::new(address, host.port))];
    match (&host.location, host.socket_path()) {
        (_, Some(path)) => Ok(vec![SockAddr::unix(path)?]),
        (Location::Network(_, Some(address)), _) => Ok(network(*address)),
        (Location::Network(name, None), _) => {
            Ok((name.as_str(), host.port).to_socket_addrs()?.map(SockAddr::from).collect())
        }
        (Location::Socket(_), None) => Ok(Vec::new()),
    }
}

fn connect_to(
    address: &SockAddr,
    parameters: &Parameters,
    deadline: &Deadline,
) -> Result<Socket, Failure> {
    let established = || -> Result<Socket, Failure> {
        let socket = Socket::new(address.domain(), Type::STREAM, None).map_err(|e| broken(&e))?;
        socket.set_nonblocking(true).map_err(|e| broken(&e))?;
        establish(&socket, address, deadline)?;
        Ok(socket)
    };
    let socket = established()?;
    prepare(&socket, address.domain() != Domain::UNIX, parameters).map_err(|e| broken(&e))?;
    Ok(socket)
}

fn establish(socket: &Socket, address: &SockAddr, deadline: &Deadline) -> Result<(), Failure> {
    let mut pause = FIRST_LOOK;
    let mut begun = false;
    loop {
        check(deadline)?;
        if !begun {
            match socket.connect(address) {
                Ok(()) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => begun = true,
                // A Unix socket whose queue of connections is full.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(broken(&error)),
            }
        } else if let Some(error) = socket.take_error().map_err(|e| broken(&e))? {
            return Err(broken(&error));
        } else if socket.peer_addr().is_ok() {
            return Ok(());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_LOOK);
    }
}

fn prepare(socket: &Socket, is_network: bool, parameters: &Parameters) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(SLICE))?;
    socket.set_write_timeout(Some(SLICE))?;
    if !is_network {
        return Ok(());
    }
    socket.set_tcp_nodelay(true)?;
    if let Some(keepalives) = &parameters.keepalives {
        let mut keepalive = TcpKeepalive::new();
        if let Some(idle) = keepalives.idle {
            keepalive = keepalive.with_time(idle);
        }
        if let Some(interval) = keepalives.interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(count) = keepalives.count {
            keepalive = keepalive.with_retries(count);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    if parameters.tcp_user_timeout.is_some() {
        socket.set_tcp_user_timeout(parameters.tcp_user_timeout)?;
    }
    Ok(())
}

/// Sends all bytes within the deadline.
pub fn send(stream: &mut impl Write, mut bytes: &[u8], deadline: &Deadline) -> Result<(), Failure> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(Failure::Broken("it takes no more bytes".to_owned())),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if is_transient(&error) => check(deadline)?,
            Err(error) => return Err(broken(&error)),
        }
    }
    // Within TLS, what was written may still be here.
    loop {
        match stream.flush() {
            Ok(()) => return Ok(()),
            Err(error) if is_transient(&error) => check(deadline)?,
            Err(error) => return Err(broken(&error)),
        }
    }
}

/// Receives some bytes within the deadline. There is at least one.
pub fn receive(
    stream: &mut impl Read,
    buffer: &mut [u8],
    deadline: &Deadline,
) -> Result<usize, Failure> {
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err(Failure::Broken("the server closed it".to_owned())),
            Ok(read) => return Ok(read),
            Err(error) if is_transient(&error) => check(deadline)?,
            Err(error) => return Err(broken(&error)),
        }
    }
}

/// Returns the failure of a call in the child of a fork, whose parent owns the connection.
pub fn forked() -> Failure {
    Failure::Stopped(Error::new(
        crate::error::Status::Closed,
        "the store was opened before this process was forked: open it again",
    ))
}

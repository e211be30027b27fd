//! A proxy between a client and a server, which breaks the connections through it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A direction through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

impl Way {
    pub const BOTH: [Way; 2] = [Way::ToServer, Way::ToClient];
}

/// A proxy from a loopback port to a server's Unix socket.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// How many bytes may still pass, for each way. Then all connections are cut, once. Negative:
    /// any number.
    budgets: [AtomicI64; 2],
    /// How many bytes have passed, for each way.
    passed: [AtomicU64; 2],
    /// How long each piece waits.
    delay_us: AtomicU64,
    /// Whether bytes are taken and dropped.
    is_silent: AtomicBool,
    /// Whether the next bytes to the server are kept, and their client is cut off.
    keeps_next: AtomicBool,
    /// Whether such bytes are still kept.
    is_keeping: AtomicBool,
    /// Whether nobody is let in.
    is_closed: AtomicBool,
    links: Mutex<Vec<Arc<Link>>>,
}

/// A connection through the proxy.
struct Link {
    client: TcpStream,
    server: UnixStream,
}

impl Link {
    fn cut(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

impl Proxy {
    /// Starts a proxy to the socket at `path`.
    pub fn start(path: &Path) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        state.let_all_pass();
        let (own, path) = (Arc::clone(&state), path.to_owned());
        std::thread::spawn(move || own.serve(&listener, &path));
        Proxy { port, state }
    }

    /// Returns the port that it listens on.
    #[allow(dead_code)] // the tests use its URI
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the URI of the server behind the proxy, with these parameters.
    pub fn uri(&self, parameters: &str) -> String {
        format!("postgres://dcb:s3cret%20p%3Aw@127.0.0.1:{}/dcb?{parameters}", self.port)
    }

    /// Cuts all connections once `bytes` more bytes have passed one way.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.state.let_all_pass();
        self.state.budgets[way as usize].store(bytes as i64, Ordering::SeqCst);
    }

    /// Lets everything pass again.
    pub fn let_all_pass(&self) {
        self.state.let_all_pass();
    }

    /// Returns how many bytes have passed one way so far.
    pub fn passed(&self, way: Way) -> u64 {
        self.state.passed[way as usize].load(Ordering::SeqCst)
    }

    /// Makes each piece wait.
    pub fn delay(&self, delay: Duration) {
        self.state.delay_us.store(delay.as_micros() as u64, Ordering::SeqCst);
    }

    /// Takes bytes and passes none on, or passes them on again. What was taken is lost.
    pub fn be_silent(&self, is_silent: bool) {
        self.state.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// Keeps the next bytes that are sent to the server, and cuts off the client that sends them.
    pub fn keep_next(&self) {
        self.state.is_keeping.store(true, Ordering::SeqCst);
        self.state.keeps_next.store(true, Ordering::SeqCst);
    }

    /// Sends the server what was kept.
    pub fn send_kept(&self) {
        assert!(!self.state.keeps_next.load(Ordering::SeqCst), "nothing was kept");
        self.state.is_keeping.store(false, Ordering::SeqCst);
    }

    /// Cuts all connections, and lets nobody in until the proxy is opened again.
    pub fn close(&self) {
        self.state.is_closed.store(true, Ordering::SeqCst);
        self.state.cut();
    }

    /// Lets connections in again.
    pub fn open(&self) {
        self.state.is_closed.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
        // The thread that accepts connections ends with the process.
    }
}

impl State {
    fn let_all_pass(&self) {
        self.budgets.iter().for_each(|budget| budget.store(-1, Ordering::SeqCst));
    }

    fn cut(&self) {
        self.links.lock().unwrap().drain(..).for_each(|link| link.cut());
    }

    fn serve(self: &Arc<Self>, listener: &TcpListener, path: &Path) {
        for client in listener.incoming().flatten() {
            // The server may be down.
            let Ok(server) = UnixStream::connect(path) else { continue };
            let _ = client.set_nodelay(true);
            let link = Arc::new(Link { client, server });
            self.links.lock().unwrap().push(Arc::clone(&link));
            if self.is_closed.load(Ordering::SeqCst) {
                self.cut();
            }
            for way in Way::BOTH {
                let (state, link) = (Arc::clone(self), Arc::clone(&link));
                std::thread::spawn(move || {
                    match way {
                        Way::ToServer => state.pass(&link, &link.client, &link.server, way),
                        Way::ToClient => state.pass(&link, &link.server, &link.client, way),
                    }
                    link.cut();
                    state.links.lock().unwrap().retain(|other| !Arc::ptr_eq(other, &link));
                });
            }
        }
    }

    fn pass(&self, link: &Link, mut from: impl Read, mut to: impl Write, way: Way) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            std::thread::sleep(Duration::from_micros(self.delay_us.load(Ordering::SeqCst)));
            if self.is_silent.load(Ordering::SeqCst) {
                continue;
            }
            if way == Way::ToServer && self.keeps_next.swap(false, Ordering::SeqCst) {
                let _ = link.client.shutdown(Shutdown::Both);
                while self.is_keeping.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            let budget = &self.budgets[way as usize];
            let left = budget.load(Ordering::SeqCst);
            let allowed = if left < 0 { count } else { count.min(left as usize) };
            if to.write_all(&buffer[..allowed]).is_err() {
                return;
            }
            self.passed[way as usize].fetch_add(allowed as u64, Ordering::SeqCst);
            if left >= 0 && allowed == left as usize {
                budget.store(-1, Ordering::SeqCst);
                self.cut();
            } else if left >= 0 {
                budget.store(left - allowed as i64, Ordering::SeqCst);
            }
        }
    }
}

//! Stores to look at, the server as a process, and a client that sends exactly what it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dcb::{
    AppendRequest, CallOptions, Event, EventBuilder, EventId, EventType, Options, Store, Tag,
};
use serde_json::Value;
use tempfile::TempDir;

/// Returns an event.
pub fn event(event_type: &str, tags: &[&str], data: &str) -> Event {
    described(event_type, tags, data, None, None)
}

/// Returns an event with an id and metadata.
pub fn described(
    event_type: &str,
    tags: &[&str],
    data: &str,
    id: Option<&str>,
    metadata: Option<&str>,
) -> Event {
    let mut builder = EventBuilder::new(EventType::new(event_type).unwrap());
    for tag in tags {
        builder.tag(Tag::new(tag).unwrap()).unwrap();
    }
    builder.data(data).unwrap();
    if let Some(id) = id {
        builder.id(EventId::new(id).unwrap());
    }
    if let Some(metadata) = metadata {
        builder.metadata(metadata).unwrap();
    }
    builder.build()
}

/// Returns the same event with a time of its own, for a store that is open for an import.
pub fn at(event: &Event, time_us: i64) -> Event {
    let mut builder = EventBuilder::new(EventType::new(event.event_type()).unwrap());
    for tag in event.tags().iter() {
        builder.tag(Tag::new(tag).unwrap()).unwrap();
    }
    builder.data(event.data()).unwrap();
    builder.timestamp_us(time_us).unwrap();
    builder.build()
}

/// A store in a file, or in a schema on a server, open for appending.
pub struct TestStore {
    pub uri: String,
    pub store: Arc<dyn Store>,
    /// Opens the store once more, for an import.
    pub open_to_import: Box<dyn Fn() -> Arc<dyn Store> + Send + Sync>,
    _folder: Option<TempDir>,
}

impl TestStore {
    /// Creates a store without events.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("school-").tempdir().unwrap();
        let uri = format!("sqlite:{}", folder.path().join("courses.db").display());
        let path = uri.clone();
        TestStore::of(uri, Some(folder), move |import| {
            dcb::open(&path, &Options { import, ..Options::default() }).unwrap()
        })
    }

    /// Creates a store without events in a schema on a PostgreSQL server.
    pub fn on_server(server: &str, schema: &str) -> Self {
        let mark = if server.contains('?') { '&' } else { '?' };
        let uri = format!("{server}{mark}schema={schema}");
        let (server, schema) = (server.to_owned(), schema.to_owned());
        TestStore::of(uri, None, move |import| {
            let schema = Some(schema.clone());
            dcb::open(&server, &Options { import, schema, ..Options::default() }).unwrap()
        })
    }

    fn of(
        uri: String,
        folder: Option<TempDir>,
        open: impl Fn(bool) -> Arc<dyn Store> + Send + Sync + 'static,
    ) -> Self {
        let store = open(false);
        TestStore { uri, store, open_to_import: Box::new(move || open(true)), _folder: folder }
    }

    /// Appends events together.
    pub fn append(&self, events: Vec<Event>) {
        let request = AppendRequest::new(events, vec![]).unwrap();
        self.store.append(request, &CallOptions::default()).unwrap();
    }

    /// Starts the server on the store.
    pub fn explore(&self, arguments: &[&str]) -> Server {
        Server::start(&self.uri, arguments)
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        self.store.close();
    }
}

/// Returns numbers that look random, and are the same in each run.
pub fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// Returns the next append of a school: some events of a course and of students.
pub fn school(random: &mut impl FnMut(u64) -> u64) -> Vec<Event> {
    // Some courses and students are busier than others.
    let (a, b) = (random(40), random(40));
    let course = format!("course:c{}", 1 + a.min(b));
    let (a, b) = (random(400), random(400));
    let student = format!("student:s{}", 1 + a.max(b));
    let term = format!("term:2026-{}", if random(3) == 0 { "autumn" } else { "spring" });
    match random(20) {
        0 => {
            let data =
                format!(r#"{{"title":"Course {}","capacity":{}}}"#, &course[7..], 10 + random(40));
            vec![event("CourseDefined", &[&course, &term], &data)]
        }
        1 => vec![event(
            "CourseCapacityChanged",
            &[&course],
            &format!(r#"{{"capacity":{}}}"#, 10 + random(60)),
        )],
        2..=4 => {
            let data = format!(r#"{{"name":"Student {}","since":2026}}"#, &student[8..]);
            vec![event("StudentRegistered", &[&student], &data)]
        }
        5..=6 => vec![event(
            "StudentUnsubscribed",
            &[&course, &student, &term],
            r#"{"reason":"timetable"}"#,
        )],
        _ => {
            let invoice = format!("invoice:i{}", 10_000 + random(89_999));
            let subscribed = format!(
                r#"{{"seat":{},"by":"web","price":{{"amount":"{}.00","currency":"EUR"}}}}"#,
                1 + random(30),
                90 + random(200)
            );
            vec![
                event("StudentSubscribed", &[&course, &student, &term], &subscribed),
                event("InvoiceSent", &[&student, &invoice], r#"{"due":"2026-12-31","paid":false}"#),
            ]
        }
    }
}

/// What must be shown as text, and nothing else: markup, scripts, quotes, invisible characters and
/// the names of JavaScript's own properties.
pub const HOSTILE: [&str; 10] = [
    "<img src=x onerror=window.pwned=1>",
    "\"><script>window.pwned=1</script>",
    "javascript:window.pwned=1",
    "'; window.pwned=1; //",
    "__proto__",
    "constructor",
    "key:\u{202e}txt.exe\u{2066}",
    "a\\b\"c'd`e${window.pwned=1}?\u{3f}/",
    "line\nbreak\ttab\u{7}bell",
    "&lt;b&gt;&amp; 100% #?/..\u{1f600}",
];

/// The server as a process.
pub struct Server {
    pub url: String,
    pub address: String,
    pub token: String,
    child: Child,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts the server. It listens once it has printed its address.
    pub fn start(uri: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dcb"))
            .args(["explore", uri, "--no-open"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut url = String::new();
        stdout.read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        let rest = url.strip_prefix("http://").expect("an address");
        let (address, path) = rest.split_once('/').unwrap();
        Server {
            address: address.to_owned(),
            token: path.trim_end_matches('/').to_owned(),
            url,
            child,
            _stdout: stdout,
        }
    }

    /// Sends a request with the right token and host, and returns the response.
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", &format!("/{}/{path}", self.token), &[("Host", &self.address)])
    }

    /// Returns the JSON of a response that must be good.
    pub fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        serde_json::from_str(&response.body).unwrap()
    }

    /// Sends a request as it is given.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut stream = self.send(method, path, headers);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Response::parse(&bytes)
    }

    /// Sends a request and returns the connection.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        stream
    }

    /// Opens a live list, and returns its messages one after the other.
    pub fn live(
        &self,
        parameters: &str,
        headers: &[(&str, &str)],
    ) -> impl Iterator<Item = Value> + use<> {
        let path = format!("/{}/api/live?{parameters}", self.token);
        let host = [&[("Host", self.address.as_str())], headers].concat();
        let stream = BufReader::new(self.send("GET", &path, &host));
        stream.lines().map_while(Result::ok).filter_map(|line| {
            line.strip_prefix("data: ").map(|json| serde_json::from_str(json).unwrap())
        })
    }

    /// Interrupts the server as Ctrl-C does, and returns its exit status.
    pub fn interrupt(self) -> Option<i32> {
        self.end_by("-INT")
    }

    /// Sends the server a signal, and returns its exit status.
    pub fn end_by(mut self, signal: &str) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already if it was interrupted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A response of the server.
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a response");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Response { status, headers, body: String::from_utf8(bytes[end + 4..].to_vec()).unwrap() }
    }

    /// Returns the value of a header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }
}

/// Writes a text as the value of a parameter.
pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

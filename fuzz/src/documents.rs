//! Each document, as bytes that may be anything: what the library makes of it is held against
//! what the rules say, and what it does with it against a list of events.

use std::sync::LazyLock;

use tempfile::TempDir;

use dcb::capi::status::{DCB_INVALID_ARGUMENT, DCB_IO};

use super::c::{Answer, Cursor, Store};
use super::model::{Model, Read};
use super::rules::{self, Faults, Options};

/// Events of many shapes, that conditions, queries and ids may meet.
const STORED: [&str; 4] = [
    r#"{"events":[{"type":"A","tags":["x"],"data":1},{"type":"B","tags":["x","y:1"],"data":[ ]}]}"#,
    r#"{"events":[{"type":"A","id":"i0","metadata":{"a":"b"}},{"type":"C","tags":["z:é"],"id":"i1"}]}"#,
    r#"{"events":[{"type":"é\u0000","tags":["a\u0022:b"]}]}"#,
    r#"{"events":[{"type":"A","tags":["y:1","x"]},{"type":"A"},{"type":"B","tags":["y:2"],"data":"\ud800"}]}"#,
];

/// A store of each kind that needs no file, and the model of what they hold.
struct Subjects {
    stores: [Store; 2],
    model: Model,
}

impl Subjects {
    fn new() -> Subjects {
        let stores = ["memory:", "sqlite::memory:"].map(|uri| {
            Store::open(uri.as_bytes(), None).unwrap_or_else(|error| panic!("{uri}: {error:?}"))
        });
        let mut subjects = Subjects { stores, model: Model::default() };
        for request in STORED {
            subjects.append(request.as_bytes());
        }
        subjects
    }

    /// Appends what the rules accept, and sees the rest refused.
    fn append(&mut self, request: &[u8]) {
        let expected = match rules::append(request) {
            Err(faults) => return self.refused(faults, |store| store.append(request, None)),
            Ok(append) => self.model.append(&append),
        };
        for store in &self.stores {
            assert_eq!(store.append(request, None), expected);
        }
        self.read(b"");
    }

    fn read(&self, request: &[u8]) {
        let expected = match rules::read(request) {
            Err(faults) => {
                self.refused(faults, |store| store.read(request, None));
                return self.refused(faults, |store| store.cursor(request, None).map(drop));
            }
            Ok(read) => self.model.read(&read),
        };
        for store in &self.stores {
            assert_eq!(store.read(request, None).as_ref(), Ok(&expected));
            for max in [1, 3, usize::MAX] {
                let found = store.cursor(request, None).and_then(|cursor| cursor.all(max));
                assert_eq!(found.as_ref(), Ok(&expected), "{max} by {max}");
            }
        }
    }

    /// Every store refuses, and nothing has happened.
    fn refused<T: std::fmt::Debug>(&self, faults: Faults, ask: impl Fn(&Store) -> Answer<T>) {
        for store in &self.stores {
            match ask(store) {
                Err((status, 0)) if faults.has(status) => {}
                other => panic!("{faults:?} got {other:?}"),
            }
            assert_eq!(store.head(None), Ok(self.model.head()));
        }
    }
}

/// An append request.
pub fn append(input: &[u8]) {
    Subjects::new().append(input);
}

/// A read request. Nothing it does is left in the stores, so they serve for all inputs.
pub fn read(input: &[u8]) {
    static SUBJECTS: LazyLock<Subjects> = LazyLock::new(Subjects::new);
    SUBJECTS.read(input);
}

/// An append condition, or a list of them; and a query.
pub fn condition(input: &[u8]) {
    let mut subjects = Subjects::new();
    subjects.read(&[br#"{"limit":7,"query":"#, input, b"}"].concat());
    subjects.append(&[br#"{"events":[{"type":"A"}],"condition":"#, input, b"}"].concat());
}

/// The options of an opening.
pub fn options(input: &[u8]) {
    let options = Some(input).filter(|input| !input.contains(&0));
    let default =
        Options { read_only: false, create: true, bounds_readers: false, is_for_server: false };
    let meaning = options.map_or(Ok(default), rules::options);
    let folder = folder();
    let path = folder.path().join("x.db");
    for uri in
        ["memory:".to_owned(), "sqlite::memory:".into(), format!("sqlite:{}", path.display())]
    {
        let opened = Store::open(uri.as_bytes(), options);
        match (&opened, meaning) {
            (Err((status, 0)), Err(faults)) if faults.has(*status) => {}
            // None of these is in PostgreSQL.
            (Err((DCB_INVALID_ARGUMENT, 0)), Ok(Options { is_for_server: true, .. })) => {}
            // It would stay empty, or has no connections for reading.
            (
                Err((DCB_INVALID_ARGUMENT, 0)),
                Ok(Options { read_only: true, .. } | Options { bounds_readers: true, .. }),
            ) if uri.ends_with("memory:") => {}
            (Err(_), Ok(Options { read_only, create, .. })) if read_only || !create => {
                assert!(uri.ends_with(".db"), "{uri}");
            }
            (Ok(store), Ok(_)) => {
                let is_file = uri.ends_with(".db");
                assert_eq!(path.exists(), is_file);
                assert_eq!(store.head(None), Ok(0));
            }
            _ => panic!("{uri}, {meaning:?}: {:?}", opened.map(drop)),
        }
        // Not a file but by an opening that may make one.
        assert!(opened.is_ok() || !path.exists());
    }
}

/// A URI. An `@` stands for a folder of the target's own, outside of which no path leads.
pub fn uri(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    // No slash but that of a folder and those of a host, and no folder above.
    let lower = input.to_ascii_lowercase();
    let rest = lower.strip_prefix("file://").unwrap_or(&lower);
    let leads_away = ["/", "%2f", "..", "%2e"].iter().any(|part| rest.contains(part));
    let is_passing = ["", "memory:", "sqlite::memory:"].contains(&input);
    if input.contains('\0') || leads_away || input.matches('@').count() != 1 && !is_passing {
        return;
    }
    let folder = folder();
    let path = format!("{}/", folder.path().to_str().expect("UTF-8"));
    let uri = input.replace('@', &path);
    let place = place(&uri);
    // What comes before the folder may make it a part of something else.
    if matches!(&place, Some(Place::File(name)) if !name.starts_with(&path)) {
        return;
    }
    let opened = Store::open(uri.as_bytes(), None);
    match (&opened, &place) {
        (Ok(store), Some(_)) => {
            let request = br#"{"events":[{"type":"A"}]}"#;
            assert_eq!(store.append(request, None).map(|stored| stored.last), Ok(1));
            assert_eq!(store.read(b"", None).map(|found| found.1), Ok(1));
        }
        (Err((DCB_INVALID_ARGUMENT, 0)), None) => {}
        // A folder, or a folder that is not there, a name that is too long, or not to be created.
        (Err((DCB_IO, 0)), Some(Place::File(_))) => {}
        _ => panic!("{uri}: {place:?}, {:?}", opened.map(drop)),
    }
    let mut entries = folder
        .path()
        .read_dir()
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path().to_str().expect("UTF-8").to_owned());
    match (&opened, place) {
        (Ok(_), Some(Place::File(path))) => {
            let files = ["", "-wal", "-shm"].map(|end| format!("{path}{end}"));
            assert!(entries.all(|entry| files.contains(&entry)), "{uri}: {files:?}");
            assert!(std::path::Path::new(&path).is_file(), "{uri}: no {path}");
        }
        _ => assert_eq!(entries.next(), None, "{uri}"),
    }
}

/// Where a URI leads.
#[derive(Debug)]
enum Place {
    Memory,
    File(String),
}

/// The rules for URIs, told once more.
fn place(uri: &str) -> Option<Place> {
    let of_path = |path: String| match path.as_str() {
        "" => None,
        ":memory:" => Some(Place::Memory),
        _ => Some(Place::File(path)),
    };
    if uri == "memory:" {
        return Some(Place::Memory);
    }
    if let Some(path) = uri.strip_prefix("sqlite:") {
        return of_path(path.into());
    }
    let rest = uri.strip_prefix("file:")?;
    let rest = rest.split('#').next()?;
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let path = match path.strip_prefix("//") {
        Some(path) => {
            let host = path.split('/').next()?;
            ["", "localhost"].contains(&host).then_some(&path[host.len()..])?
        }
        None => path,
    };
    let path = decoded(path)?;
    let mut is_memory = false;
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (decoded(key)?.as_str(), decoded(value)?.as_str()) {
            ("mode", "memory") => is_memory = true,
            ("mode", "ro" | "rw" | "rwc") => {}
            _ => return None,
        }
    }
    if is_memory { Some(Place::Memory) } else { of_path(path) }
}

fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits =
            part.get(..2).filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// In memory, where the system has that: the files are to be files, not to be durable.
pub(super) fn folder() -> TempDir {
    let shm = std::path::Path::new("/dev/shm");
    if shm.is_dir() { TempDir::new_in(shm) } else { TempDir::new() }.expect("a folder")
}

/// The whole of a read is what a cursor gives.
pub(super) fn whole(store: &Store, model: &Model) {
    let expected = model.read(&Read::default());
    assert_eq!(store.read(b"", None).as_ref(), Ok(&expected));
    assert_eq!(store.cursor(b"", None).and_then(|cursor| cursor.all(5)), Ok(expected));
    assert_eq!(Cursor::null().position(), 0);
}

//! The store that a command works on.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcb::{BatchLimits, CallOptions, EventView, Options, Position, ReadRequest, ReadState, Store};

use crate::exit::Failure;

/// Which store to use.
#[derive(clap::Args)]
pub struct StoreArgument {
    /// The store, such as `sqlite:events.db`
    #[arg(value_name = "URI", env = "DCB_URI", hide_env_values = true)]
    pub uri: String,
}

impl StoreArgument {
    /// Opens the store and writes nothing to it.
    pub fn open_to_read(&self) -> Result<OpenStore, Failure> {
        open_to_read(&self.uri)
    }

    /// Opens the store for appends, and creates a missing file.
    pub fn open_to_write(&self) -> Result<OpenStore, Failure> {
        let is_new = path_of(&self.uri).is_some_and(|path| is_missing(&path));
        let store = open(&self.uri, &Options::default())?;
        if is_new {
            eprintln!("dcb: created {}", shown(&self.uri));
        }
        if is_in_memory(&self.uri) {
            eprintln!("dcb: {} is gone when the command ends: name a file to keep it", self.uri);
        }
        Ok(store)
    }
}

/// Returns the store and the second argument of a command whose second argument may be left out. An
/// argument that is alone is the second one where DCB_URI names the store, unless it is a URI.
pub fn with_optional<T: From<String>>(
    first: Option<&str>,
    second: Option<T>,
) -> Result<(StoreArgument, Option<T>), Failure> {
    let default = std::env::var("DCB_URI").ok();
    let (uri, second) = match (first, second, default) {
        (Some(alone), None, Some(uri)) if !is_uri(alone) => (uri, Some(alone.to_owned().into())),
        (Some(uri), second, _) => (uri.to_owned(), second),
        (None, second, Some(uri)) => (uri, second),
        (None, _, None) => {
            return Err(Failure::usage(
                "which store? Give its URI, such as sqlite:events.db, or set DCB_URI",
            ));
        }
    };
    Ok((StoreArgument { uri }, second))
}

/// A store that is closed when the value is dropped.
pub struct OpenStore(Arc<dyn Store>);

impl Deref for OpenStore {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Opens the store that a URI names and writes nothing to it.
pub fn open_to_read(uri: &str) -> Result<OpenStore, Failure> {
    open(uri, &Options { read_only: true, create: false, ..Options::default() })
}

/// Opens the store that a URI names. The parameter `schema` of a `postgres:` URI is the schema that the
/// store is in. The parameter `immutable` of a `file:` URI is the option of that name.
pub fn open(uri: &str, options: &Options) -> Result<OpenStore, Failure> {
    if let (rest, Some(schema)) = split_schema(uri)? {
        let options = Options { schema: Some(schema), ..options.clone() };
        return Ok(OpenStore(dcb::open(&rest, &options).map_err(advised)?));
    }
    if options.read_only && is_in_memory(uri) {
        return Err(Failure::usage(format!(
            "{uri} is a new store for each command, so there is nothing in it: name a file, such as \
             sqlite:events.db"
        )));
    }
    if !options.create && path_of(uri).is_some_and(|path| is_missing(&path)) {
        return Err(Failure::not_found(format!(
            "{}: no such store: check the path, or create one with dcb append or dcb import",
            shown(uri)
        )));
    }
    let (plain, is_immutable) = split_immutable(uri);
    let options = Options { immutable: options.immutable || is_immutable, ..options.clone() };
    Ok(OpenStore(dcb::open(&plain, &options).map_err(advised)?))
}

/// Returns the failure to open a file, with what to do on the command line where the library names an
/// option of programs.
fn advised(error: dcb::Error) -> Failure {
    let advice = [
        ("option immutable", "With dcb, such a store is named file:PATH?immutable=1."),
        ("option adopt", "dcb puts no store into the database of a program: name a new file."),
        ("is not a database", "dcb import makes a store of an export."),
        ("server failed", "Check that a PostgreSQL server listens there."),
    ];
    if error.message.contains("holds no store") {
        return Failure::not_found(format!(
            "{}: check the parameter schema, or create a store with dcb append or dcb import",
            error.message
        ));
    }
    let known = advice.iter().find(|(part, _)| error.message.contains(part));
    let failure = Failure::from(error);
    match known {
        Some((_, advice)) => failure.and(advice),
        None => failure,
    }
}

/// Returns whether there is no file. One in a folder that may not be searched is not missing.
fn is_missing(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

/// Returns whether each command that names the store has a new one.
fn is_in_memory(uri: &str) -> bool {
    matches!(uri, "memory:" | "sqlite::memory:")
}

/// Returns the path of the file that a `sqlite:` or a `file:` URI names. One with escapes or with a host
/// is left to the library.
pub fn path_of(uri: &str) -> Option<PathBuf> {
    let path = match uri.strip_prefix("file:") {
        Some(rest) if rest.contains(['%', '#']) || uri.contains("mode=memory") => return None,
        Some(rest) => {
            let path = rest.split_once('?').map_or(rest, |(path, _)| path);
            if path.starts_with("//") {
                path.strip_prefix("//").filter(|path| path.starts_with('/'))?
            } else {
                path
            }
        }
        None => uri.strip_prefix("sqlite:")?,
    };
    (!path.is_empty() && path != ":memory:").then(|| PathBuf::from(path))
}

/// Returns a `file:` URI without its parameter `immutable=1`, and whether it had that.
fn split_immutable(uri: &str) -> (String, bool) {
    match uri.split_once('?') {
        Some((path, parameters)) if path.starts_with("file:") => {
            let others: Vec<&str> =
                parameters.split('&').filter(|parameter| *parameter != "immutable=1").collect();
            let is_immutable = others.len() < parameters.split('&').count();
            (format!("{path}?{}", others.join("&")), is_immutable)
        }
        _ => (uri.to_owned(), false),
    }
}

/// Returns a `postgres:` URI without its parameter `schema`, and the value of that.
pub fn split_schema(uri: &str) -> Result<(String, Option<String>), Failure> {
    let unchanged = || Ok((uri.to_owned(), None));
    let Some((address, parameters)) = uri.split_once('?') else { return unchanged() };
    if !is_postgres(uri) {
        return unchanged();
    }
    let (own, others): (Vec<&str>, Vec<&str>) =
        parameters.split('&').partition(|parameter| parameter.starts_with("schema="));
    let schema = match own.as_slice() {
        [] => return unchanged(),
        [schema] => schema["schema=".len()..].to_owned(),
        _ => return Err(Failure::usage("uri: the parameter schema is given more than once")),
    };
    let rest = match others.is_empty() {
        true => address.to_owned(),
        false => format!("{address}?{}", others.join("&")),
    };
    Ok((rest, Some(schema)))
}

/// Returns the URI of a command that may also print SQL: the given one, or that of the environment.
pub fn given(uri: Option<&str>) -> Result<String, Failure> {
    uri.map(str::to_owned).or_else(|| std::env::var("DCB_URI").ok()).ok_or_else(|| {
        Failure::usage(
            "which store? Give its URI, or set DCB_URI; --sql prints the SQL of a store on PostgreSQL",
        )
    })
}

/// Returns the name of the schema that SQL is about: the given one, that of the URI, or `dcb`.
pub fn schema_of(name: Option<&str>, uri: Option<&str>) -> Result<String, Failure> {
    let of_uri = match uri {
        Some(uri) if is_postgres(uri) => split_schema(uri)?.1,
        Some(uri) => {
            return Err(Failure::usage(format!(
                "{}: only a store on PostgreSQL is created by SQL; a file is created by its first append",
                shown(uri)
            )));
        }
        None => None,
    };
    Ok(name.map(str::to_owned).or(of_uri).unwrap_or_else(|| "dcb".to_owned()))
}

/// Returns whether a URI names a schema of a PostgreSQL database.
pub fn is_postgres(uri: &str) -> bool {
    uri.starts_with("postgres:") || uri.starts_with("postgresql:")
}

/// Returns whether a text is the URI of a store and not a word of another kind.
pub fn is_uri(text: &str) -> bool {
    ["memory:", "sqlite:", "file:", "postgres:", "postgresql:"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

/// Returns a URI as it may be shown: without its password.
pub fn shown(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let (rest, parameters) = match rest.split_once('?') {
        Some((rest, parameters)) => (rest, Some(parameters)),
        None => (rest, None),
    };
    let rest = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => format!("{user}@{host}"),
        },
        None => rest.to_owned(),
    };
    let parameters = parameters.map_or(String::new(), |parameters| {
        let shown: Vec<&str> = parameters
            .split('&')
            .map(|part| if part.starts_with("password=") { "password=***" } else { part })
            .collect();
        format!("?{}", shown.join("&"))
    });
    format!("{scheme}://{rest}{parameters}")
}

/// How much of a read one batch holds.
const BATCH: BatchLimits = BatchLimits { max_events: 4_096, max_bytes: 1 << 20 };

/// Delivers every event of a read to `each`, and returns the position up to which they are
/// complete. The read ends early where `each` returns `false`.
pub fn for_each(
    store: &dyn Store,
    request: ReadRequest,
    call: &CallOptions,
    each: impl FnMut(&EventView<'_>) -> Result<bool, Failure>,
) -> Result<Position, Failure> {
    Ok(try_for_each(store, request, call, each)??)
}

/// Does what [`for_each`] does, and tells a failure of `each`, which is the outer one, from an error
/// of the store.
pub fn try_for_each(
    store: &dyn Store,
    request: ReadRequest,
    call: &CallOptions,
    mut each: impl FnMut(&EventView<'_>) -> Result<bool, Failure>,
) -> Result<dcb::Result<Position>, Failure> {
    let mut reading = ReadState::new(request);
    let mut ended = None;
    while !reading.has_begun() || reading.span().is_some() {
        let read = store.read(&mut reading, BATCH, call, &mut |event: &EventView<'_>| {
            let failure = match each(event) {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(failure) => Some(failure),
            };
            ended = Some(failure);
            // Ends the call; nobody sees it.
            Err(dcb::Error::new(dcb::Status::Cancelled, "the read has ended"))
        });
        match ended.take() {
            Some(Some(failure)) => return Err(failure),
            Some(None) => break,
            None => {
                if let Err(error) = read {
                    return Ok(Err(error));
                }
            }
        }
    }
    Ok(Ok(reading.position()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_may_name_the_schema() {
        for (uri, rest, schema) in [
            ("postgres://h/d", "postgres://h/d", None),
            ("postgres://h/d?schema=x", "postgres://h/d", Some("x")),
            ("postgres://h/d?a=b&schema=x&c=d", "postgres://h/d?a=b&c=d", Some("x")),
            ("postgres://h/d?search=x", "postgres://h/d?search=x", None),
            ("sqlite:a?schema=x", "sqlite:a?schema=x", None),
        ] {
            let expected = (rest.to_owned(), schema.map(str::to_owned));
            assert_eq!(split_schema(uri).unwrap(), expected, "{uri}");
        }
        assert!(split_schema("postgres://h/d?schema=x&schema=y").is_err());
    }

    #[test]
    fn a_uri_may_name_a_file() {
        for (uri, path, is_immutable) in [
            ("sqlite:a?immutable=1", Some("a?immutable=1"), false),
            ("sqlite::memory:", None, false),
            ("file:a.db", Some("a.db"), false),
            ("file:/a/b.db?mode=ro", Some("/a/b.db"), false),
            ("file:///a/b.db?immutable=1&mode=ro", Some("/a/b.db"), true),
            ("file://host/b.db", None, false),
            ("file:a%20b.db?immutable=1", None, true),
            ("file:a?mode=memory", None, false),
            ("memory:", None, false),
        ] {
            assert_eq!(path_of(uri), path.map(PathBuf::from), "{uri}");
            assert_eq!(split_immutable(uri).1, is_immutable, "{uri}");
        }
        assert_eq!(split_immutable("file:a?immutable=1&mode=ro").0, "file:a?mode=ro");
        assert_eq!(split_immutable("file:a?immutable=0").0, "file:a?immutable=0");
    }

    #[test]
    fn a_password_is_not_shown() {
        for (uri, expected) in [
            ("sqlite:a@b:c.db", "sqlite:a@b:c.db"),
            ("postgres://me:secret@host/db", "postgres://me:***@host/db"),
            ("postgres://me:se@cret@host:5432/db?x=1", "postgres://me:***@host:5432/db?x=1"),
            ("postgres://me@host/db", "postgres://me@host/db"),
            (
                "postgres://host/db?user=me&password=secret",
                "postgres://host/db?user=me&password=***",
            ),
        ] {
            assert_eq!(shown(uri), expected);
        }
    }
}

//! The store that a command works on.

use std::ops::Deref;
use std::path::Path;
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
        if path_of(&self.uri).is_some_and(|path| !path.exists()) {
            eprintln!("dcb: creates {}", shown(&self.uri));
        }
        open(&self.uri, &Options::default())
    }
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
/// store is in.
pub fn open(uri: &str, options: &Options) -> Result<OpenStore, Failure> {
    if let (rest, Some(schema)) = split_schema(uri)? {
        let options = Options { schema: Some(schema), ..options.clone() };
        return Ok(OpenStore(dcb::open(&rest, &options).map_err(Failure::from)?));
    }
    if options.read_only && matches!(uri, "memory:" | "sqlite::memory:") {
        return Err(Failure::usage(format!(
            "{uri} is a new store for each command, so there is nothing in it: name a file, such as \
             sqlite:events.db"
        )));
    }
    if !options.create
        && let Some(path) = path_of(uri)
        && !path.exists()
    {
        return Err(Failure::not_found(format!(
            "{}: no such store: check the path, or create one with dcb append or dcb import",
            shown(uri)
        )));
    }
    Ok(OpenStore(dcb::open(uri, options).map_err(Failure::from)?))
}

/// Returns the path of the file that a `sqlite:` URI names.
pub fn path_of(uri: &str) -> Option<&Path> {
    let path = uri.strip_prefix("sqlite:")?;
    (!path.is_empty() && path != ":memory:").then(|| Path::new(path))
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

//! Opens a store by its URI.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory::MemoryStore;
use crate::percent::decode;
use crate::sqlite::{Location, SqliteStore, shown};
use crate::store::Store;
use crate::store::options::Options;

/// Opens the store that `uri` names.
pub fn open(uri: &str, options: &Options) -> Result<Arc<dyn Store>> {
    if is_of_postgres(uri) {
        return open_postgres(uri, options);
    }
    options.check_without_server()?;
    if uri == "memory:" {
        if options.is_read_only() {
            return Err(Error::invalid(
                "read_only: a store in memory cannot be read-only, since it would stay empty",
            ));
        }
        options.check_without_readers()?;
        return Ok(Arc::new(MemoryStore::open(options.import)));
    }
    let mut options = options.clone();
    let location = if let Some(path) = uri.strip_prefix("sqlite:") {
        location(path)?
    } else if uri.starts_with("file:") {
        location_of_file_uri(uri, &mut options)?
    } else {
        return Err(without_scheme(uri));
    };
    Ok(Arc::new(SqliteStore::open(location, &options)?))
}

/// Returns whether a URI names a store on a PostgreSQL server.
pub fn is_of_postgres(uri: &str) -> bool {
    uri.starts_with("postgres:") || uri.starts_with("postgresql:")
}

#[cfg(feature = "postgres")]
fn open_postgres(uri: &str, options: &Options) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(crate::postgres::PostgresStore::open(uri, options)?))
}

#[cfg(not(feature = "postgres"))]
fn open_postgres(_uri: &str, _options: &Options) -> Result<Arc<dyn Store>> {
    Err(Error::invalid("uri: this build of the library has no stores in PostgreSQL"))
}

/// The error of a URI of another scheme, or of a path alone.
fn without_scheme(uri: &str) -> Error {
    const MESSAGE: &str = "uri: must start with memory:, sqlite:, file: or postgres:";
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    // A single letter is a drive of Windows.
    let has_scheme = scheme.len() > 1
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if uri.is_empty() || has_scheme {
        return Error::invalid(MESSAGE);
    }
    let path = shown(Path::new(uri), MAX_HINT);
    Error::invalid(format!("{MESSAGE} (did you mean sqlite:{path}?)"))
}

/// How many bytes of a path the error of a URI without a scheme repeats.
const MAX_HINT: usize = 120;

fn location(path: &str) -> Result<Location> {
    match path {
        "" => Err(Error::invalid("uri: sqlite: needs a path after it")),
        ":memory:" => Ok(Location::Memory),
        path if path.contains('\0') => Err(Error::invalid("uri: a path must not contain a NUL")),
        path => Ok(Location::File(PathBuf::from(path))),
    }
}

/// Returns the location that a `file:` URI names, in the syntax that SQLite defines. Its parameter
/// `mode` changes `options`; there are no others.
fn location_of_file_uri(uri: &str, options: &mut Options) -> Result<Location> {
    let rest = &uri["file:".len()..];
    let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let path = match path.strip_prefix("//") {
        None => path,
        Some(with_host) => {
            let (host, _) = with_host.split_once('/').unwrap_or((with_host, ""));
            if !host.is_empty() && host != "localhost" {
                return Err(Error::invalid(
                    "uri: the host of a file: uri must be empty or localhost",
                ));
            }
            &with_host[host.len()..]
        }
    };
    let path = decode(path)?;
    let mut is_memory = path == ":memory:";
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if decode(key)? != "mode" {
            return Err(Error::invalid("uri: a file: uri may have no parameter but mode"));
        }
        match decode(value)?.as_str() {
            "ro" => options.read_only = true,
            "rw" => options.create = false,
            "rwc" => {}
            "memory" => is_memory = true,
            _ => return Err(Error::invalid("uri: mode must be ro, rw, rwc or memory")),
        }
    }
    if is_memory { Ok(Location::Memory) } else { location(&path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Location {
        Location::File(PathBuf::from(path))
    }

    #[test]
    fn a_sqlite_path_is_not_decoded() {
        assert_eq!(location("a%20b?mode=ro"), Ok(file("a%20b?mode=ro")));
        assert_eq!(location(":memory:"), Ok(Location::Memory));
        assert!(location("").is_err());
    }

    #[test]
    fn an_error_for_a_path_without_a_scheme_suggests_a_uri() {
        let message = |uri: &str| open(uri, &Options::default()).err().unwrap().message;
        assert!(message("events.db").ends_with("(did you mean sqlite:events.db?)"));
        assert!(message("/var/lib/a:b.db").ends_with("sqlite:/var/lib/a:b.db?)"));
        assert!(message(r"C:\events.db").ends_with(r"sqlite:C:\events.db?)"));
        let long = message(&"x".repeat(10_000));
        assert!(long.len() < 240 && long.ends_with("x?)"), "{long}");
        for other in ["", "http://example.org/x", "mysql:x"] {
            assert!(!message(other).contains("did you mean"), "{other}");
        }
    }

    #[test]
    fn an_in_memory_store_cannot_be_opened_read_only() {
        let options = Options { read_only: true, ..Options::default() };
        for uri in ["memory:", "sqlite::memory:", "file:x?mode=memory"] {
            let error = open(uri, &options).err().unwrap();
            assert_eq!(error.status, crate::Status::InvalidArgument, "{uri}: {error}");
        }
    }

    #[test]
    fn an_option_of_another_kind_of_store_is_refused() {
        let message = |uri: &str, options: &Options| {
            let error = open(uri, options).err().unwrap();
            assert_eq!(error.status, crate::Status::InvalidArgument, "{uri}: {error}");
            error.message
        };
        let default = Options::default();
        let of_postgres = [
            ("schema", Options { schema: Some("s".into()), ..default.clone() }),
            ("pool_size", Options { pool_size: Some(2), ..default.clone() }),
            ("allow_fsync_off", Options { allow_fsync_off: true, ..default.clone() }),
        ];
        for (name, options) in &of_postgres {
            for uri in ["memory:", "sqlite::memory:", "sqlite:x.db", "file:x.db"] {
                assert!(message(uri, options).starts_with(&format!("{name}: ")), "{uri}");
            }
        }
        let of_sqlite = [
            ("immutable", Options { immutable: true, ..default.clone() }),
            ("adopt", Options { adopt: true, ..default.clone() }),
            ("max_readers", Options { max_readers: Some(2), ..default.clone() }),
        ];
        for (name, options) in &of_sqlite {
            let expected = match cfg!(feature = "postgres") {
                true => format!("{name}: is an option for a SQLite store"),
                false => "uri: this build of the library has no stores in PostgreSQL".to_owned(),
            };
            for uri in ["postgres://u@localhost:1/d", "postgresql://u@localhost:1/d"] {
                assert!(message(uri, options).starts_with(&expected), "{uri}");
            }
        }
    }

    #[test]
    fn max_readers_is_only_for_stores_opened_by_path() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.db");
        let file = format!("sqlite:{}", path.display());
        let refusal = |uri: &str, max_readers| {
            let options = Options { max_readers: Some(max_readers), ..Options::default() };
            open(uri, &options).err().map(|error| (error.status, error.message))
        };
        let invalid =
            |message: &'static str| Some((crate::Status::InvalidArgument, message.into()));
        for uri in ["memory:", "sqlite::memory:", "file:x?mode=memory"] {
            let message = "max_readers: only a store that is opened by the path of its file has \
                           connections for reading";
            assert_eq!(refusal(uri, 8), invalid(message), "{uri}");
        }
        for limit in [i64::MIN, -1, 0, 1_001, i64::MAX] {
            let (status, message) = refusal(&file, limit).unwrap();
            assert_eq!(status, crate::Status::InvalidArgument);
            assert!(message.ends_with("a.db: max_readers: must be from 1 to 1000"), "{message}");
            assert!(!path.exists(), "{limit}");
        }
        for limit in [1, 1_000] {
            assert_eq!(refusal(&file, limit), None);
        }
    }

    #[test]
    fn cache_bytes_is_only_for_stores_opened_by_path() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = format!("sqlite:{}", folder.path().join("a.db").display());
        let refusal = |uri: &str, cache_bytes| {
            let options = Options { cache_bytes: Some(cache_bytes), ..Options::default() };
            open(uri, &options).err().map(|error| (error.status, error.message))
        };
        for uri in ["memory:", "sqlite::memory:", "file:x?mode=memory"] {
            let (status, message) = refusal(uri, 1).unwrap();
            assert_eq!(status, crate::Status::InvalidArgument);
            let expected =
                "cache_bytes: only a store that is opened by the path of its file has a cache";
            assert_eq!(message, expected, "{uri}");
        }
        for limit in [i64::MIN, -1, (1 << 40) + 1, i64::MAX] {
            let (status, message) = refusal(&file, limit).unwrap();
            assert_eq!(status, crate::Status::InvalidArgument);
            assert!(message.ends_with("cache_bytes: must be from 0 to 1099511627776"), "{message}");
        }
        for limit in [0, 1, 1 << 40] {
            assert_eq!(refusal(&file, limit), None);
        }
    }

    #[test]
    fn a_file_uri_is_decoded_and_takes_a_mode() {
        let parse = |uri: &str| {
            let mut options = Options::default();
            location_of_file_uri(uri, &mut options).map(|location| (location, options))
        };
        assert_eq!(parse("file:a%20b"), Ok((file("a b"), Options::default())));
        assert_eq!(parse("file:///x/y#z"), Ok((file("/x/y"), Options::default())));
        assert_eq!(parse("file://localhost/x"), Ok((file("/x"), Options::default())));
        let read_only = Options { read_only: true, ..Options::default() };
        assert_eq!(parse("file:a?mode=ro"), Ok((file("a"), read_only)));
        let existing = Options { create: false, ..Options::default() };
        assert_eq!(parse("file:a?mode=rw"), Ok((file("a"), existing)));
        assert_eq!(parse("file:a?mode=memory"), Ok((Location::Memory, Options::default())));
        for bad in [
            "file:",
            "file://host/x",
            "file:a?mode=x",
            "file:a?cache=shared",
            "file:%f",
            "file:%00",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

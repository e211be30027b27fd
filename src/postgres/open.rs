//! Opening a store: what is in the database is looked at before anything is written to it.

use std::time::Duration;

use crate::commit::deadline::{CallOptions, Deadline};
use crate::error::{Error, Result, Status};
use crate::postgres::append::Writer;
use crate::postgres::connection::Connection;
use crate::postgres::parameters::Parameters;
use crate::postgres::pool::Pool;
use crate::postgres::statements::{DEFAULT_SCHEMA, FORMAT, Statements};
use crate::postgres::store::PostgresStore;
use crate::postgres::target::Target;
use crate::postgres::upgrade::upgrade_by_the_way;
use crate::postgres::values::Values;
use crate::postgres::wire::unexpected;
use crate::store::options::Options;

/// How many connections read at a time unless the options say otherwise.
const DEFAULT_POOL_SIZE: usize = 4;
/// The oldest version of PostgreSQL that a store is in, as the server numbers it.
const OLDEST_SERVER: i32 = 150_000;
/// How long opening a store may take at least, whatever the time-out for locks.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// What the server says about itself and about the schema.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The version of the server, for a person.
    pub server: String,
    version: i32,
    encoding: String,
    has_fsync: bool,
    has_schema: bool,
    has_meta: bool,
    has_others: bool,
}

const INSPECT: &str = "\
    SELECT current_setting('server_version'), current_setting('server_version_num')::int, \
           current_setting('server_encoding'), current_setting('fsync') = 'on', \
           EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1), \
           coalesce(bool_or(c.relname = 'meta' AND c.relkind IN ('r', 'p')), false), \
           coalesce(bool_or(c.relname <> 'meta'), false) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1";

impl PostgresStore {
    /// Opens the store in the database that a `postgres:` URI names, and creates it if there is
    /// none and the options allow it.
    pub fn open(uri: &str, options: &Options) -> Result<Self> {
        let schema = options.schema.as_deref().unwrap_or(DEFAULT_SCHEMA);
        let sql = Statements::new(schema)?;
        let pool_size = options.pool_size(DEFAULT_POOL_SIZE)?;
        let target = Target::new(Parameters::from_uri(uri)?, sql);
        let busy_timeout = u64::try_from(options.busy_timeout_ms).ok().map(Duration::from_millis);
        let deadline = CallOptions::default().start(busy_timeout).at_least(OPEN_PATIENCE);
        let mut connection = if options.read_only {
            target.connect_to_read(&deadline)?
        } else {
            target.connect_to_write(&deadline)?
        };
        let inspection = prepare(&mut connection, &target, options, &deadline)?;
        target.ask_for_head(&mut connection, &deadline)?;
        let (writer, reader) =
            if options.read_only { (None, Some(connection)) } else { (Some(connection), None) };
        Ok(PostgresStore {
            queue: Default::default(),
            writer: Writer::new(writer),
            pool: Pool::new(pool_size, reader),
            listener: Default::default(),
            target,
            busy_timeout,
            is_read_only: options.read_only,
            import: options.import,
            longest: Default::default(),
            server: inspection.server,
            incarnation: Default::default(),
        })
    }
}

/// Finds the store in the schema, or creates it.
fn prepare(
    connection: &mut Connection,
    target: &Target,
    options: &Options,
    deadline: &Deadline,
) -> Result<Inspection> {
    let sql = &target.sql;
    let inspection = inspect(connection, &sql.schema, deadline)?;
    check_server(&inspection, options)?;
    if !inspection.has_meta {
        if inspection.has_others {
            return Err(Error::new(
                Status::UnsupportedFormat,
                format!(
                    "the schema {} holds tables of something else: choose another with the option \
                     schema",
                    sql.schema
                ),
            ));
        }
        if options.read_only || !options.create {
            return Err(Error::new(
                Status::UnsupportedFormat,
                format!("the schema {} holds no store, and none is to be created", sql.schema),
            ));
        }
        match connection.execute(&sql.create(!inspection.has_schema), deadline) {
            // Somebody else has just created it.
            Err(failure) if failure.code().is_some_and(is_there_already) => {}
            other => other?,
        }
    }
    check_format(connection, &sql.schema, deadline)?;
    if inspection.has_meta && options.create && !options.read_only {
        upgrade_by_the_way(connection, sql, deadline)?;
    }
    Ok(inspection)
}

fn inspect(connection: &mut Connection, schema: &str, deadline: &Deadline) -> Result<Inspection> {
    let mut values = Values::new();
    values.text(schema);
    let rows = connection.query(INSPECT, &values, deadline)?;
    let row = rows.first().ok_or_else(unexpected)?;
    Ok(Inspection {
        server: row.text(0)?.to_owned(),
        version: row.int(1)?,
        encoding: row.text(2)?.to_owned(),
        has_fsync: row.boolean(3)?,
        has_schema: row.boolean(4)?,
        has_meta: row.boolean(5)?,
        has_others: row.boolean(6)?,
    })
}

fn check_server(inspection: &Inspection, options: &Options) -> Result<()> {
    if inspection.version < OLDEST_SERVER {
        return Err(Error::new(
            Status::UnsupportedFormat,
            format!("the server is PostgreSQL {}, and 15 is the oldest", inspection.server),
        ));
    }
    if inspection.encoding != "UTF8" {
        return Err(Error::new(
            Status::UnsupportedFormat,
            format!(
                "the encoding of the database is {}, and a store needs UTF8",
                inspection.encoding
            ),
        ));
    }
    if !inspection.has_fsync && !options.allow_fsync_off {
        return Err(Error::invalid(
            "the server runs with fsync = off, so a crash of its machine loses events: turn it on \
             (for a test, the option allow_fsync_off opens the store)",
        ));
    }
    Ok(())
}

fn check_format(connection: &mut Connection, schema: &str, deadline: &Deadline) -> Result<()> {
    let sql = format!("SELECT format FROM \"{schema}\".meta WHERE one = 1");
    let rows = match connection.query(&sql, &Values::new(), deadline) {
        // There is such a table, but it has no such columns.
        Err(failure) if failure.code() == Some("42703") => Vec::new(),
        Err(failure) => return Err(failure.into()),
        Ok(rows) => rows,
    };
    let format = rows.first().map(|row| row.int(0)).transpose()?;
    let what = match format {
        Some(FORMAT) => return Ok(()),
        Some(newer) if newer > FORMAT => {
            format!("has the format {newer}, which is newer than this library's, {FORMAT}")
        }
        _ => "has a table meta that is not that of a store".to_owned(),
    };
    Err(Error::new(Status::UnsupportedFormat, format!("the schema {schema} {what}")))
}

/// Returns whether an error says that something to create exists: a unique index of the catalogue
/// was violated, or there is such a schema, table, object or function.
fn is_there_already(code: &str) -> bool {
    ["23505", "42P06", "42P07", "42710", "42723"].contains(&code)
}

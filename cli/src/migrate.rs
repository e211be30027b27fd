//! `dcb migrate`: brings a store to the newest format and revision, or prints the SQL that does.

use std::io::{self, Write};

use dcb::{CallOptions, Options, POSTGRES_REVISION, SQLITE_FORMAT};

use crate::exit::Failure;
use crate::store;

/// Which store to migrate.
#[derive(clap::Args)]
pub struct Arguments {
    /// The store, such as `sqlite:events.db`; may be left out if DCB_URI is set. With `--sql` a
    /// `postgres:` URI, or nothing
    #[arg(value_name = "URI")]
    uri: Option<String>,
    /// Only print what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print the SQL that migrates a store on a PostgreSQL server, and connect to none
    #[arg(long, conflicts_with_all = ["json", "dry_run"])]
    sql: bool,
    /// The name of the schema in the SQL; if not given, that of the URI, or `dcb`
    #[arg(long, value_name = "NAME", requires = "sql")]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Brings a store to the newest format and revision, and prints which it has. One that is of a newer
/// format does not open.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.sql {
        let name = store::schema_of(arguments.name.as_deref(), arguments.uri.as_deref())?;
        io::stdout().write_all(dcb::postgres_upgrade(&name)?.as_bytes())?;
        return Ok(());
    }
    let uri = store::given(arguments.uri.as_deref())?;
    let diagnosis = store::open_to_read(&uri)?.diagnose(&CallOptions::default())?;
    let of_sqlite = diagnosis.sqlite.map(|sqlite| sqlite.format);
    let of_postgres = diagnosis.postgres.as_ref().map(|postgres| postgres.format);
    let Some(format) = of_sqlite.or(of_postgres) else {
        return Err(Failure::usage("a store in memory has no format"));
    };
    let newest = if of_sqlite.is_some() { SQLITE_FORMAT } else { format };
    let newest_revision = i64::from(POSTGRES_REVISION);
    let before = diagnosis.postgres.map(|postgres| postgres.revision);
    let is_old_file = format < newest;
    let is_older = is_old_file || before.is_some_and(|before| before < newest_revision);
    if is_older && !arguments.dry_run {
        // Opening with the right to create would migrate as well, but not say why it could not.
        let options = Options { create: false, ..Options::default() };
        let store = store::open(&uri, &options)?;
        // A file has the newest format once it is open to write.
        if !is_old_file {
            store.upgrade(&CallOptions::default())?;
        }
    }
    let mut out = io::stdout();
    if arguments.json {
        let revision = before.map_or(String::new(), |before| {
            format!(",\"revision\":{before},\"newest_revision\":{newest_revision}")
        });
        let (dry_run, migrated) = (arguments.dry_run, is_older && !arguments.dry_run);
        writeln!(
            out,
            "{{\"format\":{format},\"newest\":{newest}{revision},\"dry_run\":{dry_run},\
             \"migrated\":{migrated}}}"
        )?;
        return Ok(());
    }
    let verb = if arguments.dry_run { "would bring" } else { "brought" };
    match before {
        Some(before) if is_older => {
            writeln!(out, "{verb} format {format} from revision {before} to {newest_revision}")?;
        }
        None if is_older => writeln!(out, "{verb} the file from format {format} to {newest}")?,
        Some(before) => {
            let what =
                if before > newest_revision { "newer than this program" } else { "the newest" };
            writeln!(out, "format {format}, revision {before} is {what}: there is nothing to do")?;
        }
        None => writeln!(out, "format {format} is the newest: there is nothing to do")?,
    }
    Ok(())
}

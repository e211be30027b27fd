//! `dcb diagnose`: the state of a store, with advice.

use std::io::{self, Write};

use dcb::{CallOptions, Diagnosis};

use crate::exit::Failure;
use crate::health;
use crate::json;
use crate::store::StoreArgument;

/// Which store to look at.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the state of a store, and what to do where something is off.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = arguments.store.open_to_read()?;
    let diagnosis = store.diagnose(&CallOptions::default())?;
    let advice = health::findings(&diagnosis);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let facts = facts(&diagnosis);
    if arguments.json {
        let mut text = b"{".to_vec();
        for (key, value) in &facts {
            json::string(&mut text, key);
            text.push(b':');
            match value {
                Fact::Text(value) => json::string(&mut text, value),
                Fact::Plain(value) => text.extend_from_slice(value.as_bytes()),
                Fact::Unknown => text.extend_from_slice(b"null"),
            }
            text.push(b',');
        }
        text.extend_from_slice(b"\"advice\":[");
        for (index, found) in advice.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            json::string(&mut text, &found.text);
        }
        text.extend_from_slice(b"]}\n");
        out.write_all(&text)?;
    } else {
        for (key, value) in &facts {
            let value = match value {
                Fact::Text(value) | Fact::Plain(value) => value.as_str(),
                Fact::Unknown => "-",
            };
            writeln!(out, "{key:<15} {value}")?;
        }
        writeln!(out)?;
        if advice.is_empty() {
            writeln!(out, "Nothing is off.")?;
        }
        for found in &advice {
            writeln!(out, "! {}", found.text)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// A value of a diagnosis.
enum Fact {
    /// A text, which JSON quotes.
    Text(String),
    /// A number or a truth value.
    Plain(String),
    /// What the store does not know or does not have.
    Unknown,
}

impl Fact {
    fn plain(value: impl ToString) -> Self {
        Fact::Plain(value.to_string())
    }

    fn text(value: Option<impl ToString>) -> Self {
        value.map_or(Fact::Unknown, |value| Fact::Text(value.to_string()))
    }

    fn number(value: Option<impl ToString>) -> Self {
        value.map_or(Fact::Unknown, Self::plain)
    }
}

/// Returns what is known, under the keys of `dcb_diagnose`.
fn facts(diagnosis: &Diagnosis) -> Vec<(&'static str, Fact)> {
    let kind = match (&diagnosis.sqlite, &diagnosis.postgres) {
        (Some(_), _) => "sqlite",
        (None, Some(_)) => "postgres",
        (None, None) => "memory",
    };
    let mut facts = vec![
        ("version", Fact::text(Some(env!("CARGO_PKG_VERSION")))),
        ("store", Fact::text(Some(kind))),
        ("head", Fact::plain(diagnosis.head)),
    ];
    if let Some(sqlite) = &diagnosis.sqlite {
        facts.extend([
            ("path", Fact::text(sqlite.path.as_ref().map(|path| path.display()))),
            ("read_only", Fact::plain(sqlite.read_only)),
            ("format", Fact::plain(sqlite.format)),
            ("sqlite", Fact::text(Some(&sqlite.sqlite))),
            ("bundled_sqlite", Fact::plain(sqlite.bundled_sqlite)),
            ("locks", Fact::text(sqlite.locks)),
            ("other_sqlite", Fact::number(sqlite.other_sqlite)),
            ("durable", Fact::number(sqlite.durable)),
            ("indexed", Fact::plain(sqlite.indexed)),
            ("segments", Fact::plain(sqlite.segments)),
            ("log_bytes", Fact::number(sqlite.log_bytes)),
            ("log_held", Fact::plain(sqlite.log_held)),
            ("failure", Fact::text(sqlite.failure.as_ref())),
        ]);
    }
    if let Some(postgres) = &diagnosis.postgres {
        facts.extend([
            ("schema", Fact::text(Some(&postgres.schema))),
            ("read_only", Fact::plain(postgres.read_only)),
            ("format", Fact::plain(postgres.format)),
            ("revision", Fact::plain(postgres.revision)),
            ("server", Fact::text(Some(&postgres.server))),
            ("fsync", Fact::plain(postgres.fsync)),
            ("standby", Fact::plain(postgres.standby)),
            ("lag_ms", Fact::number(postgres.lag_ms)),
        ]);
    }
    facts
}

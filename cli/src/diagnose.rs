//! `dcb diagnose`: the state of a store, with advice.

use std::io::{self, Write};

use dcb::{CallOptions, Diagnosis, Position, SqliteDiagnosis};

use crate::exit::Failure;
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

/// How many events the index may be behind: it is written every 16,384 events.
const FAR_BEHIND: i64 = 4 * 16_384;
/// How long a log is when checkpoints do not get on: the library keeps it far below.
const LONG_LOG: u64 = 256 << 20;

/// Prints the state of a store, and what to do where something is off.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = arguments.store.open_to_read()?;
    let diagnosis = store.diagnose(&CallOptions::default())?;
    let advice =
        diagnosis.sqlite.as_ref().map_or(Vec::new(), |sqlite| advice(diagnosis.head, sqlite));
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
        for (index, line) in advice.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            json::string(&mut text, line);
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
        for line in &advice {
            writeln!(out, "! {line}")?;
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
            ("server", Fact::text(Some(&postgres.server))),
        ]);
    }
    facts
}

/// Returns what to do about what is off.
fn advice(head: Position, sqlite: &SqliteDiagnosis) -> Vec<String> {
    let mut advice = Vec::new();
    let path = sqlite.path.as_ref().map_or(String::new(), |path| path.display().to_string());
    if let Some(failure) = &sqlite.failure {
        advice.push(format!(
            "Nothing more becomes durable ({failure}): check the disk, end every program that has the \
             store open, and start them again."
        ));
    }
    if sqlite.log_held {
        advice.push(format!(
            "Another process holds the log, so it cannot be reset: find it with `fuser {path}-wal`, and \
             end its transaction."
        ));
    } else if sqlite.log_bytes.is_some_and(|bytes| bytes > LONG_LOG) {
        advice.push(format!(
            "The log beside the file is long: a process that reads for a long time keeps it from being \
             reset. Find it with `fuser {path}-wal`."
        ));
    }
    if head - sqlite.indexed > FAR_BEHIND {
        advice.push(format!(
            "The index is {} events behind, so opening takes longer and queries read more: a program \
             that has the store open to write catches up by itself.",
            head - sqlite.indexed
        ));
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_given_where_something_is_off() {
        let good = SqliteDiagnosis {
            path: Some("/x/a.db".into()),
            read_only: true,
            format: 1,
            sqlite: "3.0.0".into(),
            bundled_sqlite: true,
            locks: Some("description"),
            other_sqlite: Some(false),
            durable: Some(Position::from(100_000)),
            indexed: Position::from(90_000),
            segments: 3,
            log_bytes: Some(4_096),
            log_held: false,
            failure: None,
        };
        assert_eq!(advice(Position::from(100_000), &good), Vec::<String>::new());
        for (off, word) in [
            (SqliteDiagnosis { failure: Some("EIO".into()), ..good.clone() }, "EIO"),
            (SqliteDiagnosis { log_held: true, ..good.clone() }, "fuser /x/a.db-wal"),
            (SqliteDiagnosis { log_bytes: Some(1 << 30), ..good.clone() }, "The log"),
            (SqliteDiagnosis { indexed: Position::from(1), ..good.clone() }, "99999 events behind"),
        ] {
            let advice = advice(Position::from(100_000), &off);
            assert!(advice.len() == 1 && advice[0].contains(word), "{word}: {advice:?}");
        }
    }
}

//! The statements of a store, with the name of its schema in them.

use crate::error::{Error, Result};
use crate::postgres::page::{EVENT, head_row};

/// The text that creates a store in the schema "dcb".
const CREATE: &str = concat!(
    include_str!("sql/tables.sql"),
    "\n",
    include_str!("sql/functions.sql"),
    include_str!("sql/rights.sql")
);
/// The text that replaces the functions of a store in that schema.
const UPGRADE: &str = concat!(
    include_str!("sql/upgrade_begin.sql"),
    include_str!("sql/functions.sql"),
    include_str!("sql/upgrade_end.sql")
);
/// The version of the schema. A store of a newer one is refused.
pub const FORMAT: i32 = 1;
/// The version of the functions of a store. Those of an older one and of a newer one do as well.
pub const REVISION: i32 = 2;
/// The highest number of bytes in the name of a schema.
const MAX_NAME: usize = 63;
/// The schema of a store unless the options say otherwise.
pub const DEFAULT_SCHEMA: &str = "dcb";

/// The statements of a store.
#[derive(Debug)]
pub struct Statements {
    /// The name of the schema, which needs no quotes but for a keyword.
    pub schema: String,
    /// Calls the function `append`.
    pub append: String,
    /// Calls that if the event at a position is from the append whose id is in a list, and returns no row
    /// otherwise.
    pub append_after: String,
    /// Calls the function `append_one`.
    pub append_one: String,
    /// Calls the function `append` with values in text form. The last of them are a position or 0, a list
    /// with the id of the append that the event there is from, and the incarnation of the store. Returns
    /// all rows as one text. If it does not call the function, the text is NULL in another store,
    /// [`REWOUND`] without that event, and [`SESSION`] if the settings of the session would change the
    /// values.
    pub append_within: String,
    /// Calls the function `resolve`.
    pub resolve: String,
    /// Returns the event with an id, in the columns of a page.
    pub find: String,
    /// Returns the incarnation of the store.
    pub incarnation: String,
    /// Returns the head, whether the server follows another, the id of the append that the event
    /// at the head is from, and that of the event at a position.
    pub head: String,
    /// Returns the id of the append that the event at a position is from, and whether the server
    /// follows another.
    pub mark: String,
}

impl Statements {
    /// Returns the statements for a schema. The name must be lower-case letters, digits and
    /// underscores, so that it is the same with and without quotes.
    pub fn new(schema: &str) -> Result<Self> {
        let is_valid =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins_well = schema.bytes().next().is_some_and(|first| !first.is_ascii_digit());
        if !begins_well || schema.len() > MAX_NAME || !schema.bytes().all(is_valid) {
            return Err(Error::invalid(
                "schema: must be 1 to 63 lower-case letters, digits and underscores, and must not \
                 begin with a digit",
            ));
        }
        if schema.starts_with("pg_") || schema == "information_schema" {
            return Err(Error::invalid("schema: this name belongs to PostgreSQL itself"));
        }
        Ok(Statements {
            schema: schema.to_owned(),
            append: format!("SELECT {APPEND_COLUMNS} FROM {}", append(schema, "$2")),
            append_after: format!(
                "SELECT {APPEND_COLUMNS} FROM (SELECT 1 AS one WHERE EXISTS (SELECT FROM \
                 \"{schema}\".events e WHERE e.position = $21 AND e.append_id = ($22)[1])) m, LATERAL {}",
                append(schema, "$2 * m.one")
            ),
            append_one: format!(
                "SELECT \"{schema}\".append_one($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
            ),
            append_within: append_within(schema),
            incarnation: format!("SELECT incarnation::text FROM \"{schema}\".meta WHERE one = 1"),
            resolve: format!("SELECT o_request, o_position FROM \"{schema}\".resolve($1, $2, $3)"),
            find: format!(
                "{} UNION ALL (SELECT {EVENT} FROM \"{schema}\".events e WHERE e.id = $1)",
                head_row(schema)
            ),
            head: format!(
                "SELECT coalesce(l.position, 0), pg_is_in_recovery(), l.append_id, (SELECT \
                 m.append_id FROM \"{schema}\".events m WHERE m.position = $1) FROM (SELECT) o \
                 LEFT JOIN (SELECT e.position, e.append_id FROM \"{schema}\".events e ORDER BY \
                 e.position DESC LIMIT 1) l ON true"
            ),
            mark: format!(
                "SELECT (SELECT append_id FROM \"{schema}\".events WHERE position = $1), \
                 pg_is_in_recovery()"
            ),
        })
    }

    /// Returns the text that creates the store, and its schema if it is not there.
    pub fn create(&self, with_schema: bool) -> String {
        const CREATE_SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS \"dcb\";\n";
        // That statement needs a right on the database even where the schema exists.
        let text = if with_schema { CREATE.to_owned() } else { CREATE.replace(CREATE_SCHEMA, "") };
        self.in_schema(&text)
    }

    /// Returns the text that brings the functions of a store to the newest revision.
    pub fn upgrade(&self) -> String {
        self.in_schema(UPGRADE)
    }

    /// Returns a text about the schema "dcb" as one about the store's.
    fn in_schema(&self, text: &str) -> String {
        text.replace("\"dcb\"", &format!("\"{}\"", self.schema))
            .replace("'dcb'", &format!("'{}'", self.schema))
            .replace("schema dcb ", &format!("schema {} ", self.schema))
    }
}

/// The columns of the function `append`.
const APPEND_COLUMNS: &str = "o_request, o_kind, o_position, o_place, o_same";

/// Returns a call of the function `append`, with this as its second argument. The server looks up what
/// that refers to before it calls the function.
fn append(schema: &str, second: &str) -> String {
    let numbers = (3..=APPEND_TYPES.len()).map(|number| format!(", ${number}"));
    format!("\"{schema}\".append($1, {second}{})", numbers.collect::<String>())
}

/// Returns a statement that calls a function which appends as one that does the same and notifies nobody.
/// It also has the server drop the notifications that everybody has received, which it would not do by
/// itself while the queue is full.
pub fn without_notification(append: &str) -> String {
    const QUIET: &str = "(CASE WHEN set_config('dcb.notify', 'off', true) = 'off' AND \
                         pg_notification_queue_usage() >= 0 THEN $1 END,";
    append.replacen("($1,", QUIET, 1)
}

/// The types of the parameters of the function `append`.
const APPEND_TYPES: [&str; 20] = [
    "uuid[]",
    "integer",
    "integer[]",
    "integer[]",
    "text[]",
    "text[]",
    "text[]",
    "text[]",
    "text[]",
    "timestamptz[]",
    "integer[]",
    "integer[]",
    "bigint[]",
    "text[]",
    "text[]",
    "integer[]",
    "integer[]",
    "bigint[]",
    "integer[]",
    "integer[]",
];

/// What an append in a transaction of the program's returns if its session would change the values.
pub const SESSION: &str = "session";

/// What it returns if the store has no such event as the caller knows.
pub const REWOUND: &str = "rewound";

/// Whether the server takes texts, and NULL in arrays, for what they are. A session may have another
/// encoding, in which the bytes of a text are other letters.
const IS_FAITHFUL: &str = "pg_catalog.pg_client_encoding() IN ('UTF8', 'SQL_ASCII') AND \
                           pg_catalog.current_setting('array_nulls') = 'on'";

/// Returns the statement that appends in a transaction of the program's. It depends on nothing else
/// that the session of the program may have changed.
fn append_within(schema: &str) -> String {
    let mut arguments = Vec::new();
    for (number, kind) in (1..).zip(APPEND_TYPES) {
        // The reference to `meta` makes the server look there before it calls the function.
        let factor = if number == 2 { " * m.one" } else { "" };
        arguments.push(format!("${number}::{kind}{factor}"));
    }
    let is_own = "m.incarnation = $23::uuid";
    // What is refused in any case is not looked up, since it may not see the newest events.
    let is_known = format!(
        "($21::bigint = 0 OR pg_catalog.current_setting('transaction_read_only') = 'on' OR \
         pg_catalog.current_setting('transaction_isolation') <> 'read committed' OR EXISTS (SELECT \
         FROM \"{schema}\".events e WHERE e.position = $21::bigint AND e.append_id = \
         ($22::uuid[])[1]))"
    );
    format!(
        "SELECT coalesce(pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.o_request, a.o_kind, \
         a.o_position, coalesce(a.o_place, 0), coalesce(a.o_same, false)), ','), CASE WHEN NOT \
         ({IS_FAITHFUL}) THEN '{SESSION}' WHEN NOT {is_known} AND EXISTS (SELECT FROM \
         \"{schema}\".meta m WHERE {is_own}) THEN '{REWOUND}' END) FROM \"{schema}\".meta m, LATERAL \
         \"{schema}\".append({}) a WHERE {is_own} AND {IS_FAITHFUL} AND {is_known}",
        arguments.join(", ")
    )
}

/// Returns the SQL that creates a store in the schema `name`, for a database administrator to run.
pub fn postgres_schema(name: &str) -> Result<String> {
    Ok(Statements::new(name)?.create(true))
}

/// Returns the SQL that brings a store in the schema `name`, which an earlier version of the library
/// created, to what this version creates. It is for a database administrator to run in one transaction.
pub fn postgres_upgrade(name: &str) -> Result<String> {
    Ok(Statements::new(name)?.upgrade())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_schema_is_checked() {
        for good in ["dcb", "_", "a1_b", "select", &"x".repeat(63)] {
            assert!(Statements::new(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "A", "a-b", "a\"b", "é", "pg_x", "information_schema"] {
            assert!(Statements::new(bad).is_err(), "{bad}");
        }
        assert!(Statements::new(&"x".repeat(64)).is_err());
    }

    #[test]
    fn the_text_that_creates_a_store_names_its_schema_alone() {
        let text = Statements::new("other").unwrap().create(true);
        let code = text.lines().filter(|line| !line.starts_with("--"));
        assert!(code.clone().any(|line| line.contains("\"other\".events")));
        assert!(code.clone().any(|line| line.contains("pg_notify('other'")));
        assert!(!code.clone().any(|line| line.contains("dcb\"") || line.contains("'dcb'")));
        assert!(text.contains(&format!("(format) VALUES ({FORMAT})")));
        assert!(text.contains("CREATE SCHEMA"));
        assert!(!Statements::new("other").unwrap().create(false).contains("CREATE SCHEMA"));
    }

    #[test]
    fn the_text_of_an_upgrade_names_the_newest_revision_and_its_schema_alone() {
        let text = Statements::new("other").unwrap().upgrade();
        let code: String =
            text.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
        assert!(!code.contains("dcb\"") && !code.contains("'dcb'") && !code.contains("schema dcb"));
        for part in [
            format!("AS 'SELECT {REVISION}'"),
            format!("::integer > {REVISION}"),
            format!("revision than {REVISION}"),
            format!("IS DISTINCT FROM {FORMAT}"),
        ] {
            assert!(code.contains(&part), "{part}");
        }
    }

    /// Whoever changes a function counts [`REVISION`] up here and in the texts, else the stores that
    /// there are keep the function that they have.
    #[test]
    fn the_functions_are_those_of_their_revision() {
        let functions = include_str!("sql/functions.sql");
        let code: String =
            functions.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        assert_eq!((REVISION, crc32fast::hash(code.as_bytes())), (2, 1_665_619_245));
    }

    #[test]
    fn an_append_without_a_notification_is_another_statement() {
        let sql = Statements::new("dcb").unwrap();
        for append in [sql.append, sql.append_one, sql.append_after] {
            assert!(without_notification(&append).contains("dcb.notify"), "{append}");
        }
    }
}

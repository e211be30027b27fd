//! How large the tables of a store are, and how many events have a type or a tag.

use crate::commit::deadline::Deadline;
use crate::domain::{Names, QueryItem, Wanted};
use crate::error::Result;
use crate::postgres::store::PostgresStore;
use crate::postgres::values::Values;
use crate::postgres::wire::unexpected;
use crate::store::diagnosis::TableSize;

/// The sizes of the tables of a schema. Whoever may connect may ask for them.
const TABLES: &str = "\
    SELECT c.relname::text, pg_catalog.pg_total_relation_size(c.oid) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY 1";

impl PostgresStore {
    /// Returns the sizes of the store's tables, by name.
    pub(super) fn table_sizes(&self, deadline: &Deadline) -> Result<Vec<TableSize>> {
        let mut values = Values::new();
        values.text(&self.target.sql.schema);
        let rows = self.pool.read(&self.target, deadline, |connection, deadline| {
            connection.query(TABLES, &values, deadline)
        })?;
        rows.iter()
            .map(|row| Ok(TableSize { name: row.text(0)?.to_owned(), bytes: row.bigint(1)? }))
            .collect()
    }

    /// Counts the events with each type and each tag of an item, in the indexes of the tables.
    pub(super) fn counts_of(&self, item: &QueryItem, deadline: &Deadline) -> Result<Vec<u64>> {
        let schema = &self.target.sql.schema;
        let of_type = format!("SELECT count(*) FROM \"{schema}\".events WHERE type = $1");
        let of_tag = format!("SELECT count(*) FROM \"{schema}\".event_tags WHERE tag = $1");
        let mut counts = self.counts_of_names(&of_type, item.types(), deadline)?;
        counts.extend(self.counts_of_names(&of_tag, item.tags(), deadline)?);
        Ok(counts)
    }

    /// Runs `count` with each name.
    fn counts_of_names(
        &self,
        count: &str,
        names: Names<'_>,
        deadline: &Deadline,
    ) -> Result<Vec<u64>> {
        let one = |wanted: Wanted<'_>| {
            let mut values = Values::new();
            values.text(wanted.text());
            let rows = self.pool.read(&self.target, deadline, |connection, deadline| {
                connection.query(count, &values, deadline)
            })?;
            Ok(rows.first().ok_or_else(unexpected)?.bigint(0)?.unsigned_abs())
        };
        names.iter().map(one).collect()
    }
}

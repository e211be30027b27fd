//! How large the tables of a store are.

use crate::commit::deadline::Deadline;
use crate::error::Result;
use crate::postgres::store::PostgresStore;
use crate::postgres::values::Values;
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
}

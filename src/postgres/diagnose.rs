//! What a person asks about a store: the size of its tables, the state of the server that answers
//! its reads, and how many events have a type or a tag.

use crate::commit::deadline::Deadline;
use crate::domain::{Names, QueryItem, Wanted};
use crate::error::Result;
use crate::postgres::statements::FORMAT;
use crate::postgres::store::PostgresStore;
use crate::postgres::values::Values;
use crate::postgres::wire::unexpected;
use crate::store::diagnosis::{PostgresDiagnosis, TableSize};

/// The sizes of the tables of a schema. Whoever may connect may ask for them.
const TABLES: &str = "\
    SELECT c.relname::text, pg_catalog.pg_total_relation_size(c.oid) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY 1";

/// Whether a sync is one, whether the server follows another one, and how many milliseconds a
/// standby is behind. A standby is not if it has applied all that it received; else it is since its
/// newest commit, or since it was started. A primary knows the slowest of its standbys, where the
/// role may see that.
const SERVER: &str = "\
    SELECT current_setting('fsync') = 'on', pg_catalog.pg_is_in_recovery(), \
           CASE WHEN NOT pg_catalog.pg_is_in_recovery() \
                THEN (SELECT (extract(epoch FROM max(replay_lag)) * 1000)::bigint \
                      FROM pg_catalog.pg_stat_replication) \
                WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) \
                     AND pg_catalog.pg_last_wal_receive_lsn() <= pg_catalog.pg_last_wal_replay_lsn() \
                THEN 0 \
                ELSE (extract(epoch FROM clock_timestamp() - coalesce( \
                      pg_catalog.pg_last_xact_replay_timestamp(), \
                      pg_catalog.pg_postmaster_start_time())) * 1000)::bigint END";

impl PostgresStore {
    /// Returns the state of the store and of the server that answers its reads.
    pub(super) fn diagnosis(&self, deadline: &Deadline) -> Result<PostgresDiagnosis> {
        let rows = self.pool.read(&self.target, deadline, |connection, deadline| {
            connection.query(SERVER, &Values::new(), deadline)
        })?;
        let row = rows.first().ok_or_else(unexpected)?;
        Ok(PostgresDiagnosis {
            schema: self.target.sql.schema.clone(),
            read_only: self.is_read_only,
            format: FORMAT.into(),
            revision: self.revision(deadline)?.into(),
            server: self.server.clone(),
            fsync: row.boolean(0)?,
            standby: row.boolean(1)?,
            lag_ms: if row.is_null(2) { None } else { Some(row.bigint(2)?) },
            tables: self.table_sizes(deadline)?,
        })
    }

    /// Returns the sizes of the store's tables, by name.
    fn table_sizes(&self, deadline: &Deadline) -> Result<Vec<TableSize>> {
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

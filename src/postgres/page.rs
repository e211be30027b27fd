//! The statement that reads one page of events, and its rows.

use crate::domain::{Direction, EventView, PositionRange, Query, QueryItem, Tags};
use crate::error::Result;
use crate::postgres::prepared::Planning;
use crate::postgres::values::{Row, Values, array_literal};

/// How many lists of positions a statement names one by one. A query with more is passed as arrays.
const MAX_BRANCHES: usize = 32;
/// How many tags of an item are joined. Further ones are counted for each position that is left.
const MAX_JOINS: usize = 4;
/// The column that says whether the server follows another. After it comes the id of the append that
/// the event at the head is from. Both are in the first row alone.
pub const STANDBY_COLUMN: usize = 7;
/// How many bytes of data and metadata the events of a page have at most, not counting its last event.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// One page of a read.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The schema of the store.
    pub schema: &'a str,
    /// Which events it has.
    pub query: &'a Query,
    /// The positions that it is from.
    pub span: PositionRange,
    /// In which order it has them.
    pub direction: Direction,
    /// How many events it has at most.
    pub max_events: usize,
    /// After how many bytes of data and metadata it ends. Counting them takes the server as long as
    /// finding short events does, so it is left out where events are not known to be long.
    pub max_bytes: Option<usize>,
}

/// The columns of an event `e`, as many as those of the head.
pub const EVENT: &str = "e.position, e.type, e.tags, e.data, e.id, e.metadata, e.recorded_at, \
                         NULL::boolean, NULL::uuid";

/// Returns the query of one row with the head of the snapshot.
pub fn head_row(schema: &str) -> String {
    format!(
        "SELECT coalesce(l.position, 0), NULL::text COLLATE \"C\", NULL::text[] COLLATE \"C\", \
         NULL::text, NULL::text COLLATE \"C\", NULL::text, NULL::timestamptz, pg_is_in_recovery(), \
         l.append_id FROM (SELECT) o LEFT JOIN (SELECT h.position, h.append_id FROM \
         \"{schema}\".events h ORDER BY h.position DESC LIMIT 1) l ON true"
    )
}

/// A statement under construction.
struct Writer<'a> {
    page: Page<'a>,
    values: Values,
}

impl Page<'_> {
    /// Returns how its statement is planned. Only for its values it is clear which of several tags
    /// has the shortest list.
    pub fn planning(&self) -> Planning {
        let items = self.query.items().filter(|_| !self.query.is_all()).into_iter().flatten();
        let has_one_list = |item: &QueryItem| item.tags().len() <= 1;
        let mut count = 0;
        let is_simple = items.clone().inspect(|item| count += branches(item)).all(has_one_list);
        if is_simple && count <= MAX_BRANCHES { Planning::Kept } else { Planning::ForValues }
    }

    /// Returns the statement and its values. Its first row has the head of the snapshot that the
    /// events are from, and the others the events, in order.
    pub fn statement(&self) -> (String, Values) {
        let mut values = Values::new();
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        values.position(self.span.after).position(self.span.through);
        values.bigint(number(self.max_events));
        let mut writer = Writer { page: *self, values };
        let mut events = writer.events();
        let order = self.order();
        if let Some(max_bytes) = self.max_bytes {
            let max_bytes = writer.value(|values| {
                values.bigint(number(max_bytes));
            });
            events = format!(
                "(SELECT e.*, sum(octet_length(e.data) + coalesce(octet_length(e.metadata), 0)) OVER \
                 (ORDER BY e.position {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS \
                 bytes_before FROM {events}) e WHERE coalesce(e.bytes_before, 0) < {max_bytes}"
            );
        }
        let head = head_row(self.schema);
        let sql =
            format!("{head} UNION ALL (SELECT {EVENT} FROM {events} ORDER BY e.position {order})");
        (sql, writer.values)
    }

    fn order(&self) -> &'static str {
        if self.direction.is_backward() { "DESC" } else { "ASC" }
    }
}

impl Writer<'_> {
    /// Adds a value with `add`, and returns its name.
    fn value(&mut self, add: impl FnOnce(&mut Values)) -> String {
        add(&mut self.values);
        format!("${}", self.values.types().len())
    }

    /// Returns the end of a list of positions: the range and the order.
    fn within(&self, table: &str) -> String {
        let order = self.page.order();
        format!(
            "{table}.position > $1 AND {table}.position <= $2 ORDER BY {table}.position {order} \
             LIMIT $3"
        )
    }

    /// Returns the table of the page's events, as `e`.
    fn events(&mut self) -> String {
        let (schema, query) = (self.page.schema, self.page.query);
        let within = self.within("e");
        let items = match query.items() {
            Some(items) if !query.is_all() => items,
            _ => return format!("(SELECT e.* FROM \"{schema}\".events e WHERE {within}) e"),
        };
        let branches: usize = items.iter().map(branches).sum();
        let lists = if branches <= MAX_BRANCHES {
            items.iter().flat_map(|item| self.lists(item)).collect::<Vec<_>>()
        } else {
            self.lists_of_many(items)
        };
        let positions = match &lists[..] {
            [list] if branches == 1 => list.clone(),
            lists => format!(
                "SELECT u.position FROM ({}) u GROUP BY u.position ORDER BY u.position {} LIMIT $3",
                lists
                    .iter()
                    .map(|list| format!("({list})"))
                    .collect::<Vec<_>>()
                    .join(" UNION ALL "),
                self.page.order()
            ),
        };
        format!("({positions}) p JOIN \"{schema}\".events e ON e.position = p.position")
    }

    /// Returns the lists of positions that an item selects.
    fn lists(&mut self, item: &QueryItem) -> Vec<String> {
        let schema = self.page.schema;
        let mut tags = item.tags().iter().map(|tag| tag.text());
        let Some(first) = tags.next() else {
            let within = self.within("e");
            let of_type = |event_type: &str| {
                let value = self.value(|values| {
                    values.text(event_type);
                });
                format!(
                    "SELECT e.position FROM \"{schema}\".events e WHERE e.type = {value} AND {within}"
                )
            };
            return item.types().iter().map(|own| own.text()).map(of_type).collect();
        };
        let first = self.value(|values| {
            values.text(first);
        });
        let (mut joins, mut filter) = (String::new(), String::new());
        for (number, tag) in (2..MAX_JOINS + 1).zip(&mut tags) {
            let value = self.value(|values| {
                values.text(tag);
            });
            joins += &format!(
                " JOIN \"{schema}\".event_tags t{number} ON t{number}.position = t1.position AND \
                 t{number}.tag = {value}"
            );
        }
        let rest: Vec<&str> = tags.collect();
        if !rest.is_empty() {
            let value = self.value(|values| {
                values.texts(&rest);
            });
            filter += &format!(
                " AND (SELECT count(*) FROM \"{schema}\".event_tags o WHERE o.tag = ANY ({value}) \
                 AND o.position = t1.position) = {}",
                rest.len()
            );
        }
        let types: Vec<&str> = item.types().iter().map(|own| own.text()).collect();
        if !types.is_empty() {
            let value = self.value(|values| {
                values.texts(&types);
            });
            filter += &format!(" AND t1.type = ANY ({value})");
        }
        let within = self.within("t1");
        vec![format!(
            "SELECT t1.position FROM \"{schema}\".event_tags t1{joins} WHERE t1.tag = {first}\
             {filter} AND {within}"
        )]
    }

    /// Returns the lists of positions that many items select, which are passed as arrays.
    fn lists_of_many(&mut self, items: &[QueryItem]) -> Vec<String> {
        let schema = self.page.schema;
        let (mut lists, mut tags, mut types, mut types_alone) = (vec![], vec![], vec![], vec![]);
        for item in items {
            if item.tags().is_empty() {
                types_alone.extend(item.types().iter().map(|own| own.text()));
            } else {
                tags.push(array_literal(item.tags().iter().map(|tag| tag.text())));
                types.push(array_literal(item.types().iter().map(|own| own.text())));
            }
        }
        if !types_alone.is_empty() {
            let value = self.value(|values| {
                values.texts(&types_alone);
            });
            let within = self.within("e");
            lists.push(format!(
                "SELECT l.position FROM unnest({value}) y (type), LATERAL (SELECT e.position FROM \
                 \"{schema}\".events e WHERE e.type = y.type AND {within}) l"
            ));
        }
        if !tags.is_empty() {
            let tags = self.value(|values| {
                values.texts(&tags);
            });
            let types = self.value(|values| {
                values.texts(&types);
            });
            let within = self.within("t");
            lists.push(format!(
                "SELECT l.position FROM unnest({tags}, {types}) i (tags, types), LATERAL (SELECT \
                 t.position FROM \"{schema}\".event_tags t WHERE t.tag = (i.tags::text[])[1] AND \
                 (i.types = '{{}}' OR t.type = ANY (i.types::text[])) AND (SELECT count(*) FROM \
                 \"{schema}\".event_tags o WHERE o.tag = ANY ((i.tags::text[])[2:]) AND o.position \
                 = t.position) = cardinality(i.tags::text[]) - 1 AND {within}) l"
            ));
        }
        lists
    }
}

/// Returns how many lists of positions an item stands for.
fn branches(item: &QueryItem) -> usize {
    if item.tags().is_empty() { item.types().len() } else { 1 }
}

/// Calls `each` with the event in a row of a page.
pub fn with_event<T>(row: &Row, each: impl FnOnce(&EventView<'_>) -> Result<T>) -> Result<T> {
    let mut tags = Vec::new();
    row.texts(2, &mut tags)?;
    each(&EventView {
        position: row.position(0)?,
        timestamp_us: row.timestamp(6)?,
        event_type: row.text(1)?,
        tags: Tags::listed(&tags),
        data: row.text(3)?,
        id: row.optional_text(4)?,
        metadata: row.optional_text(5)?,
        packed: None,
    })
}

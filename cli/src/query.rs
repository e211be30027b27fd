//! The arguments that say which events are meant.

use dcb::{
    CallOptions, Direction, EventType, EventView, Position, Query, QueryItem, ReadRequest, Store,
    Tag,
};

use crate::exit::Failure;
use crate::store;
use crate::time;

/// Which events are meant, by type and tags.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "Which events")]
pub struct QueryArguments {
    /// Events of this type; repeated: of any of them
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Events with this tag; repeated: with all of them
    #[arg(short = 'g', long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// A query as JSON: `{"items": [{"types": ["A"], "tags": ["k:v"]}]}`
    #[arg(short = 'q', long, value_name = "JSON", conflicts_with_all = ["types", "tags", "items"])]
    pub query: Option<String>,
    /// An alternative, such as `type=A,B tag=k:v tag=x:y`; repeated: any of them
    #[arg(short = 'i', long = "item", value_name = "ITEM", conflicts_with_all = ["types", "tags"])]
    pub items: Vec<String>,
}

impl QueryArguments {
    /// Returns the query, which selects every event if nothing was given.
    pub fn query(&self) -> Result<Query, Failure> {
        if let Some(json) = &self.query {
            return Ok(Query::from_json(json)?);
        }
        let mut items = Vec::new();
        for text in &self.items {
            items.push(parse_item(text).map_err(|failure| failure.at("--item"))?);
        }
        if !self.types.is_empty() || !self.tags.is_empty() {
            let mut item = QueryItem::new();
            for text in &self.types {
                let event_type =
                    EventType::new(text).map_err(|error| Failure::from(error).at("--type"))?;
                item.or_type(event_type)?;
            }
            for text in &self.tags {
                let tag = Tag::new(text).map_err(|error| Failure::from(error).at("--tag"))?;
                item.and_tag(tag)?;
            }
            items.push(item);
        }
        Ok(if items.is_empty() { Query::all() } else { Query::of(items)? })
    }
}

/// Parses a query: JSON, or an item such as `type=A,B tag=k:v`.
pub fn parse_query(text: &str) -> Result<Query, Failure> {
    let trimmed = text.trim();
    if trimmed.starts_with('{') || trimmed == "null" {
        return Ok(Query::from_json(trimmed)?);
    }
    Ok(Query::of(vec![parse_item(text)?])?)
}

/// Parses an item such as `type=A,B tag=k:v tag=x:y`.
pub fn parse_item(text: &str) -> Result<QueryItem, Failure> {
    let mut item = QueryItem::new();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        is_empty = false;
        match word.split_once('=') {
            Some(("type", types)) => {
                for event_type in types.split(',') {
                    item.or_type(EventType::new(event_type)?)?;
                }
            }
            Some(("tag", tag)) => item.and_tag(Tag::new(tag)?)?,
            _ => {
                return Err(Failure::usage(format!(
                    "`{word}` is neither type=TYPE nor tag=TAG: write names with blanks or commas as JSON, \
                     {{\"items\": [{{\"types\": [...], \"tags\": [...]}}]}}"
                )));
            }
        }
    }
    if is_empty {
        return Err(Failure::usage("an item needs a type=TYPE or a tag=TAG"));
    }
    Ok(item)
}

/// Which of the events that a query selects are meant.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "Which of them")]
pub struct RangeArguments {
    /// Events above this position
    #[arg(short = 'a', long, value_name = "POSITION", allow_negative_numbers = true)]
    pub after: Option<i64>,
    /// Events below this position
    #[arg(short = 'b', long, value_name = "POSITION", allow_negative_numbers = true)]
    pub before: Option<i64>,
    /// So many events at most
    #[arg(short = 'n', long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub limit: Option<u64>,
    /// The newest events first
    #[arg(short = 'r', long)]
    pub reverse: bool,
    /// Events from this time on: `2026-11-23T04:12:17Z`, `2026-11-23` or `2h` ago
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Events before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// The events that the arguments of a command select.
pub struct Selection {
    /// What the events match.
    pub query: Query,
    after: Position,
    before: Option<Position>,
    limit: Option<u64>,
    direction: Direction,
    since: Option<i64>,
    until: Option<i64>,
}

impl Selection {
    /// Returns the selection that a command's arguments name.
    pub fn of(query: &QueryArguments, range: &RangeArguments) -> Result<Self, Failure> {
        let time = |name: &str, text: &Option<String>| match text {
            Some(text) => time::parse(text).map(Some).map_err(|failure| failure.at(name)),
            None => Ok(None),
        };
        Ok(Selection {
            query: query.query()?,
            after: range.after.map_or(Ok(Position::START), after)?,
            before: range.before.map(position).transpose()?,
            limit: range.limit,
            direction: Direction::from_backwards(range.reverse),
            since: time("--since", &range.since)?,
            until: time("--until", &range.until)?,
        })
    }

    /// Returns whether every event of the store is meant.
    pub fn is_everything(&self) -> bool {
        self.query.is_all()
            && self.after == Position::START
            && (self.before, self.limit, self.since, self.until) == (None, None, None, None)
    }

    /// Delivers each event to `each`, and returns the position up to which they are complete.
    ///
    /// Times order nothing, because clocks are set back: so with `--since` or `--until` every event
    /// that the query selects is looked at.
    pub fn for_each(
        &self,
        store: &dyn Store,
        mut each: impl FnMut(&EventView<'_>) -> Result<(), Failure>,
    ) -> Result<Position, Failure> {
        let is_timed = self.since.is_some() || self.until.is_some();
        let limit = match self.limit {
            Some(limit) if !is_timed => Some(limit),
            Some(0) => Some(0),
            _ => None,
        };
        let request =
            ReadRequest::new(self.query.clone(), self.after, self.before, limit, self.direction);
        let mut left = self.limit.filter(|_| is_timed);
        store::for_each(store, request, &CallOptions::default(), |event| {
            if self.since.is_some_and(|since| event.timestamp_us < since)
                || self.until.is_some_and(|until| event.timestamp_us >= until)
            {
                return Ok(true);
            }
            each(event)?;
            if let Some(left) = &mut left {
                *left -= 1;
            }
            Ok(left != Some(0))
        })
    }
}

/// Returns the position that an argument names, above which events are meant. As in documents, -1 is
/// the start.
pub fn after(number: i64) -> Result<Position, Failure> {
    if number == -1 { Ok(Position::START) } else { position(number) }
}

/// Returns the position that an argument names.
pub fn position(number: i64) -> Result<Position, Failure> {
    Ok(Position::new(number).map_err(dcb::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_names_types_and_tags() {
        let item = parse_item(" type=A,B  tag=k:v tag=x:y=z ").unwrap();
        let json = r#"{"items":[{"types":["A","B"],"tags":["k:v","x:y=z"]}]}"#;
        let expected = Query::from_json(json).unwrap();
        assert_eq!(Query::of(vec![item]).unwrap(), expected);
        for wrong in ["", "  ", "A", "types=A", "tag=", "tag=:x", "type=A,,B"] {
            assert!(parse_item(wrong).is_err(), "{wrong:?}");
        }
    }
}

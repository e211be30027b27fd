//! The rules of the documents, told once more: what a request means, or which statuses its faults
//! may be given.

use dcb::capi::limits::{
    DCB_MAX_EVENTS_PER_APPEND, DCB_MAX_ITEMS_PER_QUERY, DCB_MAX_JSON_DEPTH, DCB_MAX_NAME_BYTES,
    DCB_MAX_TAGS_PER_EVENT,
};
use dcb::capi::status::{DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, dcb_status};

use super::json::{Broken, Json, Kind, parse};
use super::model::{Append, AppendCondition, Event, Query, QueryItem, Read};

/// What is wrong with a document. Where it has faults of both kinds, either may be told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    pub invalid: bool,
    pub too_large: bool,
}

impl Faults {
    /// Whether `status` tells one of them.
    pub fn has(self, status: dcb_status) -> bool {
        status == DCB_INVALID_ARGUMENT && self.invalid || status == DCB_TOO_LARGE && self.too_large
    }

    fn any(self) -> bool {
        self.invalid || self.too_large
    }
}

/// What opening is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub read_only: bool,
    pub create: bool,
    pub bounds_readers: bool,
    /// Whether an option is given that only a store in PostgreSQL has.
    pub is_for_server: bool,
}

fn document<T>(
    bytes: &[u8],
    meaning: impl FnOnce(&mut Faults, &Json<'_>) -> T,
) -> Result<T, Faults> {
    let json = match parse(bytes) {
        Ok(json) => json,
        Err(Broken::Syntax) => {
            // What comes before the place where it is broken may pass a limit, if it is as long.
            return Err(Faults { invalid: true, too_large: bytes.len() > DCB_MAX_NAME_BYTES });
        }
        Err(Broken::Depth) => return Err(Faults { invalid: true, too_large: true }),
    };
    let mut faults = Faults { too_large: json.depth() > DCB_MAX_JSON_DEPTH, ..Faults::default() };
    let meaning = meaning(&mut faults, &json);
    if faults.any() { Err(faults) } else { Ok(meaning) }
}

/// An append request.
pub fn append(bytes: &[u8]) -> Result<Append, Faults> {
    document(bytes, |faults, json| {
        let mut append = Append::default();
        let mut given = false;
        for (key, value) in faults.object(json, &["events", "condition"]) {
            if key == "condition" {
                append.conditions = faults.conditions(value);
                continue;
            }
            given = true;
            append.events = faults.list(value).iter().map(|event| faults.event(event)).collect();
        }
        let with_id = append.events.iter().filter(|event| event.id.is_some()).count();
        let mut ids: Vec<_> = append.events.iter().filter_map(|event| event.id.as_ref()).collect();
        ids.sort_unstable();
        ids.dedup();
        faults.invalid |= !given || append.events.is_empty();
        faults.invalid |= with_id != 0 && with_id != append.events.len() || ids.len() != with_id;
        faults.too_large |= append.events.len() > DCB_MAX_EVENTS_PER_APPEND;
        append
    })
}

/// A read request.
pub fn read(bytes: &[u8]) -> Result<Read, Faults> {
    if bytes.is_empty() {
        return Ok(Read::default());
    }
    document(bytes, |faults, json| {
        let mut read = Read::default();
        for (key, value) in faults.object(json, &["query", "after", "before", "limit", "backwards"])
        {
            match key {
                "query" => read.query = faults.query(value),
                "after" => read.after = faults.after(value),
                "before" => read.before = faults.natural(value),
                "limit" => read.limit = faults.natural(value),
                _ => read.backwards = faults.boolean(value),
            }
        }
        read
    })
}

/// The options of an opening.
pub fn options(bytes: &[u8]) -> Result<Options, Faults> {
    let mut options =
        Options { read_only: false, create: true, bounds_readers: false, is_for_server: false };
    if bytes.is_empty() {
        return Ok(options);
    }
    document(bytes, |faults, json| {
        let known = [
            "read_only",
            "immutable",
            "create",
            "adopt",
            "import",
            "busy_timeout_ms",
            "max_readers",
            "schema",
            "pool_size",
            "allow_fsync_off",
        ];
        for (key, value) in faults.object(json, &known) {
            match key {
                "read_only" | "immutable" => options.read_only |= faults.boolean(value),
                "create" => options.create = faults.boolean(value),
                "adopt" | "import" => drop(faults.boolean(value)),
                "max_readers" => {
                    options.bounds_readers = true;
                    faults.invalid |= !(1..=1_000).contains(&faults.integer(value));
                }
                "schema" => {
                    options.is_for_server = true;
                    faults.invalid |= !matches!(value.kind, Kind::String(Some(_)));
                }
                "pool_size" => {
                    options.is_for_server = true;
                    faults.integer(value);
                }
                "allow_fsync_off" => options.is_for_server |= faults.boolean(value),
                _ => drop(faults.integer(value)),
            }
        }
        options
    })
}

impl Faults {
    fn object<'a, 'j>(
        &mut self,
        json: &'a Json<'j>,
        known: &[&'static str],
    ) -> Vec<(&'static str, &'a Json<'j>)> {
        let Kind::Object(entries) = &json.kind else {
            self.invalid = true;
            return Vec::new();
        };
        let mut found: Vec<(&'static str, &Json<'_>)> = Vec::new();
        for (key, value) in entries {
            match known.iter().find(|known| key.as_deref() == Some(**known)) {
                Some(known) if !found.iter().any(|(other, _)| other == known) => {
                    found.push((known, value));
                }
                _ => self.invalid = true,
            }
        }
        found
    }

    fn list<'a, 'j>(&mut self, json: &'a Json<'j>) -> &'a [Json<'j>] {
        let Kind::List(values) = &json.kind else {
            self.invalid = true;
            return &[];
        };
        values
    }

    fn list_or_null<'a, 'j>(&mut self, json: &'a Json<'j>) -> &'a [Json<'j>] {
        if matches!(json.kind, Kind::Null) { &[] } else { self.list(json) }
    }

    fn boolean(&mut self, json: &Json<'_>) -> bool {
        let Kind::Boolean(value) = json.kind else {
            self.invalid = true;
            return false;
        };
        value
    }

    fn integer(&mut self, json: &Json<'_>) -> i64 {
        let plain = json.raw.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let value = json.raw.parse().ok().filter(|_| plain && matches!(json.kind, Kind::Number));
        self.invalid |= value.is_none();
        value.unwrap_or(0)
    }

    fn optional_integer(&mut self, json: &Json<'_>) -> Option<i64> {
        if matches!(json.kind, Kind::Null) { None } else { Some(self.integer(json)) }
    }

    fn after(&mut self, json: &Json<'_>) -> i64 {
        let after = self.optional_integer(json).unwrap_or(0);
        self.invalid |= after < -1;
        after.max(0)
    }

    fn natural(&mut self, json: &Json<'_>) -> Option<i64> {
        let value = self.optional_integer(json);
        self.invalid |= value.is_some_and(|value| value < 0);
        value
    }

    fn name(&mut self, json: &Json<'_>) -> String {
        let Kind::String(Some(text)) = &json.kind else {
            self.invalid = true;
            return String::new();
        };
        self.invalid |= text.is_empty() || text.contains('\0');
        self.too_large |= text.len() > DCB_MAX_NAME_BYTES;
        text.clone()
    }

    fn tag(&mut self, json: &Json<'_>) -> String {
        let tag = self.name(json);
        let halves = tag.split_once(':');
        self.invalid |= halves.is_some_and(|(key, value)| key.is_empty() || value.is_empty());
        tag
    }

    fn event(&mut self, json: &Json<'_>) -> Event {
        let mut event = Event { data: "null".into(), ..Event::default() };
        let keys = self.object(json, &["type", "tags", "data", "id", "metadata"]);
        self.invalid |= !keys.iter().any(|(key, _)| *key == "type");
        for (key, value) in keys {
            let is_null = matches!(value.kind, Kind::Null);
            match key {
                "type" => event.event_type = self.name(value),
                "tags" => {
                    let tags = self.list_or_null(value);
                    self.too_large |= tags.len() > DCB_MAX_TAGS_PER_EVENT;
                    for tag in tags {
                        let tag = self.tag(tag);
                        if !event.tags.contains(&tag) {
                            event.tags.push(tag);
                        }
                    }
                }
                "data" => event.data = value.raw.into(),
                "id" => event.id = (!is_null).then(|| self.name(value)),
                _ => {
                    self.invalid |= !matches!(value.kind, Kind::Null | Kind::Object(_));
                    event.metadata = (!is_null).then(|| value.raw.into());
                }
            }
        }
        event
    }

    fn query(&mut self, json: &Json<'_>) -> Query {
        if matches!(json.kind, Kind::Null) {
            return Query::All;
        }
        let keys = self.object(json, &["items"]);
        let items = keys.first().map_or(&[][..], |(_, items)| self.list(items));
        self.invalid |= items.is_empty();
        self.too_large |= items.len() > DCB_MAX_ITEMS_PER_QUERY;
        Query::Any(items.iter().map(|item| self.item(item)).collect())
    }

    fn item(&mut self, json: &Json<'_>) -> QueryItem {
        let mut item = QueryItem::default();
        for (key, value) in self.object(json, &["types", "tags"]) {
            let names = self.list_or_null(value).iter();
            match key {
                "types" => item.types = names.map(|name| self.name(name)).collect(),
                _ => item.tags = names.map(|name| self.tag(name)).collect(),
            }
        }
        item
    }

    fn conditions(&mut self, json: &Json<'_>) -> Vec<AppendCondition> {
        match &json.kind {
            Kind::Null => Vec::new(),
            Kind::List(list) => list.iter().map(|condition| self.condition(condition)).collect(),
            _ => vec![self.condition(json)],
        }
    }

    fn condition(&mut self, json: &Json<'_>) -> AppendCondition {
        let mut condition = AppendCondition::default();
        let keys = self.object(json, &["failIfEventsMatch", "after"]);
        self.invalid |= !keys.iter().any(|(key, _)| *key == "failIfEventsMatch");
        for (key, value) in keys {
            match key {
                "after" => condition.after = self.after(value),
                _ => condition.query = self.query(value),
            }
        }
        condition
    }
}

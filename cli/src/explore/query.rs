//! The queries of the page.

use dcb::{Query, QueryItem, Result, Tag};

/// Returns the query that `json` is. `null`, or nothing at all, selects every event.
pub fn parse(json: Option<&str>) -> Result<Query> {
    match json {
        None | Some("") => Ok(Query::all()),
        Some(json) => Query::from_json(json),
    }
}

/// Returns the query for the events with a tag.
pub fn tagged(tag: &str) -> Result<Query> {
    let mut item = QueryItem::new();
    item.and_tag(Tag::new(tag)?)?;
    Query::of(vec![item])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_without_text_selects_everything() {
        for json in [None, Some(""), Some("null")] {
            assert!(parse(json).unwrap().is_all(), "{json:?}");
        }
        assert!(!parse(Some(r#"{"items":[{"types":["A"]}]}"#)).unwrap().is_all());
        assert!(parse(Some(r#"{"items":[]}"#)).is_err());
    }
}

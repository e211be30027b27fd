//! Append conditions: `{"failIfEventsMatch": query, "after": 12}`, one or a list of them.

use serde::de::{MapAccess, SeqAccess};

use crate::domain::{AppendCondition, position_of_after};
use crate::error::Error;
use crate::json::integer::optional_integer;
use crate::json::path::JsonPath;
use crate::json::query::QueryIn;
use crate::json::visitor::{As, Seen, Shape, keys};
use crate::limits::MAX_CONDITIONS_PER_APPEND;

/// Reads no condition (`null`), one, or a list of them.
pub(super) struct ConditionsIn<'t>(pub &'t mut JsonPath);

impl<'de> Shape<'de> for ConditionsIn<'_> {
    type Value = Vec<AppendCondition>;
    const KIND: &'static str = "an object, a list of objects, or null";

    fn path(&mut self) -> &mut JsonPath {
        self.0
    }

    fn null<E: serde::de::Error>(self) -> Result<Vec<AppendCondition>, E> {
        Ok(Vec::new())
    }

    fn object<A: MapAccess<'de>>(self, object: A) -> Result<Vec<AppendCondition>, A::Error> {
        ConditionIn(self.0).object(object).map(|condition| vec![condition])
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<AppendCondition>, A::Error> {
        let path = self.0;
        let mut conditions = Vec::new();
        loop {
            path.enter_index(conditions.len());
            let Some(condition) = list.next_element_seed(As(ConditionIn(path)))? else { break };
            if conditions.len() >= MAX_CONDITIONS_PER_APPEND {
                return Err(path.fail(Error::too_large(format!(
                    "more than {MAX_CONDITIONS_PER_APPEND} conditions in an append"
                ))));
            }
            conditions.push(condition);
            path.leave();
        }
        path.leave();
        Ok(conditions)
    }
}

keys!(Key { FailIfEventsMatch = "failIfEventsMatch", After = "after" });

struct ConditionIn<'t>(&'t mut JsonPath);

impl<'de> Shape<'de> for ConditionIn<'_> {
    type Value = AppendCondition;
    const KIND: &'static str = "an object";

    fn path(&mut self) -> &mut JsonPath {
        self.0
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<AppendCondition, A::Error> {
        let path = self.0;
        let (mut query, mut after) = (None, 0);
        let mut seen = Seen::default();
        while let Some(key) = seen.next_key(path, &mut object)? {
            match key {
                Key::FailIfEventsMatch => {
                    query = Some(object.next_value_seed(As(QueryIn(path)))?);
                }
                Key::After => after = optional_integer(path, &mut object)?.unwrap_or(0),
            }
            path.leave();
        }
        let Some(query) = query else {
            path.enter_key("failIfEventsMatch");
            return Err(path.refuse("is missing (null matches every event)"));
        };
        let after = position_of_after(after).map_err(|error| path.fail_within(error))?;
        Ok(AppendCondition::new(query, after))
    }
}

//! Decides whether an append is accepted. Every store uses these rules, with lookups of its own.

use crate::domain::{AppendCondition, Event, PositionRange, Query};
use crate::error::{Error, Result};
use crate::position::Position;

/// The result of checking the ids of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// None of the events is stored, so the conditions decide.
    New,
    /// All events are stored already, the last one at this position.
    Repeated(Position),
}

/// Checks the ids of an append's events. Either all of the events have an id or none has.
///
/// `find_id` returns the position of the stored event with an id. `is_same` returns whether the
/// event stored at a position equals the given one. If an id is stored already and the append is
/// not a repetition, the error is `duplicate_id` with the position of the first stored id.
pub fn check_ids<'a>(
    events: impl IntoIterator<Item = &'a Event>,
    mut find_id: impl FnMut(&str) -> Result<Option<Position>>,
    mut is_same: impl FnMut(Position, &Event) -> Result<bool>,
) -> Result<Verdict> {
    /// What is known of the events checked so far.
    enum Checked {
        Nothing,
        NotStored,
        Stored { first: Position, last: Position },
    }
    let mut checked = Checked::Nothing;
    for (index, event) in events.into_iter().enumerate() {
        let Some(id) = event.id() else { return Ok(Verdict::New) };
        let duplicate = |position, what: String| {
            Err(Error::duplicate_id(position, format!("events[{index}].id: {what}")))
        };
        checked = match (checked, find_id(id)?) {
            (Checked::Nothing | Checked::NotStored, None) => Checked::NotStored,
            (Checked::NotStored, Some(found)) => {
                return duplicate(
                    found,
                    format!(
                        "already stored at position {found}, but earlier events of this append \
                         are not"
                    ),
                );
            }
            (Checked::Stored { first, .. }, None) => {
                return duplicate(
                    first,
                    format!(
                        "not stored yet, but earlier events of this append are, the first at \
                         position {first}"
                    ),
                );
            }
            (Checked::Stored { first, last }, Some(found)) if found != last.next() => {
                return duplicate(
                    first,
                    format!(
                        "already stored at position {found}, which is not next to position \
                         {last} of the event before it"
                    ),
                );
            }
            (checked, Some(found)) => {
                let first = if let Checked::Stored { first, .. } = checked { first } else { found };
                if !is_same(found, event)? {
                    return duplicate(
                        first,
                        format!("already stored at position {found} with different content"),
                    );
                }
                Checked::Stored { first, last: found }
            }
        };
    }
    Ok(match checked {
        Checked::Stored { last, .. } => Verdict::Repeated(last),
        Checked::Nothing | Checked::NotStored => Verdict::New,
    })
}

/// Judges the conditions of an append. `first_match` gives the lowest position in a span that a
/// query matches. `condition_failed` names the lowest position that makes any of them fail, and the
/// first of them that fails.
pub fn check_conditions(
    conditions: &[AppendCondition],
    mut first_match: impl FnMut(&Query, PositionRange) -> Result<Option<Position>>,
) -> Result<()> {
    let mut failure: Option<(usize, Position)> = None;
    for (index, condition) in conditions.iter().enumerate() {
        // Above a failure that is known already no other one matters. Up to the first failure there
        // is no such bound, so the first condition that is found to fail is the first that does.
        let high = failure.map_or(Position::MAX, |(_, lowest)| lowest.previous());
        let low = condition.after();
        if low < high
            && let Some(lowest) =
                first_match(condition.query(), PositionRange { after: low, through: high })?
        {
            failure = Some((failure.map_or(index, |(first, _)| first), lowest));
        }
    }
    failure
        .map_or(Ok(()), |(first, lowest)| Err(Error::condition_failed(lowest).of_condition(first)))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::Status;
    use crate::domain::{EventBuilder, EventId, EventType, QueryItem};
    use crate::position::at;

    fn event(id: &str, data: &str) -> Event {
        let mut event = EventBuilder::new(EventType::new("A").unwrap());
        if !id.is_empty() {
            event.id(EventId::new(id).unwrap());
        }
        event.data(data).unwrap();
        event.build()
    }

    /// Checks events with these ids against a store of `a`, `b`, `c` at 5, 6, 7.
    fn check(ids: &[(&str, &str)]) -> Result<Verdict> {
        let stored = [event("a", "1"), event("b", "2"), event("c", "3")];
        let given: Vec<_> = ids.iter().map(|(id, data)| event(id, data)).collect();
        check_ids(
            &given,
            |id| {
                Ok((5..).zip(&stored).find(|(_, own)| own.id() == Some(id)).map(|(own, _)| at(own)))
            },
            |position, event| Ok(stored[position.get() as usize - 5] == *event),
        )
    }

    #[test]
    fn a_repeated_append_is_distinguished_from_a_duplicate_id() {
        assert_eq!(check(&[("", "1"), ("", "2")]), Ok(Verdict::New));
        assert_eq!(check(&[("x", "1"), ("y", "2")]), Ok(Verdict::New));
        assert_eq!(check(&[("a", "1"), ("b", "2"), ("c", "3")]), Ok(Verdict::Repeated(at(7))));
        assert_eq!(check(&[("b", "2")]), Ok(Verdict::Repeated(at(6))));
        for (ids, position, message) in [
            (&[("a", "9")][..], 5, "events[0].id: already stored at position 5 with different"),
            (&[("a", "1"), ("b", "9")], 5, "events[1].id: already stored at position 6 with"),
            (
                &[("x", "1"), ("b", "2")],
                6,
                "events[1].id: already stored at position 6, but earlier",
            ),
            (&[("b", "2"), ("x", "1")], 6, "events[1].id: not stored yet, but earlier events"),
            (&[("b", "2"), ("a", "1")], 6, "events[1].id: already stored at position 5, which is"),
            (&[("a", "1"), ("c", "3")], 5, "events[1].id: already stored at position 7, which is"),
        ] {
            let error = check(ids).unwrap_err();
            assert_eq!(
                (error.status, error.position),
                (Status::DuplicateId, at(position)),
                "{ids:?}"
            );
            assert!(error.message.starts_with(message), "{error}");
        }
    }

    #[test]
    fn the_lowest_failure_of_all_conditions_is_reported() {
        let condition = |after| AppendCondition::new(Query::all(), after);
        // Every query matches all of the store's positions, 1 to 9.
        let check = |afters: &[i64]| {
            let conditions: Vec<_> = afters.iter().map(|&after| condition(at(after))).collect();
            check_conditions(&conditions, |_, range| {
                assert!(range.after < range.through);
                Ok(Some(range.after + 1).filter(|&first| first <= range.through.min(at(9))))
            })
        };
        for holding in [&[][..], &[9][..], &[i64::MAX, 9][..]] {
            assert_eq!(check(holding), Ok(()));
        }
        for (afters, position) in
            [(&[7][..], 8), (&[7, 3, 5][..], 4), (&[3, 7][..], 4), (&[3, 3][..], 4), (&[0][..], 1)]
        {
            assert_eq!(check(afters), Err(Error::condition_failed(at(position))));
        }
        // Just above a failure that is known, too.
        assert_eq!(check(&[7, 8]), Err(Error::condition_failed(at(8))));
        // The first that fails is named, also where another one fails lower.
        assert_eq!(check(&[9, 7, 3]), Err(Error::condition_failed(at(4)).of_condition(1)));
    }

    proptest! {
        /// The rule as it is written: each condition against each event.
        #[test]
        fn the_failure_equals_that_of_the_plain_rule(
            // Of each event, which of four queries match it; of each condition, its query and after.
            matched in vec(0..16_u8, 0..12),
            asked in vec((0..4_usize, 0..14_i64), 0..6),
        ) {
            let queries: Vec<_> = ["A", "B", "C", "D"].map(|name| {
                let mut item = QueryItem::new();
                item.or_type(EventType::new(name).unwrap()).unwrap();
                Query::of(vec![item]).unwrap()
            }).into();
            let matches = |query: usize, position: i64| {
                matched.get(position as usize - 1).is_some_and(|set| set >> query & 1 == 1)
            };
            let head = matched.len() as i64;
            let lowest_of = |&(query, after): &(usize, i64)| {
                (after + 1..=head).find(|&position| matches(query, position))
            };
            let lowest: Vec<_> = asked.iter().map(lowest_of).collect();
            let expected = lowest.iter().flatten().min().map_or(Ok(()), |&position| {
                let first = lowest.iter().position(Option::is_some).unwrap();
                Err(Error::condition_failed(at(position)).of_condition(first))
            });

            let conditions: Vec<_> = asked
                .iter()
                .map(|&(query, after)| AppendCondition::new(queries[query].clone(), at(after)))
                .collect();
            let judged = check_conditions(&conditions, |query, span| {
                let query = queries.iter().position(|own| own == query).unwrap();
                let mut within = span.after.get() + 1..=span.through.get().min(head);
                Ok(within.find(|&position| matches(query, position)).map(at))
            });
            prop_assert_eq!(judged, expected);
        }
    }

    #[test]
    fn no_lookup_goes_above_a_known_failure() {
        let conditions = [7, 3].map(|after| AppendCondition::new(Query::all(), at(after)));
        let mut ranges = Vec::new();
        let checked = check_conditions(&conditions, |_, range| {
            ranges.push(range);
            Ok(Some(range.after + 1))
        });
        assert_eq!(checked, Err(Error::condition_failed(at(4))));
        assert_eq!(
            ranges,
            [
                PositionRange { after: at(7), through: at(i64::MAX) },
                PositionRange { after: at(3), through: at(7) }
            ]
        );
    }
}

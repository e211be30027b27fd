package dcb

import "slices"

// Query selects events: those that at least one of its items matches. The zero Query selects every event, as
// [QueryAll] does.
type Query struct {
	// items is nil if the query selects every event. If it is empty and not nil, using the query is an error.
	items []QueryItem
}

// QueryItem matches the events whose type is one of Types and that have all of Tags. Without Types it matches
// events of any type, and without Tags events with any tags; the zero QueryItem matches every event.
type QueryItem struct {
	Types []string
	Tags  []Tag
}

// QueryAll returns the query for every event.
func QueryAll() Query {
	return Query{}
}

// NewQuery returns the query for the events that at least one of the items matches. Using a query without
// items fails with [ErrInvalidArgument].
func NewQuery(items ...QueryItem) Query {
	return Query{items: append([]QueryItem{}, items...)}
}

// Items returns a copy of the query's items, or nil if it selects every event.
func (q Query) Items() []QueryItem {
	return slices.Clone(q.items)
}

// Or returns the query for the events that q or one of the others selects.
func (q Query) Or(others ...Query) Query {
	items := q.items
	all, none := q.items == nil, q.isEmpty()
	for _, other := range others {
		all = all || other.items == nil
		none = none || other.isEmpty()
		items = slices.Concat(items, other.items)
	}
	switch {
	case none: // using one of them is an error, and stays one
		return NewQuery()
	case all:
		return QueryAll()
	default:
		return Query{items: items}
	}
}

func (q Query) isEmpty() bool {
	return q.items != nil && len(q.items) == 0
}

// Matches reports whether the query selects the event.
func (q Query) Matches(event SequencedEvent) bool {
	if q.items == nil {
		return true
	}
	for _, item := range q.items {
		if item.Matches(event) {
			return true
		}
	}
	return false
}

// Matches reports whether the item matches the event.
func (qi QueryItem) Matches(event SequencedEvent) bool {
	if len(qi.Types) > 0 && !slices.Contains(qi.Types, event.Type) {
		return false
	}
	for _, tag := range qi.Tags {
		if tag.problem() != "" || !slices.Contains(event.Tags, tag) {
			return false
		}
	}
	return true
}

// AppendCondition guards an append. The append fails with [ErrAppendConditionFailed] if an event that the
// query matches has a position greater than After.
type AppendCondition struct {
	// FailIfEventsMatch selects the events that must not have been stored. The zero Query selects every
	// event.
	FailIfEventsMatch Query

	// After is the position up to which the caller has seen the events, which the condition then
	// ignores. With 0 or -1, every event counts.
	After int64
}

package dcb

import "slices"

// Query says which events are asked for: those that any of its items matches.
// The zero Query is every event, as [QueryAll] is.
type Query struct {
	// nil: every event; empty and not nil: an error in use.
	items []QueryItem
}

// QueryItem asks for the events whose type is one of Types (none: any type) and that have all of
// Tags. The zero QueryItem matches everything.
type QueryItem struct {
	Types []string
	Tags  []Tag
}

// QueryAll asks for every event.
func QueryAll() Query {
	return Query{}
}

// NewQuery asks for the events that any of the items matches. Without items there is nothing to
// ask for: using such a query is an error, [ErrInvalidArgument].
func NewQuery(items ...QueryItem) Query {
	return Query{items: append([]QueryItem{}, items...)}
}

// Items returns a copy of the query's items; nil where it asks for every event.
func (q Query) Items() []QueryItem {
	return slices.Clone(q.items)
}

// Or asks for what q asks for, and for what the others do.
func (q Query) Or(others ...Query) Query {
	items := q.items
	all, none := q.items == nil, q.isEmpty()
	for _, other := range others {
		all = all || other.items == nil
		none = none || other.isEmpty()
		items = slices.Concat(items, other.items)
	}
	switch {
	case none: // a mistake in one of them stays a mistake
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

// Matches reports whether the query asks for the event.
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

// Matches reports whether the item asks for the event.
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

// AppendCondition guards an append: it fails with [ErrAppendConditionFailed] if an event that
// the query matches has a position greater than After.
type AppendCondition struct {
	// FailIfEventsMatch asks for the events that must not have been added. The zero Query is
	// every event.
	FailIfEventsMatch Query

	// After is the position up to which the caller knows the events: they are not looked at.
	// With 0 or -1 every event counts.
	After int64
}

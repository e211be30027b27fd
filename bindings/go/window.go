package dcb

import (
	"context"
	"slices"
)

// window says which of the events of a query a projection needs: see [Projection].
type window struct {
	query Query
	last  int
	since string
}

func (w window) isLimited() bool {
	return w.last > 0 || w.since != ""
}

// start returns the index of the first event in the window, of events in the order of their positions.
func (w window) start(events []SequencedEvent) int {
	if !w.isLimited() {
		return 0
	}
	found := 0
	for i, event := range slices.Backward(events) {
		if !w.query.Matches(event) {
			continue
		}
		if found++; found == w.last || w.since == event.Type && w.since != "" {
			return i
		}
	}
	return 0
}

// sinceQuery returns the query for the events of the window's query that have the type since. It is empty if there
// cannot be one.
func (w window) sinceQuery() Query {
	if w.query.items == nil {
		return NewQuery(QueryItem{Types: []string{w.since}})
	}
	items := []QueryItem{}
	for _, item := range w.query.items {
		if len(item.Types) == 0 || slices.Contains(item.Types, w.since) {
			items = append(items, QueryItem{Types: []string{w.since}, Tags: item.Tags})
		}
	}
	return Query{items: items}
}

// readFunc is the Read of a store, or its ReadSnapshot.
type readFunc func(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error)

// readWindows returns the events that the windows need and those of the query more, in the order of their positions,
// and a position that is safe as the After of a condition on any part of union, which has all of the queries.
//
// It reads the position first, and then, read by read, what was stored up to there. Events are only ever added above
// the head, so all reads together show the store as it was at that position.
func readWindows(ctx context.Context, read readFunc, windows []window, more []Query, union Query) ([]SequencedEvent, int64, error) {
	_, position, err := read(ctx, union, Backwards(), Limit(1))
	if err != nil {
		return nil, 0, err
	}
	var events []SequencedEvent
	add := func(query Query, opts ...ReadOption) ([]SequencedEvent, error) {
		found, _, err := read(ctx, query, append(opts, Before(position+1))...)
		events = append(events, found...)
		return found, err
	}
	for _, w := range windows {
		if !w.isLimited() {
			more = append(more, w.query)
			continue
		}
		var opts []ReadOption
		if since := w.sinceQuery(); w.since != "" && !since.isEmpty() {
			newest, err := add(since, Backwards(), Limit(1))
			if err != nil {
				return nil, 0, err
			}
			if len(newest) > 0 {
				opts = append(opts, FromPosition(newest[0].Position))
			}
		}
		if w.last > 0 {
			opts = append(opts, Backwards(), Limit(w.last))
		}
		if _, err := add(w.query, opts...); err != nil {
			return nil, 0, err
		}
	}
	if len(more) > 0 { // what is needed as a whole is one read
		if _, err := add(more[0].Or(more[1:]...)); err != nil {
			return nil, 0, err
		}
	}
	slices.SortFunc(events, func(a, b SequencedEvent) int {
		return int(max(-1, min(1, a.Position-b.Position)))
	})
	return slices.CompactFunc(events, func(a, b SequencedEvent) bool { return a.Position == b.Position }), position, nil
}

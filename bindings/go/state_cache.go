package dcb

import (
	"container/list"
	"context"
	"reflect"
	"slices"
	"sync"
	"time"
	"weak"
)

// Cached returns the decider with a memory for the states of so many queries, those that were used last. A decision
// whose state is remembered reads the last event that the state has seen and those after it, in place of the whole
// history. The append is conditional on the same query at the same position as without the memory. So a decision comes
// to the same result, only faster if its history is long; measure before you use it for a short one.
//
// A state is used only if the store still has, at its position, the last event that the state has seen. If the store was
// restored from a backup and has another history since, the decision reads that one. A state is only used with the
// store that it was read from. On a store that is not of this package, and does not wrap one with the methods Unwrap and
// ReadSnapshot, nothing is remembered. Stores that wrap the same one share what is remembered: a wrapper must not change
// what a read returns.
//
// Evolve and Decide may change what a state refers to, such as a map. Then clone must return a copy that shares nothing
// with the state that they change. Cached panics if clone is nil and an S refers to anything, or if states is below 1.
//
// Copies of the decider share the memory: do not change their fields. Its Model uses the memory in [Decide] and
// [DecideValue]. What [Compose] makes of the Model has no memory, and a Cached decider cannot have a Projection: the
// same query may be composed of other parts, or mean something else, for another command. Nor can it have Last or Since,
// with which it reads little anyway.
func (d Decider[S, C]) Cached(states int, clone func(S) S) Decider[S, C] {
	switch {
	case states < 1:
		panic("dcb: Cached: states must be 1 or more")
	case clone == nil && !isValue(reflect.TypeFor[S]()):
		panic("dcb: Cached: clone must not be nil, since a " + reflect.TypeFor[S]().String() + " may refer to what changes")
	case clone == nil:
		clone = func(state S) S { return state }
	}
	d.cache = &stateCache[S]{max: states, clone: clone, entries: map[string]*list.Element{}}
	return d
}

// isValue reports whether a copy of such a value shares nothing with it that can change.
func isValue(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return true
		}
		for i := range t.NumField() {
			if !isValue(t.Field(i).Type) {
				return false
			}
		}
		return true
	case reflect.Array:
		return isValue(t.Elem())
	case reflect.Chan, reflect.Func, reflect.Interface, reflect.Map, reflect.Pointer, reflect.Slice, reflect.UnsafePointer:
		return false
	default:
		return true
	}
}

// stateCache remembers the states that were used last, by their queries.
type stateCache[S any] struct {
	max   int
	clone func(S) S

	mu      sync.Mutex
	entries map[string]*list.Element // of *remembered[S]
	used    list.List                // the one that was used last is in front
}

// remembered is a state, and the last event that it has seen, in the store that it was read from.
type remembered[S any] struct {
	query string
	store weak.Pointer[Store]
	last  SequencedEvent
	state S
}

// find returns the state of a query in a store, or nil.
func (c *stateCache[S]) find(query string, store weak.Pointer[Store]) *remembered[S] {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.entries[query]
	if found == nil {
		return nil
	}
	entry := found.Value.(*remembered[S])
	if entry.store != store {
		return nil
	}
	c.used.MoveToFront(found)
	return entry
}

// keep remembers a state.
func (c *stateCache[S]) keep(entry *remembered[S]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found := c.entries[entry.query]; found != nil {
		found.Value = entry
		c.used.MoveToFront(found)
		return
	}
	c.entries[entry.query] = c.used.PushFront(entry)
	if c.used.Len() > c.max {
		oldest := c.used.Back()
		delete(c.entries, c.used.Remove(oldest).(*remembered[S]).query)
	}
}

// foldOf returns how the decision computes its state.
func (p Projection[S]) foldOf(d *decision) func([]SequencedEvent) S {
	if p.cache == nil || d.windows != nil {
		return p.Fold
	}
	return p.cachedFold(d)
}

// cachedFold makes the decision continue from a remembered state, and returns its fold, which evolves with the events
// of the query as they are. It remembers nothing if the store or the query does not allow it.
func (p Projection[S]) cachedFold(of *decision) func([]SequencedEvent) S {
	evolve := func(state S, events []SequencedEvent) S {
		for _, event := range events {
			state = p.Evolve(state, event)
		}
		return state
	}
	store := of.library()
	_, isReader := of.store.(SnapshotReader)
	query, err := appendQuery(nil, of.query)
	if store == nil || !isReader || err != nil {
		return func(events []SequencedEvent) S { return evolve(p.Initial(), events) }
	}
	key, owner := string(query), weak.Make(store)
	var base *remembered[S] // from which this attempt continues
	of.recall = func() *SequencedEvent {
		if base = p.cache.find(key, owner); base == nil {
			return nil
		}
		return &base.last
	}
	of.forget = func() { base = nil }
	return func(events []SequencedEvent) S {
		next := &remembered[S]{query: key, store: owner}
		var state S
		if base == nil {
			state = p.Initial()
		} else {
			next.last, state = base.last, p.cache.clone(base.state)
		}
		state = evolve(state, events)
		if len(events) > 0 {
			next.last = events[len(events)-1]
			next.state = p.cache.clone(state)
			p.cache.keep(next)
		}
		return state
	}
}

// readOn reads the events after the one that the remembered state has seen last. isValid is false if there is no such
// state, or if the store does not have that event any more.
func (d *decision) readOn(ctx context.Context) (events, stored []SequencedEvent, position int64, isValid bool, err error) {
	if d.recall == nil {
		return nil, nil, 0, false, nil
	}
	last := d.recall()
	if last == nil {
		return nil, nil, 0, false, nil
	}
	reader := d.store.(SnapshotReader)
	// A file that an older backup was restored into has other events from some position on, with other timestamps. So
	// if it still has this event, it has all events before it.
	events, position, err = reader.ReadSnapshot(ctx, d.query, FromPosition(last.Position-1))
	if err != nil {
		return nil, nil, 0, false, err
	}
	if len(events) == 0 || !isSame(events[0], *last) {
		d.forget()
		return nil, nil, 0, false, nil
	}
	if d.request != nil {
		stored, _, err = reader.ReadSnapshot(ctx, d.requestQuery(), Before(position+1))
		if err != nil {
			return nil, nil, 0, false, err
		}
	}
	return events[1:], stored, position, true, nil
}

// isSame reports whether two reads have returned the same event.
func isSame(a, b SequencedEvent) bool {
	return a.Position == b.Position && a.Type == b.Type && a.ID == b.ID && a.Timestamp.Equal(b.Timestamp) &&
		slices.Equal(a.Tags, b.Tags) && reflect.DeepEqual(a.Data, b.Data)
}

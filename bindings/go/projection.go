package dcb

import "slices"

// Projection is a state that is computed from the events of a query. A small one answers one question,
// such as "how many seats are taken?"; [Compose] joins several into the model of a decision.
//
// Evolve is required.
//
// A state that needs only the newest events says so with Last or Since. Then a decision reads no more than those. Its
// append is still conditional on all events of the Query: whatever the projection would see if it came now makes the
// append conflict.
type Projection[S any] struct {
	// Query selects the events that the state is computed from.
	Query Query

	// Last restricts the projection to so many of these events, the newest ones. With 1, the state depends on
	// the last event alone, such as the one that has the highest number. 0 means all events.
	Last int

	// Since restricts the projection to the newest of these events that has this type, such as a closing
	// balance, and those after it. If no event has it, and if Since is empty, that is all events.
	Since string

	// InitialState returns the state before any event. If it is nil, that is the zero S.
	InitialState func() S

	// Evolve returns the state after the event, which the query matches.
	Evolve func(state S, event SequencedEvent) S

	// parts are the leaves of a composed projection, or nil if none has a Last or Since.
	parts []leaf[S]

	// cache remembers states if the projection is the Model of a cached decider; or nil.
	cache *stateCache[S]
}

// Initial returns the state before any event.
func (p Projection[S]) Initial() S {
	if p.InitialState == nil {
		var state S
		return state
	}
	return p.InitialState()
}

// Fold returns the state after the events, which are in the order of their positions, starting from the initial
// state. It skips events that the query does not match, or that Last and Since exclude. It panics if it needs Evolve
// and that is nil.
func (p Projection[S]) Fold(events []SequencedEvent) S {
	state := p.Initial()
	leaves := p.leaves()
	starts := make([]int, len(leaves))
	for i, leaf := range leaves {
		starts[i] = leaf.start(events)
	}
	for at, event := range events {
		for i, leaf := range leaves {
			if at >= starts[i] && leaf.query.Matches(event) {
				leaf.evolve(&state, event)
			}
		}
	}
	return state
}

// leaf is a projection, other than a composed one, within a state S.
type leaf[S any] struct {
	window
	evolve func(*S, SequencedEvent)
}

func hasLimit[S any](leaves []leaf[S]) bool {
	return slices.ContainsFunc(leaves, func(l leaf[S]) bool { return l.isLimited() })
}

// leaves returns the projections of which p is composed if one of them has a Last or Since, or else p itself. One that
// has a Last or Since of its own is a leaf.
func (p Projection[S]) leaves() []leaf[S] {
	if p.parts != nil && p.Last == 0 && p.Since == "" {
		return p.parts
	}
	return []leaf[S]{{window{p.Query, p.Last, p.Since}, func(state *S, event SequencedEvent) {
		if p.Evolve == nil {
			panic("dcb: Projection.Evolve must not be nil")
		}
		*state = p.Evolve(*state, event)
	}}}
}

// windows returns the windows of the leaves, or nil if the projection needs all events of its query.
func (p Projection[S]) windows() []window {
	leaves := p.leaves()
	if !hasLimit(leaves) {
		return nil
	}
	windows := make([]window, len(leaves))
	for i, leaf := range leaves {
		windows[i] = leaf.window
	}
	return windows
}

// Part is a projection within a composed one, whose state is S. [PartOf] makes it.
type Part[S any] struct {
	query  Query
	begin  func(*S)
	leaves []leaf[S]
}

// PartOf places a projection in a larger state: field returns the address of the projection's own
// state in the larger one. It panics if the projection's Evolve, or field, is nil.
func PartOf[S any, P any](projection Projection[P], field func(*S) *P) Part[S] {
	if projection.Evolve == nil {
		panic("dcb: PartOf: Projection.Evolve must not be nil")
	}
	if field == nil {
		panic("dcb: PartOf: field must not be nil")
	}
	part := Part[S]{
		query: projection.Query,
		begin: func(state *S) { *field(state) = projection.Initial() },
	}
	for _, inner := range projection.leaves() {
		part.leaves = append(part.leaves, leaf[S]{inner.window, func(state *S, event SequencedEvent) {
			inner.evolve(field(state), event)
		}})
	}
	return part
}

// Compose joins projections into one, which needs one condition, and one read unless a part has Last or Since. Its
// query matches every event that the query of a part matches, and each part sees only its own events: those of its
// query, as far as its Last and Since allow. Its initial state is the zero S in which each part's state is that part's
// initial one. Its Evolve gives an event to each part whose query matches it, whatever Last and Since say. To change
// the composed projection, compose other parts.
func Compose[S any](parts ...Part[S]) Projection[S] {
	queries := make([]Query, len(parts))
	leaves := []leaf[S]{}
	for i, part := range parts {
		queries[i] = part.query
		leaves = append(leaves, part.leaves...)
	}
	union := NewQuery() // using it is an error, as a model of no parts has no events
	if len(queries) > 0 {
		union = queries[0].Or(queries[1:]...)
	}
	composed := Projection[S]{
		Query: union,
		InitialState: func() S {
			var state S
			for _, part := range parts {
				part.begin(&state)
			}
			return state
		},
		Evolve: func(state S, event SequencedEvent) S {
			for _, leaf := range leaves {
				if leaf.query.Matches(event) {
					leaf.evolve(&state, event)
				}
			}
			return state
		},
	}
	if hasLimit(leaves) {
		composed.parts = leaves
	}
	return composed
}

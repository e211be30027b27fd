package dcb

// Projection is a state that is computed from the events of a query. A small one answers one question,
// such as "how many seats are taken?"; [Compose] joins several into the model of a decision.
//
// Evolve is required.
type Projection[S any] struct {
	// Query selects the events that the state is computed from.
	Query Query

	// InitialState returns the state before any event. If it is nil, that is the zero S.
	InitialState func() S

	// Evolve returns the state after the event, which the query matches.
	Evolve func(state S, event SequencedEvent) S
}

// Initial returns the state before any event.
func (p Projection[S]) Initial() S {
	if p.InitialState == nil {
		var state S
		return state
	}
	return p.InitialState()
}

// Fold returns the state after the events, starting from the initial state. It skips events that the
// query does not match. It panics if it needs Evolve and that is nil.
func (p Projection[S]) Fold(events []SequencedEvent) S {
	state := p.Initial()
	for _, event := range events {
		if p.Query.Matches(event) {
			if p.Evolve == nil {
				panic("dcb: Projection.Evolve must not be nil")
			}
			state = p.Evolve(state, event)
		}
	}
	return state
}

// Part is a projection within a composed one, whose state is S. [PartOf] makes it.
type Part[S any] struct {
	query  Query
	begin  func(*S)
	evolve func(*S, SequencedEvent)
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
	return Part[S]{
		query: projection.Query,
		begin: func(state *S) { *field(state) = projection.Initial() },
		evolve: func(state *S, event SequencedEvent) {
			if projection.Query.Matches(event) {
				part := field(state)
				*part = projection.Evolve(*part, event)
			}
		},
	}
}

// Compose joins projections into one, which needs one read and one condition. Its query matches every
// event that the query of a part matches, and each part sees only the events of its own query. Its
// initial state is the zero S in which each part's state is that part's initial one.
func Compose[S any](parts ...Part[S]) Projection[S] {
	queries := make([]Query, len(parts))
	for i, part := range parts {
		queries[i] = part.query
	}
	union := NewQuery() // using it is an error, as a model of no parts has no events
	if len(queries) > 0 {
		union = queries[0].Or(queries[1:]...)
	}
	return Projection[S]{
		Query: union,
		InitialState: func() S {
			var state S
			for _, part := range parts {
				part.begin(&state)
			}
			return state
		},
		Evolve: func(state S, event SequencedEvent) S {
			for _, part := range parts {
				part.evolve(&state, event)
			}
			return state
		},
	}
}

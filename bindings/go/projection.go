package dcb

// Projection is a state made of the events that a query asks for: a small one answers one question
// ("how many seats are taken?"), and [Compose] joins several into the model of a decision.
type Projection[S any] struct {
	// Query asks for the events that the state is made of.
	Query Query

	// InitialState is the state before any event; nil: the zero S.
	InitialState func() S

	// Evolve is the state after the event, which the query matches.
	Evolve func(state S, event SequencedEvent) S
}

// Initial is the state before any event.
func (p Projection[S]) Initial() S {
	if p.InitialState == nil {
		var state S
		return state
	}
	return p.InitialState()
}

// Fold is the state after the events, from the initial state. Events that the query does not match
// are passed over.
func (p Projection[S]) Fold(events []SequencedEvent) S {
	state := p.Initial()
	for _, event := range events {
		if p.Query.Matches(event) {
			state = p.Evolve(state, event)
		}
	}
	return state
}

// Part is a projection's place in a composed one, whose state is S.
type Part[S any] struct {
	query  Query
	begin  func(*S)
	evolve func(*S, SequencedEvent)
}

// PartOf places a projection in a larger state: field points to where its own state is in there.
func PartOf[S any, P any](projection Projection[P], field func(*S) *P) Part[S] {
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

// Compose joins projections into one, which is read once and guarded by one condition: it asks for
// all that any of them asks for, and each sees only what it asks for itself. Its state begins as
// the zero S with the initial states of the parts in it.
func Compose[S any](parts ...Part[S]) Projection[S] {
	queries := make([]Query, len(parts))
	for i, part := range parts {
		queries[i] = part.query
	}
	union := NewQuery() // an error in use: a model of no parts asks for nothing
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

package dcb

import "context"

// Decider describes a decision without a store: which events it depends on, what they mean, and which
// events follow from them. S is the type of its state, C that of its command. [CommandHandler] runs it.
//
// Decide is required, and so are Query and Evolve unless there is a Projection.
type Decider[S any, C any] struct {
	// Query returns the query for the events that a decision about the command depends on.
	Query func(cmd C) Query

	// Decide returns the events to append, none if there is nothing to do, or an error that says
	// why the command is rejected. It is called again with a newer state if an append conflicts.
	Decide func(state S, cmd C) ([]Event, error)

	// Evolve returns the state after the event.
	Evolve func(state S, event SequencedEvent) S

	// InitialState returns the state before any event. If it is nil, that is the zero S.
	InitialState func() S

	// Last and Since restrict what the state is computed from to the newest events of the query, and so what a
	// decision reads: see [Projection]. The append is still conditional on all events of the query.
	Last  int
	Since string

	// Projection returns what a decision about the command has to know, in place of Query, Evolve, InitialState,
	// Last and Since, which must not be set beside it. It suits a state that [Compose] joins of several, and one
	// for which it matters what the command says.
	Projection func(cmd C) Projection[S]

	cache *stateCache[S] // of Cached; or nil
}

// Fold returns the state after the events, starting from the initial state. It takes the events as they are: it
// knows no command, and so neither the query nor what Last and Since exclude of it; the Fold of [Decider.Model]
// does. It panics if it needs Evolve and that is nil, as it is beside a Projection.
func (d Decider[S, C]) Fold(events []SequencedEvent) S {
	var state S
	if d.InitialState != nil {
		state = d.InitialState()
	}
	for _, event := range events {
		if d.Evolve == nil {
			panic("dcb: Decider.Evolve must not be nil")
		}
		state = d.Evolve(state, event)
	}
	return state
}

// Model returns what the decider knows about the command as a [Projection], for [Decide] and [DecideValue]. That of a
// Cached decider remembers states as the decider does; do not change its fields.
func (d Decider[S, C]) Model(cmd C) Projection[S] {
	if d.Projection != nil {
		return d.Projection(cmd)
	}
	model := Projection[S]{
		Query: NewQuery(), Last: d.Last, Since: d.Since, InitialState: d.InitialState, Evolve: d.Evolve, cache: d.cache,
	}
	if d.Query != nil {
		model.Query = d.Query(cmd)
	}
	return model
}

// check returns what is wrong with the fields of the decider.
func (d Decider[S, C]) check() error {
	switch {
	case d.Decide == nil:
		return missing("Decider.Decide")
	case d.cache != nil && (d.Projection != nil || d.Last != 0 || d.Since != ""):
		return invalid("Decider.Cached: must not have a Projection, Last or Since")
	case d.Projection != nil:
		if d.Query != nil || d.Evolve != nil || d.InitialState != nil || d.Last != 0 || d.Since != "" {
			return invalid("Decider.Projection: takes the place of Query, Evolve, InitialState, Last and Since, " +
				"and one of these is set")
		}
	case d.Query == nil:
		return missing("Decider.Query")
	case d.Evolve == nil:
		return missing("Decider.Evolve")
	}
	return nil
}

// CommandHandler runs a [Decider] against a store. It reads the events that the decision depends on,
// decides, and appends the resulting events on the condition that no event which the decision depends
// on was stored in the meantime. If one was, it starts again.
type CommandHandler[S any, C any] struct {
	Decider Decider[S, C]
	Store   EventStore

	// Retry limits how long, how often and how fast a decision is retried. The zero RetryPolicy is a
	// reasonable default.
	Retry RetryPolicy

	// ConditionQuery returns the query that guards the append. If it is nil, that is the Decider's
	// Query. A narrower query lets more appends pass that do not affect each other; a wider one
	// also rejects the append for events that the decision did not read.
	ConditionQuery func(cmd C) Query
}

// Handle decides about the command and appends the events. It is [CommandHandler.Run] for callers that need no
// more than the error.
func (h CommandHandler[S, C]) Handle(ctx context.Context, cmd C) error {
	_, err := h.Run(ctx, cmd)
	return err
}

// Run decides about the command, appends the events, and returns what happened. It returns an error of Decide
// unchanged; a [RetryError], which is an [ErrAppendConditionFailed], once the retries are used up; and
// [ErrInvalidArgument], naming the field, if the Store or a required field of the Decider is nil. The options
// take precedence over the fields of the handler.
func (h CommandHandler[S, C]) Run(ctx context.Context, cmd C, opts ...DecideOption) (Decision, error) {
	if h.Store == nil {
		return Decision{}, missing("CommandHandler.Store")
	}
	if err := h.Decider.check(); err != nil {
		return Decision{}, err
	}
	model := h.Decider.Model(cmd)
	if model.Evolve == nil {
		return Decision{}, missing("Projection.Evolve")
	}
	d := decision{store: h.Store, query: model.Query, windows: model.windows(), retry: h.Retry}
	if h.ConditionQuery != nil {
		WithConditionQuery(h.ConditionQuery(cmd))(&d)
	}
	for _, opt := range opts {
		opt(&d)
	}
	fold := h.Decider.Fold
	switch {
	case d.windows != nil || h.Decider.Projection != nil:
		fold = model.Fold
	case h.Decider.cache != nil:
		fold = model.cachedFold(&d)
	}
	return d.run(ctx, func(events []SequencedEvent) ([]Event, error) {
		return h.Decider.Decide(fold(events), cmd)
	})
}

// missing returns the error for a required field or argument that is nil.
func missing(name string) error {
	return invalid(name + ": must not be nil")
}

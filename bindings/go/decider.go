package dcb

import "context"

// Decider is a decision in parts that need no store: which events it rests on, what they mean, and
// what follows from them. S is its state, C its command. [CommandHandler] runs it.
type Decider[S any, C any] struct {
	// Query asks for the events that a decision about the command rests on.
	Query func(cmd C) Query

	// Decide returns the events to append, none if there is nothing to do, or why the command
	// is refused. It may be called again, with a newer state.
	Decide func(state S, cmd C) ([]Event, error)

	// Evolve is the state after the event.
	Evolve func(state S, event SequencedEvent) S

	// InitialState is the state before any event; nil: the zero S.
	InitialState func() S
}

// Fold is the state after the events, from the initial state.
func (d Decider[S, C]) Fold(events []SequencedEvent) S {
	var state S
	if d.InitialState != nil {
		state = d.InitialState()
	}
	for _, event := range events {
		state = d.Evolve(state, event)
	}
	return state
}

// CommandHandler runs a [Decider] against a store: it reads, decides, and appends what was decided
// on condition that nothing was added that the decision would have rested on. Where something was,
// it begins again.
type CommandHandler[S any, C any] struct {
	Decider Decider[S, C]
	Store   EventStore

	// Retry bounds how often, and how fast, it begins again. The zero RetryPolicy is a good one.
	Retry RetryPolicy

	// ConditionQuery asks for the events that must not have been added, where that is not the
	// Decider's Query: a narrower one lets more appends pass that do not harm each other; a
	// wider one guards against more than was read. nil: the Decider's Query.
	ConditionQuery func(cmd C) Query
}

// Handle decides about the command and appends the events. An error of Decide is returned as it
// is. Where the retries are used up it is [ErrAppendConditionFailed].
func (h CommandHandler[S, C]) Handle(ctx context.Context, cmd C) error {
	query := h.Decider.Query(cmd)
	condition := query
	if h.ConditionQuery != nil {
		condition = h.ConditionQuery(cmd)
	}
	d := decision{store: h.Store, query: query, condition: condition, retry: h.Retry}
	return d.run(ctx, func(events []SequencedEvent) ([]Event, error) {
		return h.Decider.Decide(h.Decider.Fold(events), cmd)
	})
}

package dcb

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Decision is the outcome of a decision.
type Decision struct {
	// First and Last are the positions of the first and the last event of the decision. They are 0 if it
	// has none, and if the store does not implement [EventAppender].
	First, Last int64
	// Attempts is how many times the decision was made, or looked up if it is Repeated.
	Attempts int
	// Repeated reports that the events were stored already, by the request that [WithRequestID] names, or
	// by an append with the same ids: this decision has stored nothing.
	Repeated bool
}

// EventAppender is implemented by stores that return the positions of the events that they append. The stores
// of this package implement it. If a store does, decisions append by AppendEvents, and not by Append.
type EventAppender interface {
	// AppendEvents is like the Append of [EventStore] and also returns the positions of the events.
	AppendEvents(ctx context.Context, events []Event, conditions ...AppendCondition) (Appended, error)
}

// DecideOption configures one decision: a call of [Decide], for instance, or of the Run of [CommandHandler].
type DecideOption func(*decision)

// WithRetry makes the decision retry by this policy.
func WithRetry(policy RetryPolicy) DecideOption {
	return func(d *decision) { d.retry = policy }
}

// WithConditionQuery guards the append of the decision by this query, in place of the model's own. See
// the ConditionQuery of [CommandHandler].
func WithConditionQuery(query Query) DecideOption {
	return func(d *decision) { d.guard = &query }
}

// Decide reads the events of the model, calls decide with its state, and appends the events that
// decide returns, on the condition that no event of the model was stored in the meantime. If one was,
// it starts again: decide may be called several times. It returns what happened, and the same errors as the
// Run of [CommandHandler].
func Decide[S any](
	ctx context.Context, store EventStore, model Projection[S],
	decide func(state S) ([]Event, error), opts ...DecideOption,
) (Decision, error) {
	if store == nil {
		return Decision{}, missing("store")
	}
	d, err := newDecision(store, model, decide == nil, opts)
	if err != nil {
		return Decision{}, err
	}
	fold := model.foldOf(d)
	return d.run(ctx, func(events []SequencedEvent) ([]Event, error) {
		return decide(fold(events))
	})
}

// DecideValue is like [Decide], for a decision that also has a value of its own to return, such as the number
// of the invoice that it makes.
//
// With [WithRequestID], the value is stored as JSON in the metadata of the first event, under the key dcb_value,
// and a repeated decision returns the stored one. It is the zero V if the request was first decided without a
// value, by [Decide]. If decide returns an error, or DecideValue fails otherwise, the value is the zero V.
func DecideValue[S, V any](
	ctx context.Context, store EventStore, model Projection[S],
	decide func(state S) ([]Event, V, error), opts ...DecideOption,
) (V, Decision, error) {
	var value, none V
	if store == nil {
		return none, Decision{}, missing("store")
	}
	d, err := newDecision(store, model, decide == nil, opts)
	if err != nil {
		return none, Decision{}, err
	}
	d.encodeValue = func() ([]byte, error) {
		encoded, err := json.Marshal(value)
		if err != nil {
			return nil, notEncoded("value", err)
		}
		return encoded, nil
	}
	d.decodeValue = func(encoded []byte) error {
		var stored V
		err := json.Unmarshal(encoded, &stored)
		value = stored
		return err
	}
	fold := model.foldOf(d)
	decision, err := d.run(ctx, func(events []SequencedEvent) (decided []Event, err error) {
		decided, value, err = decide(fold(events))
		return decided, err
	})
	if err != nil {
		return none, decision, err
	}
	return value, decision, nil
}

// newDecision returns the decision of a model, or an error if a function is missing.
func newDecision[S any](store EventStore, model Projection[S], isUndecided bool, opts []DecideOption) (*decision, error) {
	switch {
	case model.Evolve == nil:
		return nil, missing("Projection.Evolve")
	case isUndecided:
		return nil, missing("decide")
	}
	d := &decision{store: store, query: model.Query, windows: model.windows()}
	for _, opt := range opts {
		opt(d)
	}
	return d, nil
}

// decision reads, decides and appends until an append does not conflict.
type decision struct {
	store EventStore
	query Query
	guard *Query // the query of the condition; nil: query
	retry RetryPolicy
	// windows are what the decision needs of the query's events; nil: all of them.
	windows []window

	// request is the tag of the request, or nil.
	request *Tag
	// encodeValue returns the JSON of the decision's value, and decodeValue replaces the value by one that was
	// stored; both are nil if the decision has none.
	encodeValue func() ([]byte, error)
	decodeValue func([]byte) error

	// recall returns the last event that a remembered state has seen, or nil, and forget tells that the store has
	// another one there; both are nil if no state is remembered.
	recall func() *SequencedEvent
	forget func()

	// appends is how the events are appended; nil: by the store.
	appends func(context.Context, []Event, []AppendCondition) (Appended, error)
	// attempt is the number of attempts so far.
	attempt int
	// isRefused is set if the last error is one of the caller's own function.
	isRefused bool
}

func (d *decision) run(ctx context.Context, decide func([]SequencedEvent) ([]Event, error)) (result Decision, err error) {
	observer := d.observer()
	op := observe(ctx, observer, OperationDecide)
	ctx = op.ctx
	outcome := Operation{}
	defer func() {
		outcome.Err = err
		op.tell(outcome)
	}()
	start := time.Now()
	policy := d.retry.withDefaults(ctx)
	queue := d.queue()
	if err := d.checkRequest(); err != nil {
		return Decision{}, err
	}
	if err := d.letLosersPass(ctx, queue); err != nil {
		return Decision{}, err
	}
	var conflict error // of the last append
	var own *turn
	defer func() {
		if own != nil {
			queue.leave(own)
		}
	}()
	for attempt := 1; ; attempt++ {
		d.attempt, outcome.Attempt = attempt, attempt
		read, stored, position, err := d.read(ctx)
		if err != nil {
			return Decision{}, gaveUp(attempt-1, start, conflict, err)
		}
		if len(stored) > 0 {
			return d.repeat(stored, attempt)
		}
		decided, err := decide(read)
		if err != nil || len(decided) == 0 {
			outcome.Refused = err != nil
			return Decision{Attempts: attempt}, err
		}
		if d.request != nil {
			if decided, err = d.markRequest(decided); err != nil {
				return Decision{}, err
			}
		}
		appended, err := d.append(ctx, decided, d.conditions(position))
		if err == nil {
			outcome.Events = len(decided)
			return Decision{appended.First, appended.Last, attempt, appended.Repeated}, nil
		}
		if !errors.Is(err, ErrAppendConditionFailed) {
			outcome.Refused = d.isRefused
			return Decision{}, gaveUp(attempt-1, start, conflict, err)
		}
		d.isRefused = false
		conflict = err
		lost := time.Now()
		var delay time.Duration
		if queue == nil {
			delay = policy.delay(attempt)
		} else if attempt > 1 {
			delay = policy.delay(attempt - 1)
		}
		if !policy.allows(attempt, lost.Sub(start), delay) {
			return Decision{}, &RetryError{Attempts: attempt, Elapsed: lost.Sub(start), Err: conflict}
		}
		if queue != nil && own == nil {
			own = queue.enter(d.guards(), decided)
		}
		ended := pause(ctx, delay)
		if ended == nil && own != nil {
			ended = queue.wait(ctx, own)
		}
		if observer != nil {
			observer.Observe(ctx, Operation{
				Kind: OperationRetry, Start: lost, Duration: time.Since(lost), Attempt: attempt, Err: conflict,
			})
		}
		if ended != nil {
			return Decision{}, gaveUp(attempt, start, conflict, ended)
		}
	}
}

// letLosersPass waits for the decisions that lost and would lose to this one.
func (d *decision) letLosersPass(ctx context.Context, queue *turns) error {
	if queue == nil {
		return nil
	}
	visit := queue.visit(d.guards())
	if visit == nil {
		return nil
	}
	return queue.wait(ctx, visit)
}

func (d *decision) append(ctx context.Context, events []Event, conditions []AppendCondition) (Appended, error) {
	if d.appends != nil {
		return d.appends(ctx, events, conditions)
	}
	if store, ok := d.store.(EventAppender); ok {
		return store.AppendEvents(ctx, events, conditions...)
	}
	return Appended{}, d.store.Append(ctx, events, conditions...)
}

// guards returns the queries that guard the append.
func (d *decision) guards() []Query {
	guards := make([]Query, 0, 2)
	if d.guard == nil {
		guards = append(guards, d.query)
	} else {
		guards = append(guards, *d.guard)
	}
	if d.request != nil {
		guards = append(guards, d.requestQuery())
	}
	return guards
}

// conditions returns the conditions of an append after a read up to the position.
func (d *decision) conditions(position int64) []AppendCondition {
	guards := d.guards()
	conditions := make([]AppendCondition, len(guards))
	for i, guard := range guards {
		conditions[i] = AppendCondition{FailIfEventsMatch: guard, After: position}
	}
	return conditions
}

// read returns the events of the query, those of the request, and a position that is safe as the After of the
// conditions. That of ReadSnapshot is the head. That of Read is the last event that its query matches: so if the
// condition has a query of its own, Read has to look for the events of both. Otherwise an event that
// only the condition's query matches would fail every attempt.
//
// If a remembered state is valid, the events of the query are those that it has not seen.
func (d *decision) read(ctx context.Context) (asked, stored []SequencedEvent, position int64, err error) {
	asked, stored, position, isValid, err := d.readOn(ctx)
	if isValid || err != nil {
		return asked, stored, position, err
	}
	query, read := d.query, readFunc(d.store.Read)
	if store, ok := d.store.(SnapshotReader); ok {
		read = store.ReadSnapshot
	} else if d.guard != nil {
		query = query.Or(*d.guard)
	}
	if d.request != nil {
		query = query.Or(d.requestQuery())
	}
	var events []SequencedEvent
	if d.windows == nil {
		events, position, err = read(ctx, query)
	} else {
		var more []Query
		if d.request != nil {
			more = append(more, d.requestQuery())
		}
		events, position, err = readWindows(ctx, read, d.windows, more, query)
	}
	if err != nil {
		return nil, nil, 0, err
	}
	if len(query.items) == len(d.query.items) {
		asked = events
	} else {
		for _, event := range events {
			if d.query.Matches(event) {
				asked = append(asked, event)
			}
		}
	}
	if d.request != nil {
		for _, event := range events {
			if event.HasTag(d.request.Key, d.request.Value) {
				stored = append(stored, event)
			}
		}
	}
	return asked, stored, position, nil
}

// library returns the store of this package that the decision's store is or wraps, or nil.
func (d *decision) library() *Store {
	store := d.store
	for {
		switch s := store.(type) {
		case interface{ self() *Store }:
			return s.self()
		case interface{ Unwrap() EventStore }:
			store = s.Unwrap()
		default:
			return nil
		}
	}
}

// observer returns the observer of the store, or of the store that it wraps, or nil.
func (d *decision) observer() Observer {
	return d.library().observing()
}

// queue returns the queue of the store, or of the store that it wraps, or nil.
func (d *decision) queue() *turns {
	store := d.library()
	if store == nil {
		return nil
	}
	return &store.turns
}

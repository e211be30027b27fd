package dcb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// RetryPolicy limits how a decision is retried after its condition failed. Before each retry there is
// a random delay. Its upper bound starts at MinDelay and doubles with each retry, up to MaxDelay.
type RetryPolicy struct {
	// Attempts is the maximum number of times that the decision is made. 1 means no retry, and 0
	// means the default, 10.
	Attempts int
	// MinDelay is the upper bound of the first delay. 0 means the default, 1 millisecond.
	MinDelay time.Duration
	// MaxDelay is the upper bound of every delay. 0 means the default, 100 milliseconds.
	MaxDelay time.Duration
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	if p.Attempts <= 0 {
		p.Attempts = 10
	}
	if p.MinDelay <= 0 {
		p.MinDelay = time.Millisecond
	}
	if p.MaxDelay <= 0 {
		p.MaxDelay = 100 * time.Millisecond
	}
	return p
}

// delay returns how long to wait after the given number of attempts. It is random, so that two
// decisions which conflicted do not meet again.
func (p RetryPolicy) delay(attempts int) time.Duration {
	bound := p.MinDelay
	for i := 1; i < attempts && bound < p.MaxDelay; i++ {
		bound *= 2
	}
	return rand.N(min(bound, p.MaxDelay)) + 1
}

// DecideOption configures one call of [Decide].
type DecideOption func(*decision)

// WithRetry makes [Decide] retry by this policy.
func WithRetry(policy RetryPolicy) DecideOption {
	return func(d *decision) { d.retry = policy }
}

// WithConditionQuery guards the append of [Decide] by this query, in place of the model's own. See
// the ConditionQuery of [CommandHandler].
func WithConditionQuery(query Query) DecideOption {
	return func(d *decision) { d.guard = &query }
}

// Decide reads the events of the model, calls decide with its state, and appends the events that
// decide returns, on the condition that no event of the model was stored in the meantime. If one was,
// it starts again: decide may be called several times. It returns the same errors as the Handle of
// [CommandHandler].
func Decide[S any](
	ctx context.Context, store EventStore, model Projection[S],
	decide func(state S) ([]Event, error), opts ...DecideOption,
) error {
	switch {
	case store == nil:
		return missing("store")
	case model.Evolve == nil:
		return missing("Projection.Evolve")
	case decide == nil:
		return missing("decide")
	}
	d := decision{store: store, query: model.Query}
	for _, opt := range opts {
		opt(&d)
	}
	return d.run(ctx, func(events []SequencedEvent) ([]Event, error) {
		return decide(model.Fold(events))
	})
}

// decision reads, decides and appends until an append does not conflict.
type decision struct {
	store EventStore
	query Query
	guard *Query // the query of the condition; nil: query
	retry RetryPolicy
}

func (d *decision) run(ctx context.Context, decide func([]SequencedEvent) ([]Event, error)) (err error) {
	observer := d.observer()
	op := observe(ctx, observer, OperationDecide)
	ctx = op.ctx
	outcome := Operation{}
	defer func() {
		outcome.Err = err
		op.tell(outcome)
	}()
	policy := d.retry.withDefaults()
	for attempt := 1; ; attempt++ {
		outcome.Attempt = attempt
		read, position, err := d.read(ctx)
		if err != nil {
			return err
		}
		decided, err := decide(read)
		if err != nil || len(decided) == 0 {
			outcome.Refused = err != nil
			return err
		}
		err = d.store.Append(ctx, decided, AppendCondition{FailIfEventsMatch: d.condition(), After: position})
		if err == nil {
			outcome.Events = len(decided)
		}
		if !errors.Is(err, ErrAppendConditionFailed) || attempt >= policy.Attempts {
			return err
		}
		delay := policy.delay(attempt)
		if observer != nil {
			observer.Observe(ctx, Operation{
				Kind: OperationRetry, Start: time.Now(), Duration: delay, Attempt: attempt, Err: err,
			})
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return fmt.Errorf("%w, before the retry: %w", err, ctx.Err())
		}
	}
}

// condition returns the query that guards the append.
func (d *decision) condition() Query {
	if d.guard == nil {
		return d.query
	}
	return *d.guard
}

// read returns the events of the query, and a position that is safe as the After of the condition.
// That of ReadSnapshot is the head. That of Read is the last event that its query matches: so if the
// condition has a query of its own, Read has to look for the events of both. Otherwise an event that
// only the condition's query matches would fail every attempt.
func (d *decision) read(ctx context.Context) ([]SequencedEvent, int64, error) {
	if store, ok := d.store.(SnapshotReader); ok {
		return store.ReadSnapshot(ctx, d.query)
	}
	if d.guard == nil {
		return d.store.Read(ctx, d.query)
	}
	events, position, err := d.store.Read(ctx, d.query.Or(*d.guard))
	if err != nil {
		return nil, 0, err
	}
	asked := events[:0:0]
	for _, event := range events {
		if d.query.Matches(event) {
			asked = append(asked, event)
		}
	}
	return asked, position, nil
}

// observer returns the observer of the store, or of the store that it wraps, or nil.
func (d *decision) observer() Observer {
	store := d.store
	for {
		switch s := store.(type) {
		case interface{ observing() Observer }:
			return s.observing()
		case interface{ Unwrap() EventStore }:
			store = s.Unwrap()
		default:
			return nil
		}
	}
}

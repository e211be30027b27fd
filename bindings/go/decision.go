package dcb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// RetryPolicy says how a decision is made again after its condition failed. Before each new attempt
// there is a pause of a random length up to a bound, which doubles from attempt to attempt.
type RetryPolicy struct {
	// Attempts is how often the decision is made at most: 1 is no retry; 0 is the default, 10.
	Attempts int
	// MinPause is the first bound; 0 is the default, 1 millisecond.
	MinPause time.Duration
	// MaxPause is the highest bound; 0 is the default, 100 milliseconds.
	MaxPause time.Duration
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	if p.Attempts <= 0 {
		p.Attempts = 10
	}
	if p.MinPause <= 0 {
		p.MinPause = time.Millisecond
	}
	if p.MaxPause <= 0 {
		p.MaxPause = 100 * time.Millisecond
	}
	return p
}

// pause is how long to wait after so many attempts. Two who lost to each other's appends should not
// meet again: hence any length.
func (p RetryPolicy) pause(attempts int) time.Duration {
	bound := p.MinPause
	for i := 1; i < attempts && bound < p.MaxPause; i++ {
		bound *= 2
	}
	return rand.N(min(bound, p.MaxPause)) + 1
}

// DecideOption is a choice about one decision that [Decide] makes.
type DecideOption func(*decision)

// WithRetry sets the retry policy.
func WithRetry(policy RetryPolicy) DecideOption {
	return func(d *decision) { d.retry = policy }
}

// WithConditionQuery guards the append by this query in place of the model's own; see
// [CommandHandler].
func WithConditionQuery(query Query) DecideOption {
	return func(d *decision) { d.condition = query }
}

// Decide reads what the model asks for, decides with its state, and appends the events on condition
// that no event came in between which the model asks for. Then it begins again, as [CommandHandler]
// does: decide may be called several times.
func Decide[S any](
	ctx context.Context, store EventStore, model Projection[S],
	decide func(state S) ([]Event, error), opts ...DecideOption,
) error {
	d := decision{store: store, query: model.Query, condition: model.Query}
	for _, opt := range opts {
		opt(&d)
	}
	return d.run(ctx, func(events []SequencedEvent) ([]Event, error) {
		return decide(model.Fold(events))
	})
}

type decision struct {
	store            EventStore
	query, condition Query
	retry            RetryPolicy
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
		err = d.store.Append(ctx, decided, AppendCondition{FailIfEventsMatch: d.condition, After: position})
		if err == nil {
			outcome.Events = len(decided)
		}
		if !errors.Is(err, ErrAppendConditionFailed) || attempt >= policy.Attempts {
			return err
		}
		pause := policy.pause(attempt)
		if observer != nil {
			observer.Observe(ctx, Operation{
				Kind: OperationRetry, Start: time.Now(), Duration: pause, Attempt: attempt, Err: err,
			})
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%w, before it was tried again: %w", err, ctx.Err())
		}
	}
}

// read gives the events and a position that is safe as the After of the condition. What Read of
// any store returns is safe: all matching events up to it were returned. The snapshot's position
// is higher, so that the condition has less to look at.
func (d *decision) read(ctx context.Context) ([]SequencedEvent, int64, error) {
	if store, ok := d.store.(SnapshotReader); ok {
		return store.ReadSnapshot(ctx, d.query)
	}
	return d.store.Read(ctx, d.query)
}

// observer is who is told of the store's operations, nil for nobody.
func (d *decision) observer() Observer {
	if store, ok := d.store.(interface{ observing() Observer }); ok {
		return store.observing()
	}
	return nil
}

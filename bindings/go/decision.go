package dcb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
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

// RetryPolicy limits how long, how often and how fast a decision is retried after its condition failed.
//
// Of the decisions on one [Store] that have lost to others, the oldest goes next, and those that it affects
// wait for it. So the first retry begins at once. Before each further one, and before each retry on a store
// without such a queue, there is a random delay. Its upper bound starts at MinDelay and doubles with each
// retry, up to MaxDelay.
type RetryPolicy struct {
	// Timeout is how long after the beginning of the decision a retry may begin. 0 means the default: until
	// the deadline of the context, or for 10 seconds if it has none. A negative Timeout means no limit but
	// that deadline.
	Timeout time.Duration
	// Attempts is the maximum number of times that the decision is made. 1 means no retry, and 0 means no
	// limit.
	Attempts int
	// MinDelay is the upper bound of the first delay. 0 means the default, 1 millisecond.
	MinDelay time.Duration
	// MaxDelay is the upper bound of every delay. 0 means the default, 100 milliseconds.
	MaxDelay time.Duration
}

// defaultRetryTimeout is the Timeout of a policy if neither it nor the context sets a limit.
const defaultRetryTimeout = 10 * time.Second

// withDefaults returns the policy for a decision with this context.
func (p RetryPolicy) withDefaults(ctx context.Context) RetryPolicy {
	if _, ok := ctx.Deadline(); !ok && p.Timeout == 0 {
		p.Timeout = defaultRetryTimeout
	}
	if p.MinDelay <= 0 {
		p.MinDelay = time.Millisecond
	}
	if p.MaxDelay <= 0 {
		p.MaxDelay = 100 * time.Millisecond
	}
	return p
}

// allows reports whether the policy allows another attempt after so many, and a time, with a delay before it.
func (p RetryPolicy) allows(attempts int, elapsed, delay time.Duration) bool {
	return (p.Attempts <= 0 || attempts < p.Attempts) && (p.Timeout <= 0 || elapsed+delay < p.Timeout)
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

// RetryError is returned when a decision, or a transaction of [SQLiteStore.InTx], gave up, because it kept
// conflicting with others until the [RetryPolicy] or the context allowed no further attempt. Nothing was stored.
// [errors.Is] finds [ErrAppendConditionFailed], or [ErrBusy] if a transaction did not get its lock, and also the
// context's error if that ended the retries.
type RetryError struct {
	// Attempts is how many attempts were made.
	Attempts int
	// Elapsed is how long that took, with the delays.
	Elapsed time.Duration
	// Err is the error of the last attempt that conflicted.
	Err error

	// cause is what ended the retries, or nil if the policy did.
	cause error
}

// Error returns a message with the number of attempts and the time.
func (e *RetryError) Error() string {
	text := "1 attempt"
	if e.Attempts != 1 {
		text = fmt.Sprint(e.Attempts, " attempts")
	}
	text = fmt.Sprintf("dcb: gave up after %s in %v: %v", text, e.Elapsed.Round(time.Microsecond), e.Err)
	if e.cause != nil {
		text += " (" + e.cause.Error() + ")"
	}
	return text
}

// Unwrap returns the error of the last attempt that conflicted, and what ended the retries.
func (e *RetryError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.cause}
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
	return d.run(ctx, func(events []SequencedEvent) ([]Event, error) {
		return decide(model.Fold(events))
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
	decision, err := d.run(ctx, func(events []SequencedEvent) (decided []Event, err error) {
		decided, value, err = decide(model.Fold(events))
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

// pause waits for the delay or the end of the context, whose error it returns.
func pause(ctx context.Context, delay time.Duration) error {
	if delay <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gaveUp returns the error of a decision that lost so many times and was then ended by err. If err says that
// the time was over, and that the attempt stored nothing, the conflict is what the caller has to know.
func gaveUp(attempts int, start time.Time, conflict, err error) error {
	isOver := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	var failure *Error
	if errors.As(err, &failure) && failure.Status != StatusBusy && failure.Status != StatusCancelled {
		isOver = false
	}
	if conflict == nil || !isOver {
		return err
	}
	return &RetryError{Attempts: attempts, Elapsed: time.Since(start), Err: conflict, cause: err}
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
func (d *decision) read(ctx context.Context) (asked, stored []SequencedEvent, position int64, err error) {
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

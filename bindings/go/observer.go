package dcb

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// Observer is called after every append, read, wait, decision and retry of a store that was opened with
// [WithObserver], on the goroutine that ran it. It must be quick and safe for concurrent use.
//
// It is not called for a call that does not reach the library: one whose context was done before, a request
// that cannot be encoded, or a wait for an event that is stored already. For decisions on a store that a
// program has wrapped, see [EventStore].
type Observer interface {
	Observe(ctx context.Context, operation Operation)
}

// StartObserver is an [Observer] that is also called before an operation, which tracing needs.
type StartObserver interface {
	Observer

	// ObserveStart is called before an append, a read, a wait or a decision. It returns ctx or a context
	// derived from it. Observe receives that context, and so do the operations within this one: the
	// reads and appends of a decision.
	ObserveStart(ctx context.Context, kind OperationKind) context.Context
}

// OperationKind is the kind of an [Operation].
type OperationKind string

// These are the kinds of operations.
const (
	OperationAppend OperationKind = "append"
	OperationRead   OperationKind = "read"
	OperationWait   OperationKind = "wait"
	// OperationDecide is a decision of a [CommandHandler] or of [Decide], with its retries. The reads and
	// appends within it are operations of their own.
	OperationDecide OperationKind = "decide"
	// OperationRetry is the delay before a decision is made again because its condition failed.
	OperationRetry OperationKind = "retry"
)

// Operation describes to an [Observer] what a store did.
type Operation struct {
	Kind OperationKind
	// Start is when the operation began.
	Start time.Time
	// Duration is how long it took. A read lasts until its last event, and includes the time that the
	// body of a loop over [Store.Events] takes. For a retry it is the delay.
	Duration time.Duration
	// Events is the number of events that were appended or read. For a decision it is the number of
	// events appended.
	Events int
	// Position is the position of the last event appended, the position of a read that came to its end,
	// or the head that a wait returned. It is 0 if the operation failed, and for a decision.
	Position int64
	// Attempt is the number of attempts so far, for a retry and a decision.
	Attempt int
	// Err is the error of the operation, or nil.
	Err error
	// Refused reports whether Err comes from the caller's own decision, and not from the store.
	Refused bool
}

// Failed reports whether the store failed. A failed condition is an expected outcome and no failure, nor is the
// end of ctx, the context of the operation, or a command that the decision rejected.
func (o Operation) Failed(ctx context.Context) bool {
	if o.Err == nil || o.Refused || errors.Is(o.Err, ErrAppendConditionFailed) {
		return false
	}
	ended := ctx.Err()
	return ended == nil || !errors.Is(o.Err, ended)
}

// Observers returns an observer that calls each of several.
func Observers(observers ...Observer) Observer {
	return observerList(observers)
}

type observerList []Observer

func (l observerList) ObserveStart(ctx context.Context, kind OperationKind) context.Context {
	for _, observer := range l {
		ctx = observeStart(ctx, observer, kind)
	}
	return ctx
}

func (l observerList) Observe(ctx context.Context, operation Operation) {
	for _, observer := range l {
		observer.Observe(ctx, operation)
	}
}

// observeStart returns the context of the operation.
func observeStart(ctx context.Context, observer Observer, kind OperationKind) context.Context {
	if observer, ok := observer.(StartObserver); ok {
		return observer.ObserveStart(ctx, kind)
	}
	return ctx
}

// observation is an operation that runs.
type observation struct {
	ctx      context.Context
	observer Observer // may be nil
	kind     OperationKind
	start    time.Time
}

// observe begins an operation.
func observe(ctx context.Context, observer Observer, kind OperationKind) observation {
	if observer == nil {
		return observation{ctx: ctx}
	}
	start := time.Now()
	return observation{observeStart(ctx, observer, kind), observer, kind, start}
}

// end reports the end of an operation.
func (o observation) end(events int, position int64, err error) {
	o.tell(Operation{Events: events, Position: position, Err: err})
}

// tell reports the end of an operation, with the fields that it is given and the times.
func (o observation) tell(operation Operation) {
	if o.observer == nil {
		return
	}
	operation.Kind, operation.Start, operation.Duration = o.kind, o.start, time.Since(o.start)
	o.observer.Observe(o.ctx, operation)
}

// SlogObserver returns an observer that logs operations. It logs failures at level error, and everything else,
// including failed conditions, rejected commands and retries, at level debug.
func SlogObserver(logger *slog.Logger) Observer {
	return slogObserver{logger}
}

type slogObserver struct {
	logger *slog.Logger
}

func (o slogObserver) Observe(ctx context.Context, operation Operation) {
	level := slog.LevelDebug
	if operation.Failed(ctx) {
		level = slog.LevelError
	}
	if !o.logger.Enabled(ctx, level) {
		return
	}
	attributes := []slog.Attr{
		slog.Duration("duration", operation.Duration),
		slog.Int("events", operation.Events),
		slog.Int64("position", operation.Position),
	}
	if operation.Attempt > 0 {
		attributes = append(attributes, slog.Int("attempt", operation.Attempt))
	}
	if operation.Err != nil {
		attributes = append(attributes, slog.String("error", operation.Err.Error()))
	}
	o.logger.LogAttrs(ctx, level, "dcb "+string(operation.Kind), attributes...)
}

// Counters is an [Observer] that counts operations. The zero Counters is ready to use.
type Counters struct {
	// Appends counts successful appends, and EventsAppended the events in them.
	Appends, EventsAppended atomic.Int64
	// Conflicts counts appends whose condition failed, and Retries the decisions that were made again.
	Conflicts, Retries atomic.Int64
	// Reads counts reads that came to their end or that the caller left, and EventsRead their events.
	Reads, EventsRead atomic.Int64
	// Waits counts waits for an event, and WaitNanoseconds is the time spent in them.
	Waits, WaitNanoseconds atomic.Int64
	// Failures counts operations that failed otherwise, except those that their context ended.
	Failures atomic.Int64
}

// Observe counts one operation.
func (c *Counters) Observe(ctx context.Context, operation Operation) {
	switch operation.Kind {
	case OperationRetry:
		c.Retries.Add(1)
		return
	case OperationDecide: // its appends and reads count
		return
	}
	if operation.Kind == OperationWait {
		c.Waits.Add(1)
		c.WaitNanoseconds.Add(int64(operation.Duration))
	}
	switch {
	case operation.Failed(ctx):
		c.Failures.Add(1)
	case operation.Kind == OperationAppend && operation.Err != nil:
		if errors.Is(operation.Err, ErrAppendConditionFailed) {
			c.Conflicts.Add(1)
		}
	case operation.Kind == OperationAppend:
		c.Appends.Add(1)
		c.EventsAppended.Add(int64(operation.Events))
	case operation.Kind == OperationRead && operation.Err == nil:
		c.Reads.Add(1)
		c.EventsRead.Add(int64(operation.Events))
	}
}

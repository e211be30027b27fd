package dcb

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// Observer is told of every append, read, wait, decision and retry of a store that was opened with
// [WithObserver], after it ended, on the goroutine that ran it. It has to be quick, and safe for
// concurrent use. Of what does not come to the library it is not told: a call whose context was
// done before, a request that cannot be encoded, a wait for what is there already.
type Observer interface {
	Observe(ctx context.Context, operation Operation)
}

// StartObserver is an [Observer] that is told when an operation begins, too, as tracing needs it.
type StartObserver interface {
	Observer

	// ObserveStart is called before an append, a read, a wait or a decision. The context that it
	// returns, ctx or one derived from it, is the operation's: Observe gets it, and so do the
	// operations within this one, which are those of a decision.
	ObserveStart(ctx context.Context, kind OperationKind) context.Context
}

// OperationKind says what an [Operation] did.
type OperationKind string

// The operations that observers are told of.
const (
	OperationAppend OperationKind = "append"
	OperationRead   OperationKind = "read"
	OperationWait   OperationKind = "wait"
	// OperationDecide is a decision of a [CommandHandler] or of [Decide], its retries included. The
	// reads and appends within it are told of as well.
	OperationDecide OperationKind = "decide"
	// OperationRetry is a decision that is about to be made again, after a failed condition.
	OperationRetry OperationKind = "retry"
)

// Operation is what an [Observer] is told.
type Operation struct {
	Kind OperationKind
	// Start and Duration tell when it ran; of a read, from its start to its last event, the
	// time in the loop over [Store.Events] included. Of a retry, Duration is the delay before it.
	Start    time.Time
	Duration time.Duration
	// Events is how many events were appended or read; of a decision, how many it appended.
	Events int
	// Position is that of the last event appended, the position of a read that came to its
	// end, or the head that a wait found; 0 where it failed, and of a decision.
	Position int64
	// Attempt counts, for a retry and a decision, the attempts made so far.
	Attempt int
	// Err is why it failed, or nil.
	Err error
	// Refused tells that Err is what the caller's own function decided: no failure of the store.
	Refused bool
}

// Failed tells whether the store failed: not by a failed condition, which is an expected outcome,
// nor by the end of ctx, the operation's context, nor where the decision was a refusal.
func (o Operation) Failed(ctx context.Context) bool {
	if o.Err == nil || o.Refused || errors.Is(o.Err, ErrAppendConditionFailed) {
		return false
	}
	ended := ctx.Err()
	return ended == nil || !errors.Is(o.Err, ended)
}

// Observers is an observer that tells each of several.
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

// observeStart is the operation's context.
func observeStart(ctx context.Context, observer Observer, kind OperationKind) context.Context {
	if observer, ok := observer.(StartObserver); ok {
		return observer.ObserveStart(ctx, kind)
	}
	return ctx
}

// observation is an operation under way, in the context that it has.
type observation struct {
	ctx      context.Context
	observer Observer // nil: nobody is told
	kind     OperationKind
	start    time.Time
}

func observe(ctx context.Context, observer Observer, kind OperationKind) observation {
	if observer == nil {
		return observation{ctx: ctx}
	}
	start := time.Now()
	return observation{observeStart(ctx, observer, kind), observer, kind, start}
}

func (o observation) end(events int, position int64, err error) {
	o.tell(Operation{Events: events, Position: position, Err: err})
}

// tell tells the observer how the operation ended, and completes what it is told by the rest.
func (o observation) tell(operation Operation) {
	if o.observer == nil {
		return
	}
	operation.Kind, operation.Start, operation.Duration = o.kind, o.start, time.Since(o.start)
	o.observer.Observe(o.ctx, operation)
}

// SlogObserver logs operations: what succeeds, failed conditions, refusals and retries at debug
// level, what fails otherwise at error level.
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

// Counters is an observer that counts. The zero Counters is ready.
type Counters struct {
	// Appends that succeeded, and the events in them.
	Appends, EventsAppended atomic.Int64
	// Conflicts are appends whose condition failed; Retries the decisions made again for it.
	Conflicts, Retries atomic.Int64
	// Reads that came to their end or were left by the caller, and the events they gave.
	Reads, EventsRead atomic.Int64
	// Waits for an event, and the nanoseconds spent in them.
	Waits, WaitNanoseconds atomic.Int64
	// Failures are the operations that failed otherwise, cancelled ones left out.
	Failures atomic.Int64
}

// Observe counts one operation.
func (c *Counters) Observe(ctx context.Context, operation Operation) {
	switch operation.Kind {
	case OperationRetry:
		c.Retries.Add(1)
		return
	case OperationDecide: // the appends and reads in it are counted
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

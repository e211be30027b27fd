package dcb

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// Observer is told of every operation of a store that was opened with [WithObserver], after it
// ended, on the goroutine that ran it. It has to be quick, and safe for concurrent use.
type Observer interface {
	Observe(ctx context.Context, operation Operation)
}

// OperationKind says what an [Operation] did.
type OperationKind string

// The operations that observers are told of.
const (
	OperationAppend OperationKind = "append"
	OperationRead   OperationKind = "read"
	OperationWait   OperationKind = "wait"
	// OperationRetry is a decision that is about to be made again, after a failed condition.
	OperationRetry OperationKind = "retry"
)

// Operation is what an [Observer] is told.
type Operation struct {
	Kind OperationKind
	// Start and Duration tell when it ran; of a read, from its start to its last event, the
	// time in the loop over [Store.Events] included. Of a retry, Duration is the pause before it.
	Start    time.Time
	Duration time.Duration
	// Events is how many events were appended or read.
	Events int
	// Position is that of the last event appended, the position of a read that came to its
	// end, or the head that a wait found; 0 where it failed.
	Position int64
	// Attempt counts, for a retry, the attempts made so far.
	Attempt int
	// Err is why it failed, or nil.
	Err error
}

// Observers is an observer that tells each of several.
func Observers(observers ...Observer) Observer {
	return observerList(observers)
}

type observerList []Observer

func (l observerList) Observe(ctx context.Context, operation Operation) {
	for _, observer := range l {
		observer.Observe(ctx, operation)
	}
}

// SlogObserver logs operations: what succeeds, failed conditions and retries at debug level, what
// fails otherwise at error level.
func SlogObserver(logger *slog.Logger) Observer {
	return slogObserver{logger}
}

type slogObserver struct {
	logger *slog.Logger
}

func (o slogObserver) Observe(ctx context.Context, operation Operation) {
	level := slog.LevelDebug
	if operation.Err != nil && !expected(ctx, operation.Err) {
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
	if operation.Kind == OperationRetry {
		c.Retries.Add(1)
		return
	}
	if operation.Kind == OperationWait {
		c.Waits.Add(1)
		c.WaitNanoseconds.Add(int64(operation.Duration))
	}
	switch {
	case operation.Err != nil && !expected(ctx, operation.Err):
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

// expected tells the outcomes that are no failure of the store: a conflict, and an end that the
// caller's context brought about.
func expected(ctx context.Context, err error) bool {
	ended := ctx.Err()
	return errors.Is(err, ErrAppendConditionFailed) || ended != nil && errors.Is(err, ended)
}

package projector

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// Handler applies one event to the tables of a read model, in the transaction tx. It must return the error
// of every statement that fails, and must not end the transaction. It may be called again with an event
// whose transaction was rolled back, so it must have no other effects than those in tx.
//
// It must not append to a store in the database of tx, except by [dcb.SQLiteStore.AppendTx] in tx itself,
// since the transaction holds the write lock.
type Handler func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error

// Source is the store that a projector reads. [dcb.Store], [dcb.SQLiteStore] and [dcb.MemoryStore]
// implement it.
type Source interface {
	// Head returns the position of the newest event.
	Head(ctx context.Context) (int64, error)
	// RawEvents returns an iterator over the matching events.
	RawEvents(ctx context.Context, query dcb.Query, opts ...dcb.ReadOption) iter.Seq2[dcb.RawEvent, error]
	// Decode decodes the payload of an event.
	Decode(event dcb.RawEvent) (dcb.SequencedEvent, error)
	// Wait returns the head as soon as it is above after.
	Wait(ctx context.Context, after int64) (int64, error)
}

var _ Source = (*dcb.Store)(nil)

// FailurePolicy says what happens to an event that Handle has refused in every attempt.
type FailurePolicy int

const (
	// Stop ends Run with an [*EventError]. The event is applied first when Run is called again.
	Stop FailurePolicy = iota
	// Park sets the event aside and goes on with the next one. Later events are applied although the
	// read model lacks this one: Park suits handlers for which events are independent of each other.
	Park
	// Retry tries the event again until Handle accepts it. No other event is applied meanwhile.
	Retry
)

// Projector applies the events of a query to tables of the program, each exactly once and in the order of
// their positions. Name, Query, Store, DB and Handle are required; the zero Query selects every event. Do
// not change or copy a Projector that is in use. Any number of goroutines may call its methods at the same
// time.
//
// A Projector without Query, Store and Handle may be used for WaitFor and ActiveVersion, in a program that
// reads the tables but does not run the projector.
type Projector struct {
	// Name is the name of the read model. Projectors that have the same name, version, prefix and
	// database are one: only one of them applies events at a time.
	Name string
	// Version distinguishes read models of the same name, of which one is built beside the other.
	Version int
	// Query selects the events.
	Query dcb.Query
	// Handle applies an event.
	Handle Handler
	// Store has the events.
	Store Source
	// DB is the database of the read model.
	DB *sql.DB
	// Dialect is the SQL that DB speaks. The default is that of SQLite.
	Dialect Dialect
	// Prefix begins the names of the tables in which projectors keep their state. The default is
	// "projector_". It may name a schema: "app.projector_".
	Prefix string

	// BatchSize is the number of events that are applied in one transaction at most. The default is 256.
	// A batch also ends when the data of its events exceed 1 MiB.
	BatchSize int
	// Lease is how long another process waits for a sign of life before it takes over. The default is 15
	// seconds. Three times in a lease, an idle projector writes a row. No event is applied twice if it is
	// too short, but transactions may be rolled back.
	Lease time.Duration

	// OnFailure says what happens to an event that Handle has refused in every attempt.
	OnFailure FailurePolicy
	// Attempts is how often Handle is called with an event before OnFailure applies, and how often
	// a statement on the checkpoint is tried if the database or the store fails, before Run returns the
	// error. The default is 3.
	Attempts int
	// MinDelay and MaxDelay limit the time between two attempts, which doubles each time. The defaults are
	// 50 milliseconds and 5 seconds. It never exceeds a third of Lease.
	MinDelay, MaxDelay time.Duration

	// Logger is told of failed attempts, parked events and leases. If it is nil, nothing is logged.
	Logger *slog.Logger

	progress progress
}

// ErrRetired is returned for a version of a read model that another version has replaced.
var ErrRetired = errors.New("projector: this version was replaced by another one")

// EventError is returned by Run for an event that Handle has refused in every attempt, and by Replay for one
// that it refuses again.
type EventError struct {
	// Projector is the name of the projector.
	Projector string
	// Position and Type are those of the event.
	Position int64
	Type     string
	// Attempts is how often Handle was called with the event in this run.
	Attempts int
	// Err is the error of Handle, or that of decoding the event.
	Err error
}

// Error returns a message that names the projector, the event and the cause.
func (e *EventError) Error() string {
	return fmt.Sprintf("projector %q: event %d of type %q failed in %d attempts: %v",
		e.Projector, e.Position, e.Type, e.Attempts, e.Err)
}

// Unwrap returns the error of Handle.
func (e *EventError) Unwrap() error {
	return e.Err
}

// Run applies events until ctx is done: first those that are stored, then new ones as they are appended. If
// another process applies them, Run waits until it can take over. It returns
//
//   - the error of ctx,
//   - an [*EventError] if an event was refused and OnFailure is [Stop],
//   - [ErrRetired] if another version has replaced this one,
//   - [dcb.ErrHistoryRewound] if the history of the store is not the one that was applied: call Reset,
//   - [dcb.ErrClosed] if the store is closed,
//   - the error of the database or of the store if it persists.
//
// After any of them, Run can be called again and goes on where it ended.
func (p *Projector) Run(ctx context.Context) error {
	t, err := p.tables()
	if err != nil {
		return err
	}
	if p.Handle == nil || p.Store == nil {
		return invalid("Handle and Store must not be nil")
	}
	r := newRunner(p, t)
	defer r.release(ctx)
	return r.run(ctx)
}

// invalid returns an error for a Projector that was not filled in correctly.
func invalid(message string) error {
	return fmt.Errorf("projector: %s: %w", message, dcb.ErrInvalidArgument)
}

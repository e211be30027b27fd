package dcbtest

import (
	"context"
	"fmt"
	"sync"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// Fault is what happens to an append of a [FaultyStore].
type Fault int

// These are the faults.
const (
	// None lets the append pass.
	None Fault = iota
	// Busy stores nothing and fails with [dcb.ErrBusy].
	Busy
	// Conflict stores nothing and fails with [dcb.ErrAppendConditionFailed], as if another append came first.
	Conflict
	// LostAnswer stores the events, if their conditions hold, and fails with [dcb.ErrIO]: the outcome is unknown.
	LostAnswer
	// LostRequest stores nothing and fails with [dcb.ErrIO]: the outcome is unknown.
	LostRequest
)

// FaultyStore is a store whose appends fail as the test says. Its reads, and appends without a fault, are those of the
// store that it wraps. Any number of goroutines may use it at the same time.
type FaultyStore struct {
	store *dcb.Store

	mu      sync.Mutex
	faults  []Fault
	appends int
}

var (
	_ dcb.EventStore     = (*FaultyStore)(nil)
	_ dcb.EventAppender  = (*FaultyStore)(nil)
	_ dcb.SnapshotReader = (*FaultyStore)(nil)
)

// NewFaultyStore returns a store in memory without faults.
func NewFaultyStore(opts ...dcb.Option) *FaultyStore {
	return WrapStore(dcb.NewMemoryStore(opts...).Store)
}

// WrapStore returns a store without faults that wraps another one.
func WrapStore(store *dcb.Store) *FaultyStore {
	return &FaultyStore{store: store}
}

// Fail gives the next appends these faults, one each, after those of earlier calls.
func (s *FaultyStore) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Appends returns how many appends were made, with those that failed.
func (s *FaultyStore) Appends() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.appends
}

// next counts an append and returns its fault.
func (s *FaultyStore) next() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.appends++
	if len(s.faults) == 0 {
		return None
	}
	fault := s.faults[0]
	s.faults = s.faults[1:]
	return fault
}

// Append appends the events, unless it is to fail.
func (s *FaultyStore) Append(ctx context.Context, events []dcb.Event, condition ...dcb.AppendCondition) error {
	_, err := s.AppendEvents(ctx, events, condition...)
	return err
}

// AppendEvents is like [FaultyStore.Append] and also returns the positions of the events.
func (s *FaultyStore) AppendEvents(ctx context.Context, events []dcb.Event, conditions ...dcb.AppendCondition) (dcb.Appended, error) {
	fail := func(status dcb.Status) (dcb.Appended, error) {
		return dcb.Appended{}, &dcb.Error{Status: status, Message: "the test wants this append to fail"}
	}
	switch fault := s.next(); fault {
	case None:
		return s.store.AppendEvents(ctx, events, conditions...)
	case Busy:
		return fail(dcb.StatusBusy)
	case Conflict:
		return fail(dcb.StatusConditionFailed)
	case LostRequest:
		return fail(dcb.StatusIO)
	case LostAnswer:
		if appended, err := s.store.AppendEvents(ctx, events, conditions...); err != nil {
			return appended, err
		}
		return fail(dcb.StatusIO)
	default:
		panic(fmt.Sprint("dcbtest: there is no fault ", int(fault)))
	}
}

// Read reads from the wrapped store.
func (s *FaultyStore) Read(ctx context.Context, query dcb.Query, opts ...dcb.ReadOption) ([]dcb.SequencedEvent, int64, error) {
	return s.store.Read(ctx, query, opts...)
}

// ReadSnapshot reads from the wrapped store.
func (s *FaultyStore) ReadSnapshot(ctx context.Context, query dcb.Query, opts ...dcb.ReadOption) ([]dcb.SequencedEvent, int64, error) {
	return s.store.ReadSnapshot(ctx, query, opts...)
}

// Find looks up an event in the wrapped store.
func (s *FaultyStore) Find(ctx context.Context, id string) (dcb.SequencedEvent, bool, error) {
	return s.store.Find(ctx, id)
}

// Unwrap returns the wrapped store.
func (s *FaultyStore) Unwrap() dcb.EventStore {
	return s.store
}

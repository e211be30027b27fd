package dcbtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// ClockStore is a store in memory with a clock that the test moves: the Timestamp of an event is the time at which it
// was appended by that clock. It also has the methods of [dcb.Store]. Any number of goroutines may use it at the same
// time.
type ClockStore struct {
	*dcb.Store

	mu  sync.Mutex
	now time.Time
}

var (
	_ dcb.EventStore     = (*ClockStore)(nil)
	_ dcb.EventAppender  = (*ClockStore)(nil)
	_ dcb.SnapshotReader = (*ClockStore)(nil)
)

// NewClockStore returns an empty store whose clock shows the time start, and stands still.
func NewClockStore(start time.Time, opts ...dcb.Option) *ClockStore {
	s := &ClockStore{Store: dcb.NewMemoryStore(append(slices.Clip(opts), dcb.Import())...).Store}
	s.SetTime(start)
	return s
}

// Now returns the time that the clock shows. The program that is tested may take it as its own.
func (s *ClockStore) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// SetTime sets the clock. It may go backwards, as a clock of the system may. As in every store, the time is in UTC with
// microseconds. SetTime panics if now is zero, as that would be no time.
func (s *ClockStore) SetTime(now time.Time) {
	if now.IsZero() {
		panic("dcbtest: the time of a ClockStore must not be zero")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now.UTC().Truncate(time.Microsecond)
}

// Advance moves the clock forward.
func (s *ClockStore) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d).Truncate(time.Microsecond)
}

// Append appends the events at the time of the clock.
func (s *ClockStore) Append(ctx context.Context, events []dcb.Event, condition ...dcb.AppendCondition) error {
	_, err := s.AppendEvents(ctx, events, condition...)
	return err
}

// AppendEvents is like [ClockStore.Append] and also returns the positions of the events.
func (s *ClockStore) AppendEvents(ctx context.Context, events []dcb.Event, conditions ...dcb.AppendCondition) (dcb.Appended, error) {
	now := s.Now()
	events = slices.Clone(events)
	for i := range events {
		if !events[i].Timestamp.IsZero() { // no other store would take it
			return dcb.Appended{}, &dcb.Error{
				Status:  dcb.StatusInvalidArgument,
				Message: fmt.Sprintf("events[%d].timestamp: the clock of the store gives the time", i),
			}
		}
		events[i].Timestamp = now
	}
	return s.Store.AppendEvents(ctx, events, conditions...)
}

package dcbtest

import (
	"context"
	"sync"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// ClockStore is a store in memory with a clock that the test moves: the Timestamp of an event is the time at which it
// was appended by that clock. Any number of goroutines may use it at the same time.
//
// Only what is read through the ClockStore has these timestamps. Its Unwrap returns a store that has those of the system.
type ClockStore struct {
	store *dcb.Store

	// Appends hold mu until they have noted the time of their events, so that no read sees one without.
	mu    sync.RWMutex
	now   time.Time
	times []time.Time // of the events, by their positions from 1 on
}

var (
	_ dcb.EventStore     = (*ClockStore)(nil)
	_ dcb.EventAppender  = (*ClockStore)(nil)
	_ dcb.SnapshotReader = (*ClockStore)(nil)
)

// NewClockStore returns an empty store whose clock shows the time start, and stands still.
func NewClockStore(start time.Time, opts ...dcb.Option) *ClockStore {
	s := &ClockStore{store: dcb.NewMemoryStore(opts...).Store}
	s.SetTime(start)
	return s
}

// Now returns the time that the clock shows. The program that is tested may take it as its own.
func (s *ClockStore) Now() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now
}

// SetTime sets the clock. It may go backwards, as a clock of the system may. As in every store, the time is in UTC with
// microseconds.
func (s *ClockStore) SetTime(now time.Time) {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	appended, err := s.store.AppendEvents(ctx, events, conditions...)
	if err != nil {
		return appended, err
	}
	for int64(len(s.times)) < appended.Last {
		s.times = append(s.times, s.now)
	}
	return appended, nil
}

// Read reads from the store.
func (s *ClockStore) Read(ctx context.Context, query dcb.Query, opts ...dcb.ReadOption) ([]dcb.SequencedEvent, int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	events, position, err := s.store.Read(ctx, query, opts...)
	return s.timed(events), position, err
}

// ReadSnapshot reads from the store.
func (s *ClockStore) ReadSnapshot(ctx context.Context, query dcb.Query, opts ...dcb.ReadOption) ([]dcb.SequencedEvent, int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	events, position, err := s.store.ReadSnapshot(ctx, query, opts...)
	return s.timed(events), position, err
}

// timed returns the events with the times of the clock. The caller holds mu.
func (s *ClockStore) timed(events []dcb.SequencedEvent) []dcb.SequencedEvent {
	for i := range events {
		events[i].Timestamp = s.times[events[i].Position-1]
	}
	return events
}

// Unwrap returns the store in memory.
func (s *ClockStore) Unwrap() dcb.EventStore {
	return s.store
}

// Close closes the store.
func (s *ClockStore) Close() error {
	return s.store.Close()
}

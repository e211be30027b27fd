package dcb

import "context"

// MemoryStore is a store in memory, for tests and for what need not outlive the process. It obeys
// the same rules as the others. The methods of [Store] are its own too.
type MemoryStore struct {
	*Store
}

// NewMemoryStore returns a new, empty store. Closing it is not necessary.
// To give it options, use [Open].
func NewMemoryStore() *MemoryStore {
	store, err := Open("memory:")
	if err != nil {
		panic("dcb: " + err.Error()) // there is nothing in it that can fail but memory
	}
	return &MemoryStore{store}
}

// Append stores all of the events or none; see [Store.Append].
func (s *MemoryStore) Append(ctx context.Context, events []Event, condition ...AppendCondition) error {
	return s.Store.Append(ctx, events, condition...)
}

// Read returns the events that the query matches and the highest position among them; see
// [Store.Read].
func (s *MemoryStore) Read(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	return s.Store.Read(ctx, query, opts...)
}

// EventCount returns the number of events in the store, 0 once it is closed.
func (s *MemoryStore) EventCount() int {
	count, err := s.Count(context.Background())
	if err != nil {
		return 0
	}
	return int(count)
}

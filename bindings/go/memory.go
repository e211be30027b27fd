package dcb

import "context"

// MemoryStore is a store in memory, for tests and for events that need not outlive the process. It follows
// the same rules as the other stores. It also has the methods of [Store].
type MemoryStore struct {
	*Store
}

// NewMemoryStore returns a new, empty store, which need not be closed. It panics if [Open] fails, as it does if
// the loaded libdcb is too old, and with the options [ReadOnly] and [Immutable].
func NewMemoryStore(opts ...Option) *MemoryStore {
	store, err := Open("memory:", opts...)
	if err != nil {
		panic("dcb: " + err.Error()) // the caller cannot go on
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

// EventCount returns the number of events in the store, or 0 if it is closed.
func (s *MemoryStore) EventCount() int {
	count, err := s.Count(context.Background())
	if err != nil {
		return 0
	}
	return int(count)
}

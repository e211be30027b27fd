package dcb

import (
	"context"
	"strings"
)

// SQLiteStore is a store in a SQLite database file, which any number of goroutines and processes
// on one machine may use at once. The methods of [Store] are its own too.
type SQLiteStore struct {
	*Store
}

// NewSQLiteStore opens the store that the dsn names, and creates it if there is none: a path,
// ":memory:", "file:..." with mode as its only parameter, or a uri as [Open] takes.
// To give it options, use [Open].
func NewSQLiteStore(dsn string) (*SQLiteStore, error) {
	store, err := Open(uriOf(dsn))
	if err != nil {
		return nil, err
	}
	return &SQLiteStore{store}, nil
}

func uriOf(dsn string) string {
	for _, scheme := range []string{"memory:", "sqlite:", "file:", "postgres:"} {
		if strings.HasPrefix(dsn, scheme) {
			return dsn
		}
	}
	return "sqlite:" + dsn
}

// Append stores all of the events or none; see [Store.Append].
func (s *SQLiteStore) Append(ctx context.Context, events []Event, condition ...AppendCondition) error {
	return s.Store.Append(ctx, events, condition...)
}

// Read returns the events that the query matches and the highest position among them; see
// [Store.Read].
func (s *SQLiteStore) Read(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	return s.Store.Read(ctx, query, opts...)
}

// Close closes the database; see [Store.Close].
func (s *SQLiteStore) Close() error {
	return s.Store.Close()
}

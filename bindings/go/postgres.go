package dcb

import "context"

// PostgresStore is a store in a schema of a PostgreSQL database, which any number of goroutines, processes and
// machines may use at the same time. It also has the methods of [Store].
type PostgresStore struct {
	*Store
}

// NewPostgresStore opens the store in the database that the uri names, postgres://USER@HOST/DATABASE, and creates
// it if there is none. The uri may have libpq's parameters. It is verified over TLS that the server is the host
// of the uri, unless that is this machine, or sslmode says otherwise. [Schema] names the schema.
//
// No environment variable and no file of the user's is read: passfile, service and servicefile are parameters of
// the uri.
func NewPostgresStore(uri string, opts ...Option) (*PostgresStore, error) {
	if !isOfPostgres(uri) {
		return nil, invalid("NewPostgresStore: the uri must start with postgres:// or postgresql://")
	}
	store, err := Open(uri, opts...)
	if err != nil {
		return nil, err
	}
	return &PostgresStore{store}, nil
}

// Append stores all of the events or none; see [Store.Append].
func (s *PostgresStore) Append(ctx context.Context, events []Event, condition ...AppendCondition) error {
	return s.Store.Append(ctx, events, condition...)
}

// Read returns the events that the query matches and the highest position among them; see
// [Store.Read].
func (s *PostgresStore) Read(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	return s.Store.Read(ctx, query, opts...)
}

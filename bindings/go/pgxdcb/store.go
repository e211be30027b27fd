package pgxdcb

import (
	"context"

	"github.com/jackc/pgx/v5"
	dcb "github.com/libdcb/libdcb/bindings/go"
)

// Beginner begins transactions. A *pgxpool.Pool is one, and so is a *pgx.Conn.
type Beginner interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// Store is a store in PostgreSQL that appends in transactions of pgx. Its methods with Tx in their names replace
// those of [dcb.PostgresStore], and promise the same.
type Store struct {
	*dcb.PostgresStore
	db Beginner
}

// New returns the store with the transactions of db, which leads to the database of the store. Close closes the
// store, and not db.
func New(store *dcb.PostgresStore, db Beginner) *Store {
	return &Store{store, db}
}

// tx is a dcb.PostgresTx by pgx.
type tx struct{ pgx.Tx }

func (t tx) QueryText(ctx context.Context, statement string, args []string) (text *string, err error) {
	values := make([]any, len(args))
	for i, arg := range args {
		values[i] = arg
	}
	err = t.QueryRow(ctx, statement, values...).Scan(&text)
	return text, err
}

// begin begins a transaction for the store.
func (s *Store) begin(ctx context.Context) (dcb.PostgresTx, error) {
	begun, err := s.db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return nil, err
	}
	return tx{begun}, nil
}

// AppendTx appends the events in tx; see [dcb.PostgresStore.AppendTx].
func (s *Store) AppendTx(ctx context.Context, tx pgx.Tx, events []dcb.Event, conditions ...dcb.AppendCondition) error {
	_, err := s.AppendEventsTx(ctx, tx, events, conditions...)
	return err
}

// AppendEventsTx is like [Store.AppendTx] and also returns the positions that the events have once the transaction
// is committed; see [dcb.PostgresStore.AppendEventsTx].
func (s *Store) AppendEventsTx(
	ctx context.Context, own pgx.Tx, events []dcb.Event, conditions ...dcb.AppendCondition,
) (dcb.Appended, error) {
	if own == nil {
		return s.AppendEventsBy(ctx, nil, events, conditions...)
	}
	return s.AppendEventsBy(ctx, tx{own}, events, conditions...)
}

// InTx runs a function in a transaction that has the lock of the appends, and commits it; see
// [dcb.PostgresStore.InTx].
func (s *Store) InTx(ctx context.Context, run func(tx pgx.Tx) error) error {
	if run == nil {
		return s.InTxBy(ctx, s.begin, nil)
	}
	return s.InTxBy(ctx, s.begin, func(begun dcb.PostgresTx) error { return run(begun.(tx).Tx) })
}

// WithTx makes a decision together with statements of the program's, in one transaction; see [dcb.WithTx].
func (s *Store) WithTx(rows func(tx pgx.Tx, decision dcb.Decision) error) dcb.DecideOption {
	if rows == nil {
		return dcb.WithTxBy(s.begin, nil)
	}
	return dcb.WithTxBy(s.begin, func(begun dcb.PostgresTx, decision dcb.Decision) error {
		return rows(begun.(tx).Tx, decision)
	})
}

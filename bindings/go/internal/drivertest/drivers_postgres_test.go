package dcb

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/lib/pq"
)

// These stores append in transactions of the program's.
func init() {
	if postgresURI == "" {
		return
	}
	var count atomic.Int64
	for name, begins := range map[string]func() (PostgresBegin, error){
		"pgx": beginsPgx,
		"pq": func() (PostgresBegin, error) {
			db, err := sql.Open("postgres", postgresURI)
			return beginsSQL(db), err
		},
	} {
		begins := sync.OnceValues(begins)
		storeKinds = append(storeKinds, storeKind{
			name: "postgres-tx-" + name,
			uri: func(testing.TB) string {
				return fmt.Sprintf("schema:dcb_go_%s_%d_%d", name, os.Getpid(), count.Add(1))
			},
			persists: true,
			append: func(store *Store, add func(PostgresTx) (Appended, error)) (Appended, error) {
				begin, err := begins()
				if err != nil {
					return Appended{}, err
				}
				return appendInTx(store, begin, count.Add(1)%2 == 0, add)
			},
		})
	}
}

// appendInTx calls add in a transaction. With isLocked, the transaction has the lock before, as in InTx.
func appendInTx(store *Store, begin PostgresBegin, isLocked bool, add func(PostgresTx) (Appended, error)) (Appended, error) {
	ctx := context.Background()
	tx, err := begin(ctx)
	if err != nil {
		return Appended{}, err
	}
	defer func() { _ = tx.Rollback(ctx) }() // after Commit it does nothing
	if isLocked {
		if _, err := store.h.appendWithin(ctx, tx, nil); err != nil {
			return Appended{}, err
		}
	}
	appended, failure := add(tx)
	if failure != nil {
		return appended, failure
	}
	return appended, tx.Commit(ctx)
}

// pgxTx is a PostgresTx by pgx, as package pgxdcb has it.
type pgxTx struct{ pgx.Tx }

func (t pgxTx) QueryText(ctx context.Context, statement string, args []string) (text *string, err error) {
	values := make([]any, len(args))
	for i, arg := range args {
		values[i] = arg
	}
	err = t.QueryRow(ctx, statement, values...).Scan(&text)
	return text, err
}

func beginsPgx() (PostgresBegin, error) {
	pool, err := pgxpool.New(context.Background(), postgresURI)
	return func(ctx context.Context) (PostgresTx, error) {
		begun, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
		return pgxTx{begun}, err
	}, err
}

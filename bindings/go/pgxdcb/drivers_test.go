package pgxdcb_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/bindings/go/pgxdcb"
)

// The tests run on the server that DCB_POSTGRES_URI names, as tests/postgres/cluster.sh makes one, in schemas of
// their own, with each of the ways to begin a transaction.

// transaction is a transaction of the program's.
type transaction interface {
	exec(ctx context.Context, statement string, args ...any) error
	commit() error
	rollback()
}

// program is a program with a store, the table notes and a driver.
type program struct {
	*dcb.PostgresStore
	t      testing.TB
	schema string
	// decider is what decisions are made on.
	decider dcb.EventStore
	// db is a pool of connections of the program's.
	db *sql.DB

	begin    func(isolation sql.IsolationLevel) (transaction, error)
	appendTx func(ctx context.Context, tx transaction, events []dcb.Event, conditions ...dcb.AppendCondition) (dcb.Appended, error)
	inTx     func(ctx context.Context, run func(tx transaction) error) error
	withTx   func(rows func(tx transaction, decision dcb.Decision) error) dcb.DecideOption
}

type ofSQL struct{ *sql.Tx }

func (tx ofSQL) exec(ctx context.Context, statement string, args ...any) error {
	_, err := tx.ExecContext(ctx, statement, args...)
	return err
}
func (tx ofSQL) commit() error { return tx.Commit() }
func (tx ofSQL) rollback()     { _ = tx.Rollback() }

type ofPgx struct{ pgx.Tx }

func (tx ofPgx) exec(ctx context.Context, statement string, args ...any) error {
	_, err := tx.Exec(ctx, statement, args...)
	return err
}
func (tx ofPgx) commit() error { return tx.Commit(context.Background()) }
func (tx ofPgx) rollback()     { _ = tx.Rollback(context.Background()) }

// drivers are the ways to begin a transaction.
var drivers = []string{"pgx", "stdlib", "pq"}

func serverURI(t testing.TB) string {
	t.Helper()
	uri := os.Getenv("DCB_POSTGRES_URI")
	if uri == "" {
		t.Skip("DCB_POSTGRES_URI names no server")
	}
	return uri
}

var schemas atomic.Int64

func newSchema() string {
	return fmt.Sprintf("tx_%d_%d", os.Getpid(), schemas.Add(1))
}

// openProgram opens a program with a driver, and the store in the schema, which it creates.
func openProgram(t testing.TB, driver, schema string, opts ...dcb.Option) *program {
	t.Helper()
	uri := serverURI(t)
	p := &program{t: t, schema: schema}
	ctx := context.Background()
	opts = append(opts, dcb.Schema(schema), dcb.AllowFsyncOff())
	own := uri + "&sslmode=disable"
	if driver == "pq" {
		p.db = must(sql.Open("postgres", own))(t)
	} else {
		config := must(pgxpool.ParseConfig(own))(t)
		config.MaxConns = 16
		pool := must(pgxpool.NewWithConfig(ctx, config))(t)
		t.Cleanup(pool.Close)
		p.db = stdlib.OpenDBFromPool(pool)
		if driver == "pgx" {
			p.usePgx(pool, must(dcb.NewPostgresStore(uri, opts...))(t))
		}
	}
	p.db.SetMaxOpenConns(16)
	t.Cleanup(func() { p.db.Close() })
	if driver != "pgx" {
		p.useSQL(must(dcb.NewPostgresStore(uri, append(opts, dcb.TxDB(p.db))...))(t))
	}
	t.Cleanup(func() { p.Close() })
	p.exec("CREATE TABLE IF NOT EXISTS " + schema + "_notes (position bigint)")
	return p
}

func (p *program) useSQL(store *dcb.PostgresStore) {
	p.PostgresStore, p.decider = store, store
	p.begin = func(isolation sql.IsolationLevel) (transaction, error) {
		tx, err := p.db.BeginTx(context.Background(), &sql.TxOptions{Isolation: isolation})
		return ofSQL{tx}, err
	}
	p.appendTx = func(ctx context.Context, tx transaction, events []dcb.Event, conditions ...dcb.AppendCondition) (dcb.Appended, error) {
		return store.AppendEventsTx(ctx, tx.(ofSQL).Tx, events, conditions...)
	}
	p.inTx = func(ctx context.Context, run func(tx transaction) error) error {
		return store.InTx(ctx, func(tx *sql.Tx) error { return run(ofSQL{tx}) })
	}
	p.withTx = func(rows func(transaction, dcb.Decision) error) dcb.DecideOption {
		return dcb.WithTx(func(tx *sql.Tx, decision dcb.Decision) error { return rows(ofSQL{tx}, decision) })
	}
}

func (p *program) usePgx(pool *pgxpool.Pool, opened *dcb.PostgresStore) {
	store := pgxdcb.New(opened, pool)
	p.PostgresStore, p.decider = opened, store
	p.begin = func(isolation sql.IsolationLevel) (transaction, error) {
		options := pgx.TxOptions{IsoLevel: pgx.TxIsoLevel(strings.ToLower(isolation.String()))}
		tx, err := pool.BeginTx(context.Background(), options)
		return ofPgx{tx}, err
	}
	p.appendTx = func(ctx context.Context, tx transaction, events []dcb.Event, conditions ...dcb.AppendCondition) (dcb.Appended, error) {
		return store.AppendEventsTx(ctx, tx.(ofPgx).Tx, events, conditions...)
	}
	p.inTx = func(ctx context.Context, run func(tx transaction) error) error {
		return store.InTx(ctx, func(tx pgx.Tx) error { return run(ofPgx{tx}) })
	}
	p.withTx = func(rows func(transaction, dcb.Decision) error) dcb.DecideOption {
		return store.WithTx(func(tx pgx.Tx, decision dcb.Decision) error { return rows(ofPgx{tx}, decision) })
	}
}

// must returns a function that ends the test if there is an error.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func (p *program) exec(statement string) {
	p.t.Helper()
	if _, err := p.db.Exec(statement); err != nil {
		p.t.Fatal(err)
	}
}

func (p *program) mustBegin() transaction {
	p.t.Helper()
	return must(p.begin(sql.LevelReadCommitted))(p.t)
}

// note writes a row of the program's.
func (p *program) note(ctx context.Context, tx transaction, position int64) error {
	return tx.exec(ctx, "INSERT INTO "+p.schema+"_notes VALUES ($1)", position)
}

// expect checks how many events and rows are stored.
func (p *program) expect(step string, events, rows int) {
	p.t.Helper()
	var found int
	err := p.db.QueryRow("SELECT count(*) FROM " + p.schema + "_notes").Scan(&found)
	count, countErr := p.Count(context.Background())
	if int(count) != events || found != rows || err != nil || countErr != nil {
		p.t.Errorf("%s: %d events, want %d, %d rows, want %d, %v, %v", step, count, events, found, rows, err, countErr)
	}
}

// awaitLock waits until a session waits for a lock, so that what it waits for may happen.
func (p *program) awaitLock() {
	p.t.Helper()
	for range 6000 {
		var waiting int
		err := p.db.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'",
			p.schema).Scan(&waiting)
		if err != nil {
			p.t.Fatal(err)
		}
		if waiting > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatal("nobody waits for a lock")
}

// onDrivers runs the test in a new schema with each driver.
func onDrivers(t *testing.T, test func(t *testing.T, p *program)) {
	serverURI(t)
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) { test(t, openProgram(t, driver, newSchema())) })
	}
}

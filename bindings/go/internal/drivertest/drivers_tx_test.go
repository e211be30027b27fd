package dcb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Tests of InTx and WithTx.

func rowsOf(t testing.TB, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRow("SELECT count(*) FROM notes").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// openNotes opens a store in a database with the table notes.
func openNotes(t testing.TB, driver, dsn string) (*sql.DB, *SQLiteStore) {
	db := openPool(t, driver, dsn)
	mustExec(t, db, "CREATE TABLE notes (position INTEGER, by TEXT)")
	return db, mustOpenDB(t, db)
}

func note(ctx context.Context, tx *sql.Tx, position int64) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO notes VALUES (?, 'test')", position)
	return err
}

// lettersA is a model of the number of events of type A, and anotherA decides on one more.
var lettersA = Projection[int]{
	Query:  NewQuery(QueryItem{Types: []string{"A"}}),
	Evolve: func(n int, _ SequencedEvent) int { return n + 1 },
}

func anotherA(n int) ([]Event, error) { return []Event{{Type: "A", Data: n + 1}}, nil }

func TestDriversInTx(t *testing.T) {
	ctx := context.Background()
	refusal := errors.New("refused")
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db, store := openNotes(t, driver, dsn)
		both := func(tx *sql.Tx) error {
			appended, err := store.AppendEventsTx(ctx, tx, []Event{{Type: "A"}})
			if err != nil {
				return err
			}
			return note(ctx, tx, appended.Last)
		}
		check := func(step string, want int) {
			t.Helper()
			if n, err := store.Count(ctx); n != int64(want) || rowsOf(t, db) != want || err != nil {
				t.Errorf("%s: %d events, %d rows, %v", step, n, rowsOf(t, db), err)
			}
		}
		if err := store.InTx(ctx, both); err != nil {
			t.Fatal(err)
		}
		check("committed", 1)
		if err := store.InTx(ctx, func(tx *sql.Tx) error { return errors.Join(both(tx), refusal) }); !errors.Is(err, refusal) {
			t.Errorf("got %v", err)
		}
		check("refused", 1)
		func() {
			defer func() { _ = recover() }()
			_ = store.InTx(ctx, func(tx *sql.Tx) error { _ = both(tx); panic("a bug") })
		}()
		check("after a panic", 1)

		// Busy runs all of it again, and a conflict does not.
		for _, test := range []struct {
			err  error
			runs int
		}{{fmt.Errorf("the program's own: %w", ErrBusy), 3}, {ErrAppendConditionFailed, 1}} {
			runs := 0
			err := store.InTx(ctx, func(tx *sql.Tx) error {
				if runs++; runs == 3 {
					return both(tx)
				}
				return errors.Join(note(ctx, tx, -1), test.err)
			})
			if runs != test.runs || (runs == 3) != (err == nil) || err != nil && !errors.Is(err, test.err) {
				t.Errorf("after %v: %d runs, %v", test.err, runs, err)
			}
		}
		check("after errors", 2)

		short, cancel := context.WithCancel(ctx)
		runs := 0
		err := store.InTx(short, func(tx *sql.Tx) error {
			if runs++; runs == 2 {
				cancel()
			}
			return ErrBusy
		})
		var gaveUp *RetryError
		if !errors.As(err, &gaveUp) || gaveUp.Attempts != 2 || !errors.Is(err, ErrBusy) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if err := store.InTx(short, both); err != context.Canceled {
			t.Errorf("got %v", err)
		}
		check("at last", 2)
		if err := store.Append(ctx, []Event{{Type: "A"}}); err != nil { // the gate is open again
			t.Error(err)
		}
		if err := store.InTx(ctx, nil); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("got %v", err)
		}
		store.Close()
		if err := store.InTx(ctx, both); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// The lock of another program is waited for, and the busy error of a driver is one of the package.
func TestDriversInTxWaitsForOtherWriters(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, driver, path, dsn string) {
		db, store := openNotes(t, driver, dsn)
		db.SetMaxOpenConns(1)
		mustExec(t, db, "PRAGMA busy_timeout = 0")
		other := openPool(t, driver, "file:"+path)
		lock := func() *sql.Tx {
			tx := mustBegin(t, other)
			mustExec(t, tx, "PRAGMA busy_timeout = 10000") // without a WAL, its commit waits for who reads
			mustExec(t, tx, "INSERT INTO notes VALUES (0, 'other')")
			return tx
		}
		tx := lock()
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		runs := 0
		run := func(tx *sql.Tx) error {
			runs++
			return note(ctx, tx, 1)
		}
		err := store.InTx(short, run)
		var gaveUp *RetryError
		if !errors.As(err, &gaveUp) || !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) || runs != 0 {
			t.Errorf("%d runs, %v", runs, err)
		}
		ended := make(chan error)
		go func() { ended <- store.InTx(ctx, run) }()
		time.Sleep(5 * time.Millisecond)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil || runs != 1 {
			t.Errorf("%d runs, %v", runs, err)
		}
		if n := rowsOf(t, db); n != 2 {
			t.Errorf("%d rows", n)
		}
	})
}

// A COMMIT that is busy, since another program reads a file without a WAL, is rolled back and made again.
func TestDriversInTxWhoseCommitIsBusy(t *testing.T) {
	ctx := context.Background()
	for _, d := range dbDrivers {
		t.Run(d.name, func(t *testing.T) {
			path := t.TempDir() + "/app.db"
			db, store := openNotes(t, d.driver, "file:"+path)
			db.SetMaxOpenConns(1)
			mustExec(t, db, "PRAGMA busy_timeout = 0")
			reader := mustBegin(t, openPool(t, d.driver, "file:"+path))
			if err := reader.QueryRow("SELECT count(*) FROM notes").Scan(new(int)); err != nil {
				t.Fatal(err)
			}
			runs := 0
			err := store.InTx(ctx, func(tx *sql.Tx) error {
				if runs++; runs == 3 {
					if err := reader.Rollback(); err != nil {
						return err
					}
				}
				return note(ctx, tx, int64(runs))
			})
			if err != nil || runs != 3 || rowsOf(t, db) != 1 {
				t.Errorf("%d runs, %d rows, %v", runs, rowsOf(t, db), err)
			}
		})
	}
}

// Transactions get their turn beside goroutines that append all the time, and appends beside transactions.
func TestDriversInTxBesideManyAppends(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, d := range dbDrivers {
		t.Run(d.name, func(t *testing.T) {
			db, store := openNotes(t, d.driver, "file:"+t.TempDir()+"/app.db"+d.wal)
			const appenders, transactions = 32, 10
			var isOver atomic.Bool
			var appends atomic.Int64
			var running sync.WaitGroup
			for range appenders {
				running.Add(1)
				go func() {
					defer running.Done()
					for !isOver.Load() {
						if err := store.Append(ctx, []Event{{Type: "B"}}); err != nil {
							t.Error(err)
						}
						appends.Add(1)
					}
				}()
			}
			for i := range transactions {
				runs := 0
				err := store.InTx(ctx, func(tx *sql.Tx) error {
					runs++
					gate := &store.handle().host.gate
					gate.mu.Lock()
					defer gate.mu.Unlock()
					for len(gate.queue) == 0 && ctx.Err() == nil { // the appends queue
						gate.mu.Unlock()
						time.Sleep(time.Millisecond)
						gate.mu.Lock()
					}
					if !gate.isTaken || gate.appends != 0 {
						t.Errorf("%d appends are inside, and the transaction: %v", gate.appends, gate.isTaken)
					}
					return note(ctx, tx, 0)
				})
				if err != nil || runs != 1 {
					t.Errorf("transaction %d: %d runs, %v", i, runs, err)
				}
			}
			isOver.Store(true)
			running.Wait()
			count, err := store.Count(ctx)
			if err != nil || count != appends.Load() || rowsOf(t, db) != transactions {
				t.Errorf("%d events of %d, %d rows, %v", count, appends.Load(), rowsOf(t, db), err)
			}
		})
	}
}

func TestDriversWithTx(t *testing.T) {
	ctx := context.Background()
	refusal := errors.New("refused")
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db, store := openNotes(t, driver, dsn)
		db.SetMaxOpenConns(1) // it never needs two at once
		calls := 0
		rows := func(tx *sql.Tx, decision Decision) error {
			calls++
			return note(ctx, tx, decision.First)
		}
		for i := range 2 {
			got, err := Decide(ctx, store, lettersA, anotherA, WithTx(rows), WithRequestID("r1"))
			want := Decision{First: 1, Last: 1, Attempts: 1, Repeated: i > 0}
			if got != want || calls != 1 || rowsOf(t, db) != 1 || err != nil {
				t.Errorf("time %d: %+v, want %+v, %d calls, %v", i, got, want, calls, err)
			}
		}
		// What rows refuses is not stored, and may be tried again with the same id.
		_, err := Decide(ctx, store, lettersA, anotherA, WithRequestID("r2"), WithTx(func(tx *sql.Tx, d Decision) error {
			return errors.Join(rows(tx, d), refusal)
		}))
		if !errors.Is(err, refusal) || rowsOf(t, db) != 1 {
			t.Errorf("%d rows, %v", rowsOf(t, db), err)
		}
		// A conflict decides again. The event of somebody else comes between the decision and its append.
		calls = 0
		got, err := Decide(ctx, store, lettersA, func(n int) ([]Event, error) {
			if n == 1 {
				mustAppend(t, store, Event{Type: "A"})
			}
			return anotherA(n)
		}, WithRequestID("r2"), WithTx(rows))
		want := Decision{First: 3, Last: 3, Attempts: 2}
		if got != want || calls != 1 || rowsOf(t, db) != 2 || err != nil {
			t.Errorf("%+v, want %+v, %d calls, %v", got, want, calls, err)
		}
		// So does a conflict that rows reports.
		calls = 0
		got, err = Decide(ctx, store, lettersA, anotherA, WithTx(func(tx *sql.Tx, d Decision) error {
			if err := rows(tx, d); err != nil || d.Attempts == 2 {
				return err
			}
			return fmt.Errorf("a row has changed: %w", ErrAppendConditionFailed)
		}))
		if got.Attempts != 2 || calls != 2 || rowsOf(t, db) != 3 || err != nil {
			t.Errorf("%+v, %d calls, %v", got, calls, err)
		}
		// Without an event, there is nothing to do.
		calls = 0
		got, err = Decide(ctx, store, lettersA, func(int) ([]Event, error) { return nil, nil }, WithTx(rows))
		if got != (Decision{Attempts: 1}) || calls != 0 || err != nil {
			t.Errorf("%+v, %d calls, %v", got, calls, err)
		}
		if n, err := store.Count(ctx); n != 4 || err != nil {
			t.Errorf("%d events, %v", n, err)
		}
	})
}

// Many decisions with rows on one counter, each asked for twice at the same time: each is made once, with its row.
func TestDriversRequestsThatRaceInTransactions(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, d := range dbDrivers {
		t.Run(d.name, func(t *testing.T) {
			db, store := openNotes(t, d.driver, "file:"+t.TempDir()+"/app.db"+d.wal)
			db.SetMaxOpenConns(8)
			const requests, clients = 20, 2
			var running sync.WaitGroup
			var first [requests]atomic.Int64
			var positions [requests][clients]int64
			for request := range requests {
				for client := range clients {
					running.Add(1)
					go func() {
						defer running.Done()
						value, got, err := DecideValue(ctx, store, lettersA, func(n int) ([]Event, int, error) {
							return []Event{{Type: "A", Data: n + 1}}, n + 1, nil
						}, WithRequestID(fmt.Sprint(request)), WithTx(func(tx *sql.Tx, d Decision) error {
							return note(ctx, tx, d.First)
						}))
						if err != nil || int64(value) != got.First {
							t.Errorf("%d, %+v, %v", value, got, err)
						}
						if !got.Repeated {
							first[request].Add(1)
						}
						positions[request][client] = got.First
					}()
				}
			}
			running.Wait()
			for request := range requests {
				if first[request].Load() != 1 || positions[request][0] != positions[request][1] {
					t.Errorf("request %d: made %d times, at %v", request, first[request].Load(), positions[request])
				}
			}
			var rows, distinct int
			if err := db.QueryRow("SELECT count(*), count(DISTINCT position) FROM notes").Scan(&rows, &distinct); err != nil {
				t.Fatal(err)
			}
			if count, err := store.Count(ctx); rows != requests || distinct != requests || count != requests || err != nil {
				t.Errorf("%d rows, %d positions, %d events, %v", rows, distinct, count, err)
			}
		})
	}
}

func TestDriversWithTxNeedsADatabase(t *testing.T) {
	ctx := context.Background()
	rows := func(*sql.Tx, Decision) error { return nil }
	db, _ := openNotes(t, "sqlite", ":memory:")
	db.SetMaxOpenConns(1)
	_, err := Decide(ctx, mustOpenDB(t, db), lettersA, anotherA, WithTx(nil))
	if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), "WithTx: rows: must not be nil") {
		t.Errorf("got %v", err)
	}
	_, err = Decide(ctx, NewMemoryStore(), lettersA, anotherA, WithTx(rows))
	if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), "WithTx: the store was not opened by NewSQLiteStoreFromDB") {
		t.Errorf("got %v", err)
	}
	_, err = Decide(ctx, struct{ EventStore }{NewMemoryStore()}, lettersA, anotherA, WithTx(rows))
	if !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("got %v", err)
	}
}

// A transaction of the store's own pool is not asked which file it is on, since that takes SQLite long. One of
// any other pool is, also if its file is a copy of the store's.
func TestDriversAppendTxKnowsItsPool(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, driver, path, dsn string) {
		db, store := openNotes(t, driver, dsn)
		appendIn := func(db *sql.DB, isKnown bool) error {
			t.Helper()
			tx := mustBegin(t, db)
			defer tx.Rollback()
			if store.h.host.path == nil || store.h.host.isOfPool(tx) != isKnown {
				t.Errorf("the path is %q, known: %v", store.h.host.path, store.h.host.isOfPool(tx))
			}
			if err := store.AppendTx(ctx, tx, []Event{{Type: "A"}}); err != nil {
				return err
			}
			return tx.Commit()
		}
		for range 2 {
			if err := appendIn(db, true); err != nil {
				t.Fatal(err)
			}
		}
		other := openPool(t, driver, dsn)
		if err := appendIn(other, false); err != nil {
			t.Errorf("in a transaction of another pool: %v", err)
		}
		copied := path + "-copy"
		mustExec(t, db, fmt.Sprintf("VACUUM INTO '%s'", copied))
		if err := appendIn(openPool(t, driver, "file:"+copied), false); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("in a transaction of a copy: %v", err)
		}
		if head, err := store.Head(ctx); err != nil || head != 3 {
			t.Errorf("the head is %d, %v", head, err)
		}
	})
}

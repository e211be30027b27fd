package dcb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"modernc.org/sqlite"
)

// What a store does to the connections of a program: it returns them as they were, waits for their
// locks, and runs the triggers that the program has made.

// withBusyTimeout is a DSN of a file in WAL mode with a busy timeout.
func withBusyTimeout(driver, path string, ms int) string {
	if driver == "sqlite3" {
		return fmt.Sprintf("file:%s?_journal_mode=WAL&_busy_timeout=%d", path, ms)
	}
	return fmt.Sprintf("file:%s?_pragma=journal_mode(WAL)&_pragma=busy_timeout(%d)", path, ms)
}

// However a transaction ends while something is appended in it, the pool gets its connection back
// with the settings that the DSN gave it.
func TestDriversATransactionTakenAwayLeavesItsConnectionAsItWas(t *testing.T) {
	const trials = 300
	const settings = "SELECT (SELECT timeout FROM pragma_busy_timeout), " +
		"(SELECT synchronous FROM pragma_synchronous), (SELECT read_uncommitted FROM pragma_read_uncommitted)"
	for _, d := range dbDrivers {
		for _, how := range []string{"context", "rollback"} {
			t.Run(d.name+"-"+how, func(t *testing.T) {
				t.Parallel()
				db := openPool(t, d.driver, withBusyTimeout(d.driver, filepath.Join(t.TempDir(), "app.db"), 2000))
				db.SetMaxOpenConns(1)
				mustExec(t, db, "CREATE TABLE own (n)")
				store := mustOpenDB(t, db)
				look := func() (timeout, synchronous, uncommitted int) {
					if err := db.QueryRow(settings).Scan(&timeout, &synchronous, &uncommitted); err != nil {
						t.Fatal(err)
					}
					return
				}
				_, synchronous, _ := look()
				events := make([]Event, 40)
				for i := range events {
					events[i] = Event{Type: "A", Tags: []Tag{{Key: "n", Value: fmt.Sprint(i)}}}
				}
				// How long such an append takes here, so that it is interrupted everywhere.
				since := time.Now()
				tx := mustBegin(t, db)
				if err := store.AppendTx(context.Background(), tx, events); err != nil {
					t.Fatal(err)
				}
				takes := time.Since(since)
				if err := tx.Rollback(); err != nil {
					t.Fatal(err)
				}
				whole, changed := 0, 0
				for range trials {
					ctx, cancel := context.WithCancel(context.Background())
					tx, err := db.BeginTx(ctx, nil)
					if err != nil {
						t.Fatal(err)
					}
					ended := make(chan struct{})
					after := time.Duration(rand.Int64N(int64(takes) + 1))
					time.AfterFunc(after, func() {
						defer close(ended)
						if how == "context" {
							cancel()
						} else {
							_ = tx.Rollback()
						}
					})
					if err := store.AppendTx(context.Background(), tx, events); err == nil {
						whole++
					}
					<-ended
					cancel()
					_ = tx.Rollback()
					timeout, now, uncommitted := look()
					if timeout != 2000 || now != synchronous || uncommitted != 0 {
						changed++
					}
				}
				if changed > 0 {
					t.Errorf("the settings of the connection were changed in %d trials of %d", changed, trials)
				}
				if whole == trials {
					t.Error("no append was interrupted")
				}
				// Nothing was committed, and the connection is in no transaction.
				if head, err := store.Head(context.Background()); err != nil || head != 0 {
					t.Errorf("the head is %d, %v", head, err)
				}
				tx = mustBegin(t, db)
				mustExec(t, tx, "INSERT INTO own VALUES (1)")
				if err := tx.Commit(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// The transaction's connection keeps its busy timeout, so it is that which bounds the wait for the
// lock; where the transaction has read already, the call's own deadline does.
func TestDriversAppendTxWaitsAsItsConnectionDoes(t *testing.T) {
	for _, d := range dbDrivers {
		for _, reads := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s-reads-%t", d.name, reads), func(t *testing.T) {
				dsn := withBusyTimeout(d.driver, filepath.Join(t.TempDir(), "app.db"), 700)
				db := openPool(t, d.driver, dsn)
				store := mustOpenDB(t, db)
				writer := mustBegin(t, db)
				defer writer.Rollback()
				mustExec(t, writer, "CREATE TABLE held (n)")
				tx := mustBegin(t, db)
				defer tx.Rollback()
				if reads {
					var n int
					if err := tx.QueryRow("SELECT count(*) FROM dcb_events").Scan(&n); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
				defer cancel()
				since := time.Now()
				err := store.AppendTx(ctx, tx, []Event{{Type: "A"}})
				took := time.Since(since)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				if reads && took > 500*time.Millisecond || took > 5*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

// Whatever lock a call meets, it waits as long as it may. In a shared cache tables are locked, and
// nobody waits for them by himself; in rollback mode a connection without a busy timeout meets the
// locks of files everywhere, also while it is opened.
func TestDriversEveryCallWaitsForLocks(t *testing.T) {
	const writers, readers, rounds = 3, 3, 60
	for _, c := range []struct{ name, driver, dsn string }{
		{"mattn-shared-file", "sqlite3", "file:PATH?cache=shared&_journal_mode=WAL&_busy_timeout=0"},
		{"mattn-shared-journal", "sqlite3", "file:PATH?cache=shared&_busy_timeout=0"},
		{"mattn-shared-memory", "sqlite3", "file:NAME?mode=memory&cache=shared&_busy_timeout=0"},
		{"mattn-journal", "sqlite3", "file:PATH?_busy_timeout=0"},
		{"mattn-wal", "sqlite3", "file:PATH?_busy_timeout=0&_journal_mode=WAL"},
		{"modernc-shared-file", "sqlite", "file:PATH?cache=shared&_pragma=journal_mode(WAL)"},
		{"modernc-journal", "sqlite", "file:PATH?_pragma=journal_mode(DELETE)"},
		{"modernc-wal", "sqlite", "file:PATH?_pragma=journal_mode(WAL)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			dsn := strings.NewReplacer("PATH", filepath.Join(dir, "app.db"), "NAME", c.name).Replace(c.dsn)
			// One connection is kept: a database in memory lasts as long as it has one.
			keeper := openPool(t, c.driver, dsn)
			if err := keeper.Ping(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			var group sync.WaitGroup
			run := func(body func(store *SQLiteStore, db *sql.DB, round int) error) {
				db := openPool(t, c.driver, dsn)
				// Connections are opened again and again, amid the others' locks.
				db.SetMaxIdleConns(1)
				store, err := OpenDB(db, BusyTimeout(2*time.Minute))
				if err != nil {
					t.Errorf("opening: %v", err)
					return
				}
				t.Cleanup(func() { store.Close() })
				group.Add(1)
				go func() {
					defer group.Done()
					for round := range rounds {
						if err := body(store, db, round); err != nil {
							t.Errorf("round %d: %v", round, err)
							return
						}
					}
				}()
			}
			for w := range writers {
				run(func(store *SQLiteStore, db *sql.DB, round int) error {
					event := Event{Type: "A", Tags: []Tag{{Key: "w", Value: fmt.Sprintf("%d-%d", w, round)}}}
					return store.Append(ctx, []Event{event}, AppendCondition{
						FailIfEventsMatch: NewQuery(QueryItem{Tags: event.Tags}),
					})
				})
			}
			for range readers {
				run(func(store *SQLiteStore, db *sql.DB, _ int) error {
					if _, err := store.Head(ctx); err != nil {
						return fmt.Errorf("head: %w", err)
					}
					if _, err := store.Diagnose(ctx); err != nil {
						return fmt.Errorf("diagnose: %w", err)
					}
					_, _, err := store.Read(ctx, QueryAll())
					return err
				})
			}
			group.Wait()
			if t.Failed() {
				return
			}
			store := mustOpenDB(t, openPool(t, c.driver, dsn))
			if head, err := store.Head(ctx); err != nil || head != writers*rounds {
				t.Errorf("the head is %d, %v", head, err)
			}
		})
	}
}

// A program's trigger runs for appends on the program's connections, and not for those of the
// library's own. What it refuses is no damage of the file.
func TestDriversTriggers(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, driver, path, dsn string) {
		db := openPool(t, driver, dsn)
		store := mustOpenDB(t, db)
		mustExec(t, db, "CREATE TABLE seen (position)")
		mustExec(t, db, "CREATE TRIGGER spy AFTER INSERT ON dcb_events BEGIN INSERT INTO seen VALUES (NEW.position); END")
		seen := func() (n int) {
			if err := db.QueryRow("SELECT count(*) FROM seen").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		mustAppend(t, store, Event{Type: "A"})
		tx := mustBegin(t, db)
		if err := store.AppendTx(ctx, tx, []Event{{Type: "A"}}); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if seen() != 2 {
			t.Errorf("the trigger ran %d times", seen())
		}
		native := mustOpen(t, "sqlite:"+path)
		mustAppend(t, native, Event{Type: "A"})
		if seen() != 2 {
			t.Errorf("the trigger ran for an append on the library's own connection")
		}
		// A busy journal, or a checkpoint of it, is not what is tested here.
		native.Close()

		many := make([]Event, 20)
		for i := range many {
			many[i] = Event{Type: "A"}
		}
		for name, refusal := range map[string]string{
			"abort":      "BEGIN SELECT RAISE(ABORT, 'not on sundays'); END",
			"fail":       "BEGIN SELECT RAISE(FAIL, 'not on sundays'); END",
			"rollback":   "BEGIN SELECT RAISE(ROLLBACK, 'not on sundays'); END",
			"left-out":   "WHEN NEW.position % 7 = 0 BEGIN SELECT RAISE(IGNORE); END",
			"constraint": "BEGIN INSERT INTO once VALUES (1); END",
			"no-table":   "BEGIN INSERT INTO missing VALUES (1); END",
		} {
			mustExec(t, db, "CREATE TABLE IF NOT EXISTS once (n UNIQUE)")
			mustExec(t, db, "INSERT OR IGNORE INTO once VALUES (1)")
			mustExec(t, db, "CREATE TRIGGER gate BEFORE INSERT ON dcb_events "+refusal)
			check := func(where string, err error) {
				var failure *Error
				if !errors.Is(err, ErrInvalidArgument) || !errors.As(err, &failure) || !strings.Contains(failure.Message, "gate") {
					t.Errorf("%s, %s: %v", name, where, err)
					return
				}
				if raised := name == "abort" || name == "fail" || name == "rollback"; raised &&
					(failure.Detail != 1811 || !strings.Contains(failure.Message, "not on sundays")) {
					t.Errorf("%s, %s: %d, %v", name, where, failure.Detail, failure)
				}
			}
			check("append", store.Append(ctx, many))
			tx := mustBegin(t, db)
			check("in a transaction", store.AppendTx(ctx, tx, many))
			_ = tx.Rollback()
			mustExec(t, db, "DROP TRIGGER gate")
			if head, err := store.Head(ctx); err != nil || head != 3 {
				t.Fatalf("%s: the head is %d, %v", name, head, err)
			}
		}
		mustAppend(t, store, many...)
	})
}

// One call runs the statements of a whole group. The others get the driver's error too.
func TestDriversEveryAppendOfAGroupGetsTheDriversError(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db := openPool(t, driver, dsn)
		store := mustOpenDB(t, db)
		mustExec(t, db, "CREATE TRIGGER gate BEFORE INSERT ON dcb_events BEGIN SELECT RAISE(ABORT, 'not on sundays'); END")
		holder := mustBegin(t, db)
		mustExec(t, holder, "CREATE TABLE held (a)")
		const appends = 8
		ended := make(chan error, appends)
		for range appends {
			go func() { ended <- store.Append(ctx, []Event{{Type: "A"}}) }()
		}
		for len(store.handle().slots[appending]) < appends {
			time.Sleep(time.Millisecond)
		}
		if err := holder.Rollback(); err != nil {
			t.Fatal(err)
		}
		for range appends {
			err := <-ended
			var ofMattn sqlite3.Error
			var ofModernc *sqlite.Error
			if isDrivers := errors.As(err, &ofMattn) || errors.As(err, &ofModernc); !errors.Is(err, ErrInvalidArgument) || !isDrivers {
				t.Errorf("got %v, of the driver: %v", err, isDrivers)
			}
		}
	})
}

// The library's own SQLite sees the locks of the program's, and keeps its own whatever the program's
// closes: a store of each kind may have the file open in one process.
func TestDriversLocksOfANativeStoreBesideOneFromDB(t *testing.T) {
	onDrivers(t, func(t *testing.T, driver, path, dsn string) {
		short := func() context.Context {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			t.Cleanup(cancel)
			return ctx
		}
		db := openPool(t, driver, dsn)
		store := mustOpenDB(t, db)
		native := mustOpen(t, "sqlite:"+path)
		mustAppend(t, store, Event{Type: "A"})
		mustAppend(t, native, Event{Type: "A"})
		own, err := native.Diagnose(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		hosted, err := store.Diagnose(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if hosted.Locks != "process" || hosted.OtherSQLite != nil {
			t.Errorf("on the program's connections: %+v", hosted)
		}
		if own.Locks != "open-file-description" || own.OtherSQLite == nil || !*own.OtherSQLite {
			t.Fatalf("on the library's own: %q, %v", own.Locks, own.OtherSQLite)
		}
		// The program's lock is seen by a native store, and survives the end of another.
		leaves := mustOpen(t, "sqlite:"+path)
		tx := mustBegin(t, db)
		if err := store.AppendTx(context.Background(), tx, []Event{{Type: "A"}}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := native.Append(short(), []Event{{Type: "B"}}); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrBusy) {
				t.Errorf("beside a transaction of the program's: %v", err)
			}
			leaves.Close()
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, native, Event{Type: "B"})
		// And a native store is not locked out, nor taken for gone, when the program's leaves.
		store.Close()
		mustAppend(t, native, Event{Type: "B"})
		again := mustOpenDB(t, openPool(t, driver, dsn))
		for _, s := range []*Store{native, again.Store} {
			if head, err := s.Head(context.Background()); err != nil || head != 5 {
				t.Errorf("the head is %d, %v", head, err)
			}
		}
	})
}

package dcb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"modernc.org/sqlite"
)

// Tests of stores over a *sql.DB with both drivers. The other tests of the package run on these stores too.

// dbDrivers holds the drivers and, for each, the parameters that put a new file into WAL mode.
var dbDrivers = []struct{ name, driver, wal string }{
	{"mattn", "sqlite3", "?_journal_mode=WAL"},
	{"modernc", "sqlite", "?_pragma=journal_mode(WAL)"},
}

func init() {
	for _, d := range dbDrivers {
		file := func(dsn string) func(testing.TB) string {
			return func(t testing.TB) string {
				return "db:" + d.driver + ":file:" + filepath.Join(t.TempDir(), "events.db") + dsn
			}
		}
		storeKinds = append(storeKinds,
			storeKind{name: "fromdb-" + d.name, persists: true, uri: file(d.wal)},
			storeKind{name: "fromdb-" + d.name + "-journal", persists: true, uri: file("?one=connection")},
			storeKind{name: "fromdb-" + d.name + "-memory", uri: func(testing.TB) string {
				return "db:" + d.driver + "::memory:"
			}})
	}
	others := openURI
	openURI = func(t testing.TB, uri string, opts ...Option) (*Store, error) {
		rest, ok := strings.CutPrefix(uri, "db:")
		if !ok {
			return others(t, uri, opts...)
		}
		name, dsn, _ := strings.Cut(rest, ":")
		dsn, one := strings.CutSuffix(dsn, "?one=connection")
		db := openPool(t, name, dsn)
		if one || dsn == ":memory:" {
			db.SetMaxOpenConns(1)
		}
		store, err := OpenDB(db, opts...)
		if err != nil {
			return nil, err
		}
		return store.Store, nil
	}
}

func openPool(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func mustOpenDB(t testing.TB, db *sql.DB, opts ...Option) *SQLiteStore {
	t.Helper()
	store, err := OpenDB(db, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func mustExec(t testing.TB, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, query string) {
	t.Helper()
	if _, err := db.ExecContext(context.Background(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// onDrivers runs the test with each driver, on a new file in WAL mode and on one in rollback mode.
func onDrivers(t *testing.T, test func(t *testing.T, driver, path, dsn string)) {
	for _, d := range dbDrivers {
		for _, mode := range []string{"wal", "journal"} {
			t.Run(d.name+"-"+mode, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "app.db")
				dsn := "file:" + path
				if mode == "wal" {
					dsn += d.wal
				}
				test(t, d.driver, path, dsn)
			})
		}
	}
}

func claim(n int) (Event, AppendCondition) {
	tag := Tag{Key: "claim", Value: strconv.Itoa(n)}
	return Event{Type: "Claimed", Tags: []Tag{tag}, Data: n},
		AppendCondition{FailIfEventsMatch: NewQuery(QueryItem{Types: []string{"Claimed"}, Tags: []Tag{tag}})}
}

// claimAll tries to claim each number below n, and returns how many of them it won.
func claimAll(t testing.TB, store EventStore, n int) (won int64) {
	for i := range n {
		event, condition := claim(i)
		err := store.Append(context.Background(), []Event{event}, condition)
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ErrAppendConditionFailed):
			t.Errorf("claim %d: %v", i, err)
			return won
		}
	}
	return won
}

// checkClaims checks that each number below n was claimed exactly once, and that the index finds it.
func checkClaims(t *testing.T, store *Store, n int) {
	t.Helper()
	events, _, err := store.ReadRaw(context.Background(), QueryAll())
	if err != nil || len(events) != n {
		t.Fatalf("%d events, %v", len(events), err)
	}
	seen := map[string]bool{}
	for i, event := range events {
		if event.Position != int64(i)+1 || seen[string(event.Data)] {
			t.Fatalf("event %d: %+v", i, event)
		}
		seen[string(event.Data)] = true
	}
	for i := range n {
		_, condition := claim(i)
		found, _, err := store.ReadRaw(context.Background(), condition.FailIfEventsMatch)
		if err != nil || len(found) != 1 {
			t.Fatalf("claim %d: %d events, %v", i, len(found), err)
		}
	}
}

func TestDriversNativeStoreBesideOneFromDB(t *testing.T) {
	onDrivers(t, func(t *testing.T, driver, path, dsn string) {
		store := mustOpenDB(t, openPool(t, driver, dsn))
		native := mustOpen(t, "sqlite:"+path)
		const n = 300
		var won atomic.Int64
		var group sync.WaitGroup
		for _, s := range []*Store{native, store.Store, native, store.Store} {
			group.Add(1)
			go func() {
				defer group.Done()
				won.Add(claimAll(t, s, n))
			}()
		}
		group.Wait()
		if won.Load() != n {
			t.Errorf("%d claims of %d were had", won.Load(), n)
		}
		checkClaims(t, store.Store, n)
		checkClaims(t, native, n)
	})
}

// TestDriversOtherProcess is run by TestDriversInTwoProcesses in a process of its own.
func TestDriversOtherProcess(t *testing.T) {
	uri, n := os.Getenv("DCB_TEST_URI"), 0
	if _, err := fmt.Sscan(os.Getenv("DCB_TEST_CLAIMS"), &n); err != nil {
		t.Skip("of TestDriversInTwoProcesses")
	}
	fmt.Printf("won %d\n", claimAll(t, mustOpen(t, uri), n))
}

func TestDriversInTwoProcesses(t *testing.T) {
	onDrivers(t, func(t *testing.T, driver, path, dsn string) {
		hosted := "db:" + driver + ":" + dsn
		native := "sqlite:" + path
		const n = 200
		for _, uris := range [][2]string{{hosted, native}, {native, hosted}} {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				_ = os.Remove(path + suffix)
			}
			store := mustOpen(t, uris[0])
			other := exec.Command(os.Args[0], "-test.run=^TestDriversOtherProcess$")
			other.Env = append(os.Environ(), "DCB_TEST_URI="+uris[1], fmt.Sprint("DCB_TEST_CLAIMS=", n))
			var output strings.Builder
			other.Stdout, other.Stderr = &output, &output
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			won := claimAll(t, store, n)
			if err := other.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, output.String())
			}
			var others int64
			if _, err := fmt.Sscanf(output.String(), "won %d", &others); err != nil || won+others != n {
				t.Errorf("%d and %d claims of %d were had (%v)", won, others, n, err)
			}
			checkClaims(t, store, n)
			store.Close()
		}
	})
}

func mustBegin(t testing.TB, db *sql.DB) *sql.Tx {
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestDriversAppendTx(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db := openPool(t, driver, dsn)
		mustExec(t, db, "CREATE TABLE seats (course TEXT, taken INTEGER)")
		store := mustOpenDB(t, db)
		mustAppend(t, store, Event{Type: "A"})
		begin := func() *sql.Tx {
			tx := mustBegin(t, db)
			mustExec(t, tx, "INSERT INTO seats VALUES ('c1', 1)")
			return tx
		}
		tagged := func(tag string) Event { return Event{Type: "B", Tags: []Tag{ParseTag(tag)}} }
		guard := func(tag string) AppendCondition {
			return AppendCondition{FailIfEventsMatch: NewQuery(QueryItem{Tags: []Tag{ParseTag(tag)}})}
		}

		// Events and rows are committed together.
		tx := begin()
		at, err := store.AppendEventsTx(ctx, tx, []Event{tagged("x:1"), tagged("x:2")}, guard("x:1"))
		if err != nil || at != (Appended{First: 2, Last: 3}) {
			t.Fatalf("%+v, %v", at, err)
		}
		err = store.AppendTx(ctx, tx, []Event{tagged("x:3")}, guard("x:2"))
		var failure *Error
		if !errors.Is(err, ErrAppendConditionFailed) || !errors.As(err, &failure) || failure.Position != 3 {
			t.Fatalf("a condition on what the transaction has appended: %v", err)
		}
		if err := store.AppendTx(ctx, tx, []Event{tagged("x:4")}); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := store.AppendTx(ctx, tx, []Event{tagged("x:5")}); !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("in a transaction that is over: %v", err)
		}

		// After a rollback, the positions are used again.
		tx = begin()
		if at, err := store.AppendEventsTx(ctx, tx, []Event{tagged("lost:1"), tagged("lost:2")}); err != nil || at.Last != 6 {
			t.Fatalf("%+v, %v", at, err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if at, err := store.AppendEvents(ctx, []Event{tagged("kept:1"), tagged("kept:2")}, guard("lost:1")); err != nil || at.Last != 6 {
			t.Fatalf("%+v, %v", at, err)
		}
		for tag, want := range map[string]int{"lost:1": 0, "kept:2": 1, "x:1": 1, "x:3": 0, "x:4": 1} {
			events, _, err := store.Read(ctx, guard(tag).FailIfEventsMatch)
			if err != nil || len(events) != want {
				t.Errorf("%s: %v, %v", tag, events, err)
			}
		}
		var rows int
		if err := db.QueryRow("SELECT count(*) FROM seats").Scan(&rows); err != nil || rows != 1 {
			t.Errorf("%d rows, %v", rows, err)
		}
	})
}

// The documentation of AppendTx says which errors leave the transaction usable.
func TestDriversAppendTxGoesOnAfterAnError(t *testing.T) {
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		ctx := context.Background()
		db := openPool(t, driver, dsn)
		mustExec(t, db, "CREATE TABLE seats (course TEXT)")
		store := mustOpenDB(t, db)
		mustAppend(t, store, Event{Type: "A", ID: "1"})
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		tx := mustBegin(t, db)
		steps := 0
		for name, test := range map[string]struct {
			ctx       context.Context
			event     Event
			condition []AppendCondition
			want      error
		}{
			"condition": {ctx, Event{Type: "B"}, []AppendCondition{{}}, ErrAppendConditionFailed},
			"id":        {ctx, Event{Type: "B", ID: "1"}, nil, ErrDuplicateID},
			"argument":  {ctx, Event{Type: ""}, nil, ErrInvalidArgument},
			"limit":     {ctx, Event{Type: strings.Repeat("x", MaxNameBytes+1)}, nil, ErrTooLarge},
			"context":   {cancelled, Event{Type: "B"}, nil, context.Canceled},
		} {
			if err := store.AppendTx(test.ctx, tx, []Event{test.event}, test.condition...); !errors.Is(err, test.want) {
				t.Errorf("%s: %v", name, err)
			}
			mustExec(t, tx, "INSERT INTO seats VALUES ('c1')")
			if err := store.AppendTx(ctx, tx, []Event{{Type: "C"}}); err != nil {
				t.Errorf("after %s: %v", name, err)
			}
			steps++
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		var rows int
		if err := db.QueryRow("SELECT count(*) FROM seats").Scan(&rows); err != nil || rows != steps {
			t.Errorf("%d rows, %v", rows, err)
		}
		events, _, err := store.ReadRaw(ctx, NewQuery(QueryItem{Types: []string{"C"}}))
		if count, countErr := store.Count(ctx); len(events) != steps || count != int64(steps)+1 || err != nil || countErr != nil {
			t.Errorf("%d events of %d, %v, %v", len(events), count, err, countErr)
		}
	})
}

// A program that lost the answer to its commit runs all of the transaction again.
func TestDriversAppendTxReportsARepetition(t *testing.T) {
	ctx := context.Background()
	for _, d := range dbDrivers {
		t.Run(d.name, func(t *testing.T) {
			db := openPool(t, d.driver, "file:"+filepath.Join(t.TempDir(), "app.db")+d.wal)
			store := mustOpenDB(t, db)
			if _, err := db.Exec("CREATE TABLE seats (taken INTEGER); INSERT INTO seats VALUES (0)"); err != nil {
				t.Fatal(err)
			}
			for _, repeated := range []bool{false, true} {
				tx := mustBegin(t, db)
				at, err := store.AppendEventsTx(ctx, tx, []Event{{Type: "SeatTaken", ID: "req-1"}})
				if err != nil || at != (Appended{First: 1, Last: 1, Repeated: repeated}) {
					t.Fatalf("%+v, %v", at, err)
				}
				if !at.Repeated {
					mustExec(t, tx, "UPDATE seats SET taken = taken + 1")
				}
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
			}
			var taken int
			if err := db.QueryRow("SELECT taken FROM seats").Scan(&taken); err != nil || taken != 1 {
				t.Errorf("%d seats taken, %v", taken, err)
			}
			if at, err := store.AppendEvents(ctx, []Event{{Type: "SeatTaken", ID: "req-1"}}); err != nil || !at.Repeated {
				t.Errorf("outside of a transaction: %+v, %v", at, err)
			}
		})
	}
}

func TestDriversAppendTxThatCannotWriteIsBusy(t *testing.T) {
	ctx := context.Background()
	for _, d := range dbDrivers {
		t.Run(d.name, func(t *testing.T) {
			db := openPool(t, d.driver, "file:"+filepath.Join(t.TempDir(), "app.db")+d.wal)
			store := mustOpenDB(t, db)
			mustAppend(t, store, Event{Type: "A"})
			run := func(meanwhile func()) error {
				tx := mustBegin(t, db)
				defer func() { _ = tx.Rollback() }()
				var count int
				if err := tx.QueryRow("SELECT count(*) FROM dcb_events").Scan(&count); err != nil {
					t.Fatal(err)
				}
				meanwhile()
				if err := store.AppendTx(ctx, tx, []Event{{Type: "B"}}); err != nil {
					return err
				}
				return tx.Commit()
			}
			err := run(func() { mustAppend(t, store, Event{Type: "A"}) })
			var failure *Error
			if !errors.Is(err, ErrBusy) || !errors.As(err, &failure) || failure.Detail != 517 {
				t.Errorf("got %v", err)
			}
			if err := run(func() {}); err != nil {
				t.Error(err)
			}
			if head, err := store.Head(ctx); err != nil || head != 3 {
				t.Errorf("%d, %v", head, err)
			}
		})
	}
}

// If the database has ended the transaction, each statement would run in a transaction of its own.
func TestDriversAppendTxAfterTheEndOfTheTransaction(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db := openPool(t, driver, dsn)
		mustExec(t, db, "CREATE TABLE once (n INTEGER UNIQUE)")
		store := mustOpenDB(t, db)
		tx := mustBegin(t, db)
		mustExec(t, tx, "INSERT INTO once VALUES (1)")
		if _, err := tx.Exec("INSERT OR ROLLBACK INTO once VALUES (1)"); err == nil {
			t.Fatal("the same twice")
		}
		if err := store.AppendTx(ctx, tx, []Event{{Type: "A"}}); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("got %v", err)
		}
		_ = tx.Rollback()
		if head, err := store.Head(ctx); head != 0 || err != nil {
			t.Errorf("head %d, %v", head, err)
		}
	})
}

func TestDriversAppendTxByManyGoroutines(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db := openPool(t, driver, dsn)
		store := mustOpenDB(t, db)
		tx := mustBegin(t, db)
		const appends = 300 // more than run in the library at once
		ended := make(chan error, appends)
		for range appends {
			go func() { ended <- store.AppendTx(ctx, tx, []Event{{Type: "A"}, {Type: "B"}}) }()
		}
		for range appends {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if head, err := store.Head(ctx); head != 2*appends || err != nil {
			t.Errorf("head %d, %v", head, err)
		}
	})
}

// Appends that wait for a transaction do not keep it from appending and committing.
func TestDriversAppendTxWhileAllOthersWaitForIt(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db := openPool(t, driver, dsn)
		db.SetMaxOpenConns(4)
		store := mustOpenDB(t, db)
		tx := mustBegin(t, db)
		// Without a WAL a commit waits for whoever reads the file, as the other appends do to begin.
		mustExec(t, tx, "PRAGMA busy_timeout = 10000")
		if err := store.AppendTx(ctx, tx, []Event{{Type: "A"}}); err != nil {
			t.Fatal(err)
		}
		others, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		const appends = maxCalls + 10
		ended := make(chan error, appends)
		for range appends {
			go func() { ended <- store.Append(others, []Event{{Type: "B"}}) }()
		}
		for len(store.handle().slots[appending]) < maxCalls {
			time.Sleep(time.Millisecond)
		}
		short, stop := context.WithTimeout(ctx, 10*time.Second)
		defer stop()
		if err := store.AppendTx(short, tx, []Event{{Type: "A"}}); err != nil {
			t.Error(err)
		}
		// Nor do they block reads that need no lock.
		if driver == "sqlite" && strings.Contains(dsn, "WAL") {
			if _, _, err := store.Read(short, QueryAll()); err != nil {
				t.Error(err)
			}
			if head, err := store.Head(short); err != nil || head != 0 {
				t.Errorf("the head is %d, %v", head, err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		for range appends {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

// If the context of BeginTx ends, database/sql ends the transaction, often before the library notices.
func TestDriversAppendTxWhoseContextEnds(t *testing.T) {
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db := openPool(t, driver, dsn)
		db.SetMaxOpenConns(2)
		store := mustOpenDB(t, db)
		holder := mustBegin(t, db)
		defer holder.Rollback()
		mustExec(t, holder, "CREATE TABLE held (a)")
		for _, end := range []error{context.DeadlineExceeded, context.Canceled} {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			if end == context.Canceled {
				ctx, cancel = context.WithCancel(context.Background())
				time.AfterFunc(50*time.Millisecond, cancel)
			}
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			kind := ErrBusy
			if end == context.Canceled {
				kind = ErrCancelled
			}
			if err := store.AppendTx(ctx, tx, []Event{{Type: "A"}}); !errors.Is(err, end) || !errors.Is(err, kind) {
				t.Errorf("got %v", err)
			}
			cancel()
			_ = tx.Rollback()
		}
	})
}

// A failed commit leaves the transaction of modernc.org/sqlite open, and database/sql lends the connection
// again.
func TestDriversConnectionsAmidATransactionAreNotBelieved(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		for _, look := range []func(*SQLiteStore) error{
			func(s *SQLiteStore) error { return s.Append(ctx, []Event{{Type: "A"}}) },
			func(s *SQLiteStore) error {
				head, err := s.Head(ctx)
				if head != 1 {
					t.Errorf("the head is %d", head)
				}
				return err
			},
			func(s *SQLiteStore) error {
				events, _, err := s.Read(ctx, QueryAll())
				if len(events) != 1 {
					t.Errorf("%d events", len(events))
				}
				return err
			},
		} {
			db := openPool(t, driver, strings.Replace(dsn, "app.db", fmt.Sprintf("app%p.db", &look), 1))
			store := mustOpenDB(t, db)
			mustAppend(t, store, Event{Type: "A"})
			mustExec(t, db, "CREATE TABLE parent (id INTEGER PRIMARY KEY)")
			mustExec(t, db, "CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
			conn, err := db.Conn(ctx)
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, conn, "PRAGMA foreign_keys = ON")
			tx, err := conn.BeginTx(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, tx, "INSERT INTO child VALUES (1)")
			if err := store.AppendTx(ctx, tx, []Event{{Type: "B"}}); err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(); err == nil {
				t.Fatal("it was committed")
			}
			conn.Close()
			if err := look(store); err != nil {
				t.Error(err)
			}
			mustAppend(t, store, Event{Type: "A"})
		}
	})
}

// With a shared cache and read_uncommitted, a store must not remember what it read of an open transaction.
func TestDriversReadNothingUncommitted(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "app.db")
	for _, dsn := range []string{
		"file:shared?mode=memory&cache=shared&_pragma=read_uncommitted(1)",
		"file:" + path + "?cache=shared&_pragma=journal_mode(WAL)&_pragma=read_uncommitted(1)",
	} {
		db := openPool(t, "sqlite", dsn)
		db.SetMaxOpenConns(2)
		db.SetMaxIdleConns(2)
		store := mustOpenDB(t, db)
		mustAppend(t, store, Event{Type: "A"})
		tx := mustBegin(t, db)
		event, condition := claim(1)
		if err := store.AppendTx(ctx, tx, []Event{event}); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() {
			// The read may wait for the end of the transaction, but must not see its events.
			events, _, err := store.Read(ctx, QueryAll())
			if len(events) > 1 {
				t.Errorf("%d events are read", len(events))
			}
			read <- err
		}()
		time.Sleep(20 * time.Millisecond)
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil && !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
		if err := store.Append(ctx, []Event{event}, condition); err != nil {
			t.Error(err)
		}
		if err := store.Append(ctx, []Event{event}, condition); !errors.Is(err, ErrAppendConditionFailed) {
			t.Errorf("got %v", err)
		}
		conn, err := db.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var uncommitted int
		if err := conn.QueryRowContext(ctx, "PRAGMA read_uncommitted").Scan(&uncommitted); err != nil || uncommitted != 1 {
			t.Errorf("read_uncommitted is %d, %v", uncommitted, err)
		}
		conn.Close()
	}
}

func TestDriversCloseEndsASubscriptionThatWaitsToRead(t *testing.T) {
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db := openPool(t, driver, dsn)
		db.SetMaxOpenConns(1)
		store := mustOpenDB(t, db)
		tx := mustBegin(t, db)
		defer tx.Rollback()
		ended := make(chan error, 1)
		go func() {
			for _, err := range store.Subscribe(context.Background(), QueryAll()) {
				ended <- err
			}
		}()
		for len(store.handle().slots[reading]) == 0 {
			time.Sleep(time.Millisecond)
		}
		closed := make(chan struct{})
		go func() {
			store.Store.Close()
			close(closed)
		}()
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Fatal("it waits for a read that waits for the only connection")
		}
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// The only limit of a wait is its context, even if no connection is free for longer than the busy timeout.
func TestDriversWaitOutlastsTheBusyTimeout(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db := openPool(t, driver, dsn)
		db.SetMaxOpenConns(1)
		store := mustOpenDB(t, db, BusyTimeout(10*time.Millisecond))
		mustAppend(t, store, Event{Type: "A"})
		tx := mustBegin(t, db)
		type outcome struct {
			head int64
			err  error
		}
		waited := make(chan outcome, 1)
		go func() {
			head, err := store.Wait(ctx, 0)
			waited <- outcome{head, err}
		}()
		time.Sleep(200 * time.Millisecond)
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if got := <-waited; got.head != 1 || got.err != nil {
			t.Errorf("the head is %d, %v", got.head, got.err)
		}

		// The context and Close end a wait that waits for a connection.
		tx = mustBegin(t, db)
		defer tx.Rollback()
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if _, err := store.Wait(short, 0); err != context.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
		go func() {
			head, err := store.Wait(ctx, 0)
			waited <- outcome{head, err}
		}()
		for len(store.handle().slots[reading]) == 0 {
			time.Sleep(time.Millisecond)
		}
		store.Store.Close()
		if got := <-waited; !errors.Is(got.err, ErrClosed) {
			t.Errorf("closed: %v", got.err)
		}
	})
}

// A lock that was acquired in the end is not reported as the cause of a later failure.
func TestDriversAStaleErrorIsNoCause(t *testing.T) {
	ctx := context.Background()
	busy := sqlite3.Error{Code: sqlite3.ErrBusy, ExtendedCode: 5}
	open := func(path, locked string) (store *SQLiteStore, times *int) {
		times = new(int)
		before := func(query string) error {
			if *times > 0 && strings.HasPrefix(query, locked) {
				*times--
				return busy
			}
			return nil
		}
		named := namedDriver{&sqlite3.SQLiteDriver{}, "file:" + path + "?_journal_mode=WAL"}
		db := sql.OpenDB(&tamperedDriver{openingDriver{named, before}, before})
		t.Cleanup(func() { db.Close() })
		if locked == "open" {
			db.SetMaxIdleConns(0)
		}
		return mustOpenDB(t, db), times
	}
	check := func(what string, err, status error, times int) {
		t.Helper()
		var stale sqlite3.Error
		if !errors.Is(err, status) || errors.As(err, &stale) {
			t.Errorf("%s: got %v, stale: %v", what, err, stale)
		}
		if times != 0 {
			t.Errorf("%s: it met no lock", what)
		}
	}
	for _, locked := range []string{"BEGIN IMMEDIATE", "SELECT", "INSERT", "COMMIT"} {
		path := filepath.Join(t.TempDir(), "app.db")
		store, times := open(path, locked)
		mustAppend(t, store, Event{Type: "A"})
		// Now the log can be written, but not be made durable.
		if err := os.Rename(path, path+".moved"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		*times = 1
		err := store.Append(ctx, []Event{{Type: "B"}})
		check(locked, err, ErrIO, *times)
	}
	for _, locked := range []string{"open", "PRAGMA", "BEGIN", "SELECT"} {
		store, times := open(filepath.Join(t.TempDir(), "app.db"), locked)
		mustExec(t, store.db, "CREATE TRIGGER none BEFORE INSERT ON dcb_events BEGIN SELECT RAISE(IGNORE); END")
		*times = 1
		err := store.Append(ctx, []Event{{Type: "B"}})
		check(locked+", and a trigger", err, ErrInvalidArgument, *times)
	}
}

// openingDriver calls before ahead of each opening of a connection.
type openingDriver struct {
	driver.Driver
	before func(what string) error
}

func (d openingDriver) Open(name string) (driver.Conn, error) {
	if err := d.before("open"); err != nil {
		return nil, err
	}
	return d.Driver.Open(name)
}

func TestDriversAppendTxNeedsItsStore(t *testing.T) {
	db := openPool(t, "sqlite", ":memory:")
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	native, err := NewSQLiteStore(":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer native.Close()
	if err := native.AppendTx(context.Background(), tx, []Event{{Type: "A"}}); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("on a native store: %v", err)
	}
	store := mustOpenDB(t, openPool(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")))
	if err := store.AppendTx(context.Background(), nil, []Event{{Type: "A"}}); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("without a transaction: %v", err)
	}
	if err := store.AppendTx(context.Background(), tx, []Event{{Type: "A"}}); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("in a transaction of another database: %v", err)
	}
	if _, err := NewSQLiteStoreFromDB(nil); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("without a database: %v", err)
	}
}

func TestDriversPoolOfOne(t *testing.T) {
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db := openPool(t, driver, dsn)
		db.SetMaxOpenConns(1)
		store := mustOpenDB(t, db)
		var group sync.WaitGroup
		for range 4 {
			group.Add(1)
			go func() {
				defer group.Done()
				for i := range 20 {
					mustAppend(t, store, Event{Type: "A", Data: i})
					if _, _, err := store.Read(context.Background(), QueryAll(), Limit(3)); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		group.Wait()
		// A goroutine that holds the connection waits for itself, until its context ends.
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		err = store.Append(ctx, []Event{{Type: "A"}})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		cancelled, cancel := context.WithCancel(context.Background())
		time.AfterFunc(20*time.Millisecond, cancel)
		if err := store.Append(cancelled, []Event{{Type: "A"}}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if count, err := store.Count(context.Background()); err != nil || count != 80 {
			t.Errorf("%d, %v", count, err)
		}
	})
}

func TestDriversContextBoundsTheWaitForAWriter(t *testing.T) {
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db := openPool(t, driver, dsn)
		store := mustOpenDB(t, db)
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		mustExec(t, tx, "CREATE TABLE held (a)")
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		err = store.Append(ctx, []Event{{Type: "A"}})
		// The busy timeout of the drivers is 5 seconds, unless the program sets another.
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

func TestDriversCloseClosesTheDatabase(t *testing.T) {
	db := openPool(t, "sqlite3", filepath.Join(t.TempDir(), "app.db"))
	store := mustOpenDB(t, db)
	waiting := make(chan error)
	go func() {
		_, err := store.Wait(context.Background(), 0)
		waiting <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Errorf("a wait ended with %v", err)
	}
	if err := db.Ping(); err == nil {
		t.Error("the database is open")
	}
	if err := store.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := store.Append(context.Background(), []Event{{Type: "A"}}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestDriversTheIndexIsWrittenByAppends(t *testing.T) {
	for _, d := range dbDrivers {
		db := openPool(t, d.driver, "file:"+filepath.Join(t.TempDir(), "app.db")+d.wal)
		store := mustOpenDB(t, db)
		events := make([]Event, 1000)
		for i := range 30 {
			for j := range events {
				events[j], _ = claim(i*1000 + j)
			}
			mustAppend(t, store, events...)
		}
		var covered int
		err := db.QueryRow("SELECT max(high) FROM dcb_segments WHERE state = 1").Scan(&covered)
		if err != nil || covered < 30_000-2*8_192 {
			t.Errorf("segments cover %d events, %v", covered, err)
		}
		for _, n := range []int{0, 8_191, 8_192, 29_999} {
			event, condition := claim(n)
			err := store.Append(context.Background(), []Event{event}, condition)
			var failure *Error
			if !errors.As(err, &failure) || failure.Position != int64(n)+1 {
				t.Errorf("claim %d: %v", n, err)
			}
		}
	}
}

// settings returns the settings of a connection.
func settings(t testing.TB, conn *sql.Conn) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, name := range []string{
		"busy_timeout", "synchronous", "journal_mode", "foreign_keys", "recursive_triggers", "query_only",
		"temp_store", "cache_size", "wal_autocheckpoint", "trusted_schema", "read_uncommitted", "locking_mode",
		"user_version", "application_id",
	} {
		var value string
		if err := conn.QueryRowContext(context.Background(), "PRAGMA "+name).Scan(&value); err != nil {
			t.Fatal(name, err)
		}
		found[name] = value
	}
	return found
}

func TestDriversConnectionsAreLeftAsTheyWere(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, driver, _, dsn string) {
		db := openPool(t, driver, dsn)
		db.SetMaxOpenConns(1)
		var raw any
		with := func(body func(conn *sql.Conn)) {
			conn, err := db.Conn(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.Raw(func(c any) error {
				if raw == nil {
					raw = c
				}
				if raw != c {
					t.Fatal("the pool has another connection")
				}
				return nil
			})
			body(conn)
		}
		for _, synchronous := range []string{"OFF", "NORMAL", "EXTRA"} {
			var before, after map[string]string
			with(func(conn *sql.Conn) {
				mustExec(t, conn, "PRAGMA synchronous = "+synchronous)
				mustExec(t, conn, "PRAGMA busy_timeout = 1234")
				mustExec(t, conn, "PRAGMA foreign_keys = ON")
				mustExec(t, conn, "PRAGMA recursive_triggers = ON")
				before = settings(t, conn)
			})
			store, err := NewSQLiteStoreFromDB(db)
			if err != nil {
				t.Fatal(err)
			}
			event, condition := claim(1)
			_ = store.Append(ctx, []Event{event}, condition)
			_ = store.Append(ctx, []Event{event}, condition)
			if _, _, err := store.Read(ctx, QueryAll()); err != nil {
				t.Error(err)
			}
			for _, err := range store.Events(ctx, QueryAll()) {
				if err != nil {
					t.Error(err)
				}
				break
			}
			with(func(conn *sql.Conn) {
				after = settings(t, conn)
				mustExec(t, conn, "BEGIN IMMEDIATE") // fails if a transaction is open
				mustExec(t, conn, "ROLLBACK")
			})
			if !maps.Equal(before, after) {
				t.Errorf("before %v\nafter  %v", before, after)
			}
			store.Store.Close()
		}
	})
}

// tamperedDriver wraps a driver and calls before ahead of each statement.
type tamperedDriver struct {
	inner  driver.Driver
	before func(query string) error
}

func (d *tamperedDriver) Connect(context.Context) (driver.Conn, error) { return d.Open("") }
func (d *tamperedDriver) Driver() driver.Driver                        { return d }

func (d *tamperedDriver) Open(string) (driver.Conn, error) {
	conn, err := d.inner.Open("")
	if err != nil {
		return nil, err
	}
	return &tamperedConn{conn, d}, nil
}

type tamperedConn struct {
	driver.Conn
	driver *tamperedDriver
}

func (c *tamperedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.driver.before(query); err != nil {
		return nil, err
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *tamperedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.driver.before(query); err != nil {
		return nil, err
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

// namedDriver opens the same database for every connection.
type namedDriver struct {
	driver.Driver
	dsn string
}

func (d namedDriver) Open(string) (driver.Conn, error) { return d.Driver.Open(d.dsn) }

// resettingConn is a tamperedConn that database/sql keeps after the end of a context has rolled a transaction
// back, as it keeps connections of modernc.org/sqlite.
type resettingConn struct{ tamperedConn }

func (c *resettingConn) ResetSession(context.Context) error { return nil }
func (c *resettingConn) IsValid() bool                      { return true }

// Whatever ends a transaction while AppendTx runs in it, the connection in the pool has the busy timeout that it
// had before.
func TestDriversATransactionThatEndsAmidAnAppend(t *testing.T) {
	inner := map[string]driver.Driver{"sqlite3": &sqlite3.SQLiteDriver{}, "sqlite": &sqlite.Driver{}}
	onDrivers(t, func(t *testing.T, name, _, dsn string) {
		if name == "sqlite" {
			if !strings.Contains(dsn, "?") {
				dsn += "?_txlock=deferred"
			}
			dsn += "&_pragma=busy_timeout(2000)"
		}
		for _, how := range []string{"rollback", "context"} {
			refused := 0
			for _, connections := range []int{1, 3} {
				for _, place := range []string{
					"PRAGMA busy_timeout = 0", "UPDATE main.dcb_meta", "SAVEPOINT", "SELECT", "INSERT INTO main.dcb_events", "RELEASE",
				} {
					var end func()
					tampered := &tamperedDriver{namedDriver{inner[name], dsn}, func(query string) error {
						if end != nil && strings.HasPrefix(query, place) {
							go end()
							end = nil
							time.Sleep(10 * time.Millisecond) // until database/sql waits for the statement to end
						}
						return nil
					}}
					db := sql.OpenDB(keepingDriver{tampered})
					db.SetMaxOpenConns(connections)
					db.SetMaxIdleConns(connections)
					store := mustOpenDB(t, db)
					timeouts := func() (found []string) {
						var conns []*sql.Conn
						for range connections {
							conn, err := db.Conn(context.Background())
							if err != nil {
								t.Fatal(err)
							}
							conns = append(conns, conn)
							found = append(found, settings(t, conn)["busy_timeout"])
						}
						for _, conn := range conns {
							conn.Close()
						}
						return found
					}
					before := timeouts()
					ctx, cancel := context.WithCancel(context.Background())
					tx, err := db.BeginTx(ctx, nil)
					if err != nil {
						t.Fatal(err)
					}
					end = cancel
					if how == "rollback" {
						end = func() { _ = tx.Rollback() }
					}
					if err := store.AppendTx(ctx, tx, []Event{{Type: "A"}}); err != nil {
						refused++
					}
					cancel()
					_ = tx.Rollback()
					if after := timeouts(); !slices.Equal(before, after) {
						t.Errorf("%s at %s, %d connections: the timeouts were %v, and are %v", how, place, connections, before, after)
					}
					if head, err := store.Head(context.Background()); err != nil {
						t.Errorf("%s at %s: the head is %d, %v", how, place, head, err)
					} else if err := store.Append(context.Background(), []Event{{Type: "B"}}); err != nil {
						t.Errorf("%s at %s: %v", how, place, err)
					}
					store.Close()
				}
			}
			if refused < 6 {
				t.Errorf("%s: only %d appends met the end of their transaction", how, refused)
			}
		}
	})
}

// A driver that fails to restore the busy timeout leaves it to a later try.
func TestDriversARestoreThatFailsIsMadeLater(t *testing.T) {
	ctx := context.Background()
	inner := map[string]driver.Driver{"sqlite3": &sqlite3.SQLiteDriver{}, "sqlite": &sqlite.Driver{}}
	for _, d := range dbDrivers {
		for _, times := range []int{1, 1000} {
			path := filepath.Join(t.TempDir(), "app.db")
			failures := 0
			tampered := &tamperedDriver{namedDriver{inner[d.driver], "file:" + path + d.wal}, func(query string) error {
				if query == "PRAGMA busy_timeout = 1234" && failures > 0 {
					failures--
					return errors.New("as the test asked")
				}
				return nil
			}}
			db := sql.OpenDB(tampered)
			t.Cleanup(func() { db.Close() })
			db.SetMaxOpenConns(1)
			store := mustOpenDB(t, db)
			mustExec(t, db, "PRAGMA busy_timeout = 1234")
			tx := mustBegin(t, db)
			failures = times
			if err := store.AppendTx(ctx, tx, []Event{{Type: "A"}}); err != nil {
				t.Errorf("%s: %v", d.name, err)
			}
			failures = 0
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			if times > 1 { // the next call of the store makes up for it
				if _, err := store.Head(ctx); err != nil {
					t.Error(err)
				}
			}
			conn, err := db.Conn(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if timeout := settings(t, conn)["busy_timeout"]; timeout != "1234" {
				t.Errorf("%s, %d failures: busy_timeout is %s", d.name, times, timeout)
			}
			conn.Close()
		}
	}
}

// keepingDriver opens resettingConns.
type keepingDriver struct{ *tamperedDriver }

func (d keepingDriver) Connect(context.Context) (driver.Conn, error) {
	conn, err := d.Open("")
	if err != nil {
		return nil, err
	}
	return &resettingConn{*conn.(*tamperedConn)}, nil
}

func TestDriversFailuresLeaveNothingBehind(t *testing.T) {
	ctx := context.Background()
	inner := map[string]driver.Driver{"sqlite3": &sqlite3.SQLiteDriver{}, "sqlite": &sqlite.Driver{}}
	onDrivers(t, func(t *testing.T, name, _, dsn string) {
		var where, what string
		tampered := &tamperedDriver{namedDriver{inner[name], dsn}, func(query string) error {
			if where == "" || !strings.HasPrefix(query, where) {
				return nil
			}
			if what == "panic" {
				panic("as the test asked")
			}
			return errors.New(what)
		}}
		db := sql.OpenDB(tampered)
		t.Cleanup(func() { db.Close() })
		db.SetMaxOpenConns(1)
		store := mustOpenDB(t, db)
		mustAppend(t, store, Event{Type: "A"})
		want := int64(1)
		for _, place := range []string{
			"PRAGMA main.synchronous", "PRAGMA busy_timeout = 0", "BEGIN IMMEDIATE", "SELECT (SELECT max", "INSERT INTO main.dcb_events",
			"COMMIT", "ROLLBACK", "PRAGMA busy_timeout = ", "BEGIN", "SELECT position",
		} {
			for _, how := range []string{"broken", "panic"} {
				if how == "panic" && (strings.HasPrefix(place, "SELECT") || place == "PRAGMA main.synchronous") {
					// database/sql itself never gets back a connection that panics here.
					continue
				}
				where, what = place, how
				event, condition := claim(1)
				err := store.Append(ctx, []Event{event}, condition)
				_, _, readErr := store.Read(ctx, condition.FailIfEventsMatch)
				where = ""
				for _, err := range []error{err, readErr} {
					var failure *Error
					if err != nil && (!errors.As(err, &failure) || !strings.Contains(err.Error(), map[string]string{"broken": "broken", "panic": "as the test asked"}[how]) && !errors.Is(err, ErrAppendConditionFailed)) {
						t.Errorf("%s, %s: %v", place, how, err)
					}
				}
				if err == nil {
					want++
				}
				// The connection is in no transaction, and has its settings.
				conn, connErr := db.Conn(ctx)
				if connErr != nil {
					t.Fatal(connErr)
				}
				if timeout := settings(t, conn)["busy_timeout"]; timeout == "0" && name == "sqlite3" {
					t.Errorf("%s, %s: busy_timeout is %s", place, how, timeout)
				}
				mustExec(t, conn, "BEGIN IMMEDIATE")
				mustExec(t, conn, "ROLLBACK")
				conn.Close()
				if head, err := store.Head(ctx); err != nil || head != want {
					t.Fatalf("%s, %s: the head is %d, not %d, %v", place, how, head, want, err)
				}
			}
		}
	})
}

// exited holds stores whose library was unwound: they cannot be closed.
var exited []*SQLiteStore

// Nothing can stop a goroutine from ending. It must not end without a word, since it takes the library's locks
// with it.
func TestDriversADriverThatEndsItsGoroutinePanics(t *testing.T) {
	inner := map[string]driver.Driver{"sqlite3": &sqlite3.SQLiteDriver{}, "sqlite": &sqlite.Driver{}}
	for _, place := range []string{"PRAGMA main.synchronous", "INSERT INTO main.dcb_events"} {
		onDrivers(t, func(t *testing.T, name, _, dsn string) {
			exits := false
			tampered := &tamperedDriver{namedDriver{inner[name], dsn}, func(query string) error {
				if exits && strings.HasPrefix(query, place) {
					runtime.Goexit()
				}
				return nil
			}}
			store, err := OpenDB(sql.OpenDB(tampered))
			if err != nil {
				t.Fatal(err)
			}
			exited = append(exited, store)
			exits = true
			panicked := make(chan any)
			go func() {
				defer func() { panicked <- recover() }()
				_ = store.Append(context.Background(), []Event{{Type: "A"}})
			}()
			if p := fmt.Sprint(<-panicked); !strings.Contains(p, "runtime.Goexit") {
				t.Errorf("%s: panicked with %s", place, p)
			}
		})
	}
}

func TestDriversEventsAreDurableWhateverTheConnectionSays(t *testing.T) {
	// The tests of the library count the syncs of the files beside the database. Here, no commit of the
	// store may run on a connection that does not sync. In WAL mode, the store syncs the file itself.
	onDrivers(t, func(t *testing.T, name, _, dsn string) {
		level := "3"
		if strings.Contains(dsn, "journal_mode") {
			level = "1"
		}
		inner := map[string]driver.Driver{"sqlite3": &sqlite3.SQLiteDriver{}, "sqlite": &sqlite.Driver{}}
		var statements []string
		tampered := &tamperedDriver{namedDriver{inner[name], dsn}, func(query string) error {
			statements = append(statements, query)
			return nil
		}}
		db := sql.OpenDB(tampered)
		t.Cleanup(func() { db.Close() })
		db.SetMaxOpenConns(1)
		store := mustOpenDB(t, db)
		mustExec(t, db, "PRAGMA synchronous = OFF")
		statements = nil
		mustAppend(t, store, Event{Type: "A"})
		raised := slices.Index(statements, "PRAGMA main.synchronous = "+level)
		committed := slices.Index(statements, "COMMIT")
		restored := slices.Index(statements, "PRAGMA main.synchronous = 0")
		if raised < 0 || committed < raised || restored < committed {
			t.Errorf("statements: %q", statements)
		}
	})
}

func TestDriversRowsComeBackByteForByte(t *testing.T) {
	for _, d := range dbDrivers {
		store := mustOpenDB(t, openPool(t, d.driver, filepath.Join(t.TempDir(), "app.db")))
		data := `{"a" : 1e400, "z": "\ud800", "t": "2024-01-02T03:04:05Z", "big": 12345678901234567890}`
		mustAppend(t, store, Event{
			Type: "2024-01-02 03:04:05", Tags: []Tag{{Key: "k", Value: "0x12"}, BareTag("1.0"), BareTag("true")},
			Data: json.RawMessage(data), ID: "007", Metadata: json.RawMessage(`{ "m":null}`),
		})
		events, _, err := store.ReadRaw(context.Background(), QueryAll())
		if err != nil || len(events) != 1 || string(events[0].Data) != data || events[0].Type != "2024-01-02 03:04:05" ||
			events[0].ID != "007" || string(events[0].Metadata) != `{ "m":null}` || events[0].Tags[1].Key != "1.0" {
			t.Errorf("%s: %+v, %v", d.name, events, err)
		}
	}
}

// BenchmarkDrivers compares a store over a driver with a native one on the same disk. "x-native" is the ratio.
func BenchmarkDrivers(b *testing.B) {
	ctx := context.Background()
	for _, d := range dbDrivers {
		open := func(b *testing.B) (native, hosted *Store) {
			native = mustOpen(b, "sqlite:"+filepath.Join(b.TempDir(), "native.db"))
			hosted = mustOpenDB(b, openPool(b, d.driver, "file:"+filepath.Join(b.TempDir(), "app.db")+d.wal)).Store
			return native, hosted
		}
		compare := func(b *testing.B, native, hosted func(i int)) {
			var times [2]time.Duration
			for i := range b.N {
				for j, run := range []func(int){native, hosted} {
					start := time.Now()
					run(i)
					times[j] += time.Since(start)
				}
			}
			b.ReportMetric(float64(times[1])/float64(times[0]), "x-native")
			b.ReportMetric(float64(times[1].Microseconds())/float64(b.N), "us-hosted")
		}
		b.Run("append-on-condition/"+d.name, func(b *testing.B) {
			native, hosted := open(b)
			run := func(s *Store) func(int) {
				return func(i int) {
					event, condition := claim(i)
					if err := s.Append(ctx, []Event{event}, condition); err != nil {
						b.Fatal(err)
					}
				}
			}
			compare(b, run(native), run(hosted))
		})
		b.Run("read-10-of-20000/"+d.name, func(b *testing.B) {
			native, hosted := open(b)
			events := make([]Event, 1000)
			for i := range 20 {
				for j := range events {
					events[j] = Event{Type: "A", Tags: []Tag{{Key: "n", Value: strconv.Itoa(j * 2)}, {Key: "m", Value: strconv.Itoa((i*1000 + j) % 2000)}}}
				}
				mustAppend(b, native, events...)
				mustAppend(b, hosted, events...)
			}
			run := func(s *Store) func(int) {
				return func(i int) {
					query := NewQuery(QueryItem{Tags: []Tag{{Key: "m", Value: strconv.Itoa(i % 2000)}}})
					if found, _, err := s.ReadRaw(ctx, query); err != nil || len(found) != 10 {
						b.Fatal(len(found), err)
					}
				}
			}
			compare(b, run(native), run(hosted))
		})
	}
}

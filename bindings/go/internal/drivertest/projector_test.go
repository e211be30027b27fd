package projector

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/bindings/go/internal/projectortest"
	_ "github.com/mattn/go-sqlite3"
	_ "modernc.org/sqlite"
)

// Tests of projectors on databases of both SQLite drivers.

// parameters holds, for each driver, those of a file in WAL mode.
var parameters = map[string]string{
	"sqlite3": "?_journal_mode=WAL&_busy_timeout=5000&_synchronous=OFF",
	"sqlite":  "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(OFF)",
}

func openFile(t testing.TB, driver, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, "file:"+path+parameters[driver])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// onDrivers runs the test with a new database of each driver.
func onDrivers(t *testing.T, test func(t *testing.T, db *sql.DB)) {
	for driver := range parameters {
		t.Run(driver, func(t *testing.T) {
			test(t, openFile(t, driver, filepath.Join(t.TempDir(), "app.db")))
		})
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// seats returns a projector that logs the positions of the events of type A in the order in which it applies
// them. Nothing in the table keeps a position from being there twice.
func seats(t testing.TB, db *sql.DB, store Source, version int) *Projector {
	t.Helper()
	log := fmt.Sprint("log_v", version)
	_, err := db.Exec("CREATE TABLE IF NOT EXISTS " + log + " (seq INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER)")
	check(t, err)
	p := &Projector{
		Name:      "seats",
		Version:   version,
		Query:     dcb.NewQuery(dcb.QueryItem{Types: []string{"A"}}),
		Store:     store,
		DB:        db,
		BatchSize: 4,
		Lease:     50 * time.Millisecond,
		MinDelay:  time.Millisecond,
		MaxDelay:  time.Millisecond,
		Handle: func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO "+log+" (position) VALUES (?)", event.Position)
			return err
		},
	}
	check(t, p.CreateTables(context.Background()))
	return p
}

// appendEvents appends n events. Every third has the type B, and the others have the type A.
func appendEvents(t testing.TB, store dcb.EventStore, n int) {
	t.Helper()
	for i := range n {
		kind := "A"
		if i%3 == 2 {
			kind = "B"
		}
		check(t, store.Append(context.Background(), []dcb.Event{{Type: kind, Data: i}}))
	}
}

// The steps that these tests share with those on PostgreSQL.
var (
	start        = projectortest.Start
	waitFor      = projectortest.WaitFor
	positions    = projectortest.Applied
	checkApplied = projectortest.CheckApplied
)

func head(t testing.TB, store *dcb.Store) int64 {
	t.Helper()
	head, err := store.Head(context.Background())
	check(t, err)
	return head
}

func TestDriversProjectorAppliesAndRestarts(t *testing.T) {
	onDrivers(t, func(t *testing.T, db *sql.DB) {
		store := dcb.NewMemoryStore()
		p := seats(t, db, store, 1)
		reader := &Projector{Name: "seats", Version: 1, DB: db}
		for range 3 {
			stop := start(t, p)
			appendEvents(t, store, 10)
			waitFor(t, p, head(t, store.Store))
			waitFor(t, reader, head(t, store.Store))
			checkApplied(t, db, store.Store, "log_v1")
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Fatalf("Run returned %v", err)
			}
			appendEvents(t, store, 10)
		}
		status, err := p.Status(context.Background())
		check(t, err)
		if status.Position != 50 || status.Head != 60 || status.Lag != 10 || status.Age <= 0 || status.Held {
			t.Errorf("%+v", status)
		}
		start(t, p)
		waitFor(t, p, 60)
		status, err = p.Status(context.Background())
		check(t, err)
		if status.Position != 60 || status.Lag != 0 || status.Age != 0 || status.Fence != 4 || !status.Held {
			t.Errorf("%+v", status)
		}
		checkApplied(t, db, store.Store, "log_v1")
	})
}

// The events and the read model may be in one database with one connection.
func TestDriversProjectorOnTheDatabaseOfTheStore(t *testing.T) {
	for driver := range parameters {
		t.Run(driver, func(t *testing.T) {
			db, err := sql.Open(driver, ":memory:")
			check(t, err)
			db.SetMaxOpenConns(1)
			store, err := dcb.NewSQLiteStoreFromDB(db)
			check(t, err)
			defer store.Close()
			p := seats(t, db, store, 1)
			// A handler may append in its transaction.
			handle := p.Handle
			p.Handle = func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
				if err := store.AppendTx(ctx, tx, []dcb.Event{{Type: "Seen", Data: event.Position}}); err != nil {
					return err
				}
				return handle(ctx, tx, event)
			}
			stop := start(t, p)
			appendEvents(t, store, 9)
			waitFor(t, p, head(t, store.Store)) // above all of them, with the handler's own among them
			stop()
			checkApplied(t, db, store.Store, "log_v1")
			seen, _, err := store.Read(context.Background(), dcb.NewQuery(dcb.QueryItem{Types: []string{"Seen"}}))
			if err != nil || len(seen) != 6 {
				t.Errorf("%d events were appended, %v", len(seen), err)
			}
		})
	}
}

func TestDriversProjectorStopsAtAnEventThatFails(t *testing.T) {
	onDrivers(t, func(t *testing.T, db *sql.DB) {
		store := dcb.NewMemoryStore()
		p := seats(t, db, store, 1)
		appendEvents(t, store, 6)
		cause := errors.New("no such seat")
		calls := 0
		handle := p.Handle
		p.Handle = func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
			if err := handle(ctx, tx, event); err != nil || event.Position != 4 {
				return err
			}
			calls++
			return cause
		}
		err := p.Run(context.Background())
		var failed *EventError
		if !errors.As(err, &failed) || failed.Position != 4 || failed.Type != "A" || failed.Attempts != 3 || calls != 3 {
			t.Fatalf("%v after %d calls", err, calls)
		}
		if !errors.Is(err, cause) {
			t.Errorf("%v does not wrap the error of Handle", err)
		}
		if got := positions(t, db, "log_v1"); !slices.Equal(got, []int64{1, 2}) {
			t.Errorf("%v were applied", got)
		}
		p.Handle = handle
		stop := start(t, p)
		waitFor(t, p, 6)
		stop()
		checkApplied(t, db, store.Store, "log_v1")
	})
}

func TestDriversProjectorParksAndReplays(t *testing.T) {
	onDrivers(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		store := dcb.NewMemoryStore()
		p := seats(t, db, store, 1)
		p.OnFailure, p.Attempts = Park, 2
		appendEvents(t, store, 12)
		refuses := true
		handle := p.Handle
		p.Handle = func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
			if err := handle(ctx, tx, event); err != nil {
				return err
			}
			if refuses && (event.Position == 4 || event.Position == 5 || event.Position == 11) {
				return errors.New("full\x00 \xff")
			}
			return nil
		}
		stop := start(t, p)
		waitFor(t, p, 12)
		stop()
		parked, err := p.Parked(ctx)
		check(t, err)
		if len(parked) != 3 || parked[0].Position != 4 || parked[0].Attempts != 2 || parked[0].Error != "full " ||
			parked[0].Type != "A" || time.Since(parked[0].ParkedAt) > time.Minute {
			t.Fatalf("%+v", parked)
		}
		if got := positions(t, db, "log_v1"); !slices.Equal(got, []int64{1, 2, 7, 8, 10}) {
			t.Errorf("%v were applied", got)
		}
		var failed *EventError
		if err := p.Replay(ctx, 4); !errors.As(err, &failed) {
			t.Errorf("an event that is refused again: %v", err)
		}
		if parked, _ := p.Parked(ctx); len(parked) != 3 || parked[0].Attempts != 3 {
			t.Errorf("%+v", parked)
		}
		refuses = false
		check(t, p.Replay(ctx, 4))
		check(t, p.Discard(ctx, 5))
		for _, position := range []int64{1, 4, 5} {
			if err := p.Replay(ctx, position); !errors.Is(err, ErrNotParked) {
				t.Errorf("position %d: %v", position, err)
			}
		}
		if err := p.Discard(ctx, 5); !errors.Is(err, ErrNotParked) {
			t.Error(err)
		}
		if got := positions(t, db, "log_v1"); !slices.Equal(got, []int64{1, 2, 7, 8, 10, 4}) {
			t.Errorf("%v were applied", got)
		}
		status, err := p.Status(ctx)
		if err != nil || status.Parked != 1 {
			t.Errorf("%+v, %v", status, err)
		}
		// Of several replays at once, one applies the event.
		errs := make(chan error)
		for range 4 {
			go func() { errs <- p.Replay(ctx, 11) }()
		}
		replayed := 0
		for range 4 {
			if err := <-errs; err == nil {
				replayed++
			} else if !errors.Is(err, ErrNotParked) {
				t.Error(err)
			}
		}
		if got := positions(t, db, "log_v1"); replayed != 1 || !slices.Equal(got, []int64{1, 2, 7, 8, 10, 4, 11}) {
			t.Errorf("%d replays, %v were applied", replayed, got)
		}
	})
}

// An event whose data does not fit its Go type is dealt with as one that Handle refuses.
func TestDriversProjectorParksWhatCannotBeDecoded(t *testing.T) {
	onDrivers(t, func(t *testing.T, db *sql.DB) {
		store := dcb.NewMemoryStore()
		p := seats(t, db, store, 1)
		p.OnFailure = Park
		appendEvents(t, store, 2)
		check(t, store.Append(context.Background(), []dcb.Event{{Type: "A", Data: jsonNumber("1e400")}}))
		appendEvents(t, store, 2)
		stop := start(t, p)
		waitFor(t, p, 5)
		stop()
		parked, err := p.Parked(context.Background())
		if err != nil || len(parked) != 1 || parked[0].Position != 3 {
			t.Errorf("%+v, %v", parked, err)
		}
		if got := positions(t, db, "log_v1"); !slices.Equal(got, []int64{1, 2, 4, 5}) {
			t.Errorf("%v were applied", got)
		}
	})
}

type jsonNumber string

func (n jsonNumber) MarshalJSON() ([]byte, error) { return []byte(n), nil }

func TestDriversProjectorRetriesWithoutEnd(t *testing.T) {
	onDrivers(t, func(t *testing.T, db *sql.DB) {
		store := dcb.NewMemoryStore()
		p := seats(t, db, store, 1)
		p.OnFailure, p.Attempts, p.Lease = Retry, 1, 10*time.Millisecond
		appendEvents(t, store, 6)
		left := 20
		handle := p.Handle
		p.Handle = func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
			if event.Position == 2 && left > 0 {
				left--
				return errors.New("not yet")
			}
			return handle(ctx, tx, event)
		}
		stop := start(t, p)
		waitFor(t, p, 6)
		stop()
		checkApplied(t, db, store.Store, "log_v1")
		status, err := p.Status(context.Background())
		if err != nil || status.Fence != 1 {
			t.Errorf("the lease was lost meanwhile: %+v, %v", status, err)
		}
	})
}

func TestDriversProjectorNoticesARewoundHistory(t *testing.T) {
	onDrivers(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		stores := map[string]int{"shorter": 3, "of the same length": 6, "longer": 9}
		for name, length := range stores {
			t.Run(name, func(t *testing.T) {
				first := dcb.NewMemoryStore()
				p := seats(t, db, first, 1)
				empty := func(ctx context.Context, tx *sql.Tx) error {
					_, err := tx.ExecContext(ctx, "DELETE FROM log_v1")
					return err
				}
				check(t, p.Reset(ctx, empty))
				appendEvents(t, first, 6)
				stop := start(t, p)
				waitFor(t, p, 6)
				stop()

				second := dcb.NewMemoryStore()
				appendEvents(t, second, length)
				p = seats(t, db, second, 1)
				if err := p.Run(ctx); !errors.Is(err, dcb.ErrHistoryRewound) {
					t.Fatal(err)
				}
				checkApplied(t, db, first.Store, "log_v1")
				check(t, p.Reset(ctx, empty))
				stop = start(t, p)
				waitFor(t, p, int64(length))
				stop()
				checkApplied(t, db, second.Store, "log_v1")
			})
		}
	})
}

// A handler that ends the transaction is a mistake that Run reports.
func TestDriversProjectorReportsAHandlerThatEndsTheTransaction(t *testing.T) {
	onDrivers(t, func(t *testing.T, db *sql.DB) {
		for _, end := range []func(tx *sql.Tx) error{
			(*sql.Tx).Commit,
			(*sql.Tx).Rollback,
			func(tx *sql.Tx) error { return errors.Join(tx.Commit(), errors.New("and it fails")) },
		} {
			store := dcb.NewMemoryStore()
			appendEvents(t, store, 1)
			p := seats(t, db, store, 1)
			check(t, p.Reset(context.Background(), func(context.Context, *sql.Tx) error { return nil }))
			p.Handle = func(_ context.Context, tx *sql.Tx, _ dcb.SequencedEvent) error { return end(tx) }
			if err := p.Run(context.Background()); !errors.Is(err, errTxEnded) {
				t.Error(err)
			}
		}
	})
}

func TestDriversProjectorReturnsAnErrorThatPersists(t *testing.T) {
	onDrivers(t, func(t *testing.T, db *sql.DB) {
		store := dcb.NewMemoryStore()
		p := seats(t, db, store, 1)
		p.Prefix = "missing_"
		if err := p.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "missing_checkpoints") {
			t.Error(err)
		}
		p.Prefix = "" // a query without items selects nothing, which is an error of the store
		p.Query = dcb.NewQuery()
		appendEvents(t, store, 1)
		if err := p.Run(context.Background()); !errors.Is(err, dcb.ErrInvalidArgument) {
			t.Error(err)
		}
		p.Query = dcb.QueryAll()
		store.Close()
		if err := p.Run(context.Background()); !errors.Is(err, dcb.ErrClosed) {
			t.Error(err)
		}
	})
}

package pgxdcb_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/bindings/go/internal/projectortest"
	"github.com/libdcb/libdcb/bindings/go/projector"
)

// Tests that a projector on a PostgreSQL database applies every event exactly once and in order, whatever fails.

// times is how often a fault happens.
func times(short, long int) int {
	if os.Getenv("DCB_TEST_LONG") != "" {
		return long
	}
	return short
}

// onSQLDrivers runs the test with the drivers for database/sql.
func onSQLDrivers(t *testing.T, test func(t *testing.T, p *program)) {
	serverURI(t)
	for _, driver := range []string{"stdlib", "pq"} {
		t.Run(driver, func(t *testing.T) { test(t, openProgram(t, driver, newSchema())) })
	}
}

// seats returns a projector that logs the positions of the events of type A in the order in which it applies
// them. Nothing in the table keeps a position from being there twice.
func (p *program) seats(version int) *projector.Projector {
	p.t.Helper()
	log := p.log(version)
	p.exec("CREATE TABLE IF NOT EXISTS " + log + " (seq bigint GENERATED ALWAYS AS IDENTITY, position bigint)")
	made := &projector.Projector{
		Name:      "seats",
		Version:   version,
		Query:     dcb.NewQuery(dcb.QueryItem{Types: []string{"A"}}),
		Store:     p.PostgresStore,
		DB:        p.db,
		Dialect:   projector.Postgres,
		Prefix:    p.schema + "_projector_",
		BatchSize: 4,
		Lease:     100 * time.Millisecond,
		MinDelay:  time.Millisecond,
		MaxDelay:  time.Millisecond,
		// On a slow machine, the server may end a transaction that was idle for such a short lease.
		OnFailure: projector.Retry,
		Handle: func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO "+log+" (position) VALUES ($1)", event.Position)
			return err
		},
	}
	if err := made.CreateTables(context.Background()); err != nil {
		p.t.Fatal(err)
	}
	return made
}

func (p *program) log(version int) string { return fmt.Sprint(p.schema, "_log_v", version) }

func (p *program) applied(version int) []int64 {
	p.t.Helper()
	return projectortest.Applied(p.t, p.db, p.log(version))
}

// checkApplied checks that each event of type A was applied exactly once and in order.
func (p *program) checkApplied(version int) {
	p.t.Helper()
	projectortest.CheckApplied(p.t, p.db, p.Store, p.log(version))
}

// The steps that these tests share with those on SQLite.
var (
	start   = projectortest.Start
	waitFor = projectortest.WaitFor
)

// appendsInBackground appends events of the types A and B, by all ways, until stop is called.
func (p *program) appendsInBackground() (stop func()) {
	ctx := context.Background()
	var over atomic.Bool
	var running sync.WaitGroup
	running.Add(1)
	go func() {
		defer running.Done()
		for n := 0; !over.Load(); n++ {
			err := p.Append(ctx, eventsOf("A", "B"))
			if n%4 == 0 && err == nil {
				err = p.inTx(ctx, func(tx transaction) error {
					_, err := p.appendTx(ctx, tx, eventsOf("A"))
					return err
				})
			}
			if err != nil {
				p.t.Error(err)
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return func() {
		over.Store(true)
		running.Wait()
	}
}

// TestProjectorChild is a process that the test below kills.
func TestProjectorChild(t *testing.T) {
	driver, schema := os.Getenv("DCB_TEST_PROJECTOR_DRIVER"), os.Getenv("DCB_TEST_PROJECTOR_SCHEMA")
	if schema == "" {
		t.Skip("runs as a child of TestProjectorSurvivesKills")
	}
	p := openProgram(t, driver, schema).seats(1)
	handle := p.Handle
	p.MaxDelay = 5 * time.Millisecond
	p.Handle = func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
		if err := handle(ctx, tx, event); err != nil || rand.N(8) > 0 {
			return err
		}
		return errors.New("fails now and then")
	}
	fmt.Println("ready")
	t.Log(p.Run(context.Background()))
}

// Two processes run a projector while events are appended. One after the other is killed; now and then a session of
// a projector is ended on the server, in a transaction or between two.
func TestProjectorSurvivesKills(t *testing.T) {
	kills := times(10, 100)
	onSQLDrivers(t, func(t *testing.T, p *program) {
		made := p.seats(1)
		driver := "pq"
		if t.Name() == "TestProjectorSurvivesKills/stdlib" {
			driver = "stdlib"
		}
		spawn := func() *exec.Cmd {
			child := exec.Command(os.Args[0], "-test.run=^TestProjectorChild$", "-test.v")
			child.Env = append(os.Environ(), "DCB_TEST_PROJECTOR_DRIVER="+driver, "DCB_TEST_PROJECTOR_SCHEMA="+p.schema)
			output := must(child.StdoutPipe())(t)
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = child.Process.Kill()
				_ = child.Wait()
			})
			for lines := bufio.NewScanner(output); ; {
				if !lines.Scan() {
					t.Fatal("a child ended by itself")
				}
				if lines.Text() == "ready" {
					return child
				}
			}
		}
		stop := p.appendsInBackground()
		children := []*exec.Cmd{spawn(), spawn()}
		for kill := range kills {
			time.Sleep(time.Duration(rand.IntN(100_000)) * time.Microsecond)
			// An idle session may be one of this process, which has made the tables.
			p.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() " +
				"AND state <> 'idle' AND query LIKE '%" + p.schema + "_projector_%' AND random() < 0.5")
			time.Sleep(time.Duration(rand.IntN(50_000)) * time.Microsecond)
			child := children[kill%2]
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = child.Wait()
			if kill < kills-2 {
				children[kill%2] = spawn()
			}
		}
		stop()
		status := must(made.Status(context.Background()))(t)
		t.Logf("the children have applied events up to position %d of %d, in %d leases", status.Position, status.Head, status.Fence)
		stopRun := start(t, made)
		waitFor(t, made, status.Head)
		_ = stopRun()
		p.checkApplied(1)
	})
}

// Runners steal the lease from each other all the time.
func TestProjectorSurvivesLostLeases(t *testing.T) {
	onSQLDrivers(t, func(t *testing.T, p *program) {
		var stops []func() error
		for range 3 {
			made := p.seats(1)
			made.Lease, made.BatchSize = 3*time.Millisecond, 2
			stops = append(stops, start(t, made))
		}
		for range times(60, 600) {
			must(p.AppendEvents(context.Background(), eventsOf("A", "B")))(t)
		}
		head := must(p.Head(context.Background()))(t)
		waitFor(t, p.seats(1), head)
		for _, stop := range stops {
			_ = stop()
		}
		p.checkApplied(1)
	})
}

// A runner that is suspended in its transaction keeps the checkpoint locked, until the server ends its transaction.
func TestProjectorOfASuspendedProcessIsReplaced(t *testing.T) {
	onSQLDrivers(t, func(t *testing.T, p *program) {
		must(p.AppendEvents(context.Background(), eventsOf("A", "A", "A")))(t)
		suspended, next := p.seats(1), p.seats(1)
		inside, goOn := make(chan struct{}), make(chan struct{})
		handle := suspended.Handle
		suspended.Handle = func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
			if err := handle(ctx, tx, event); err != nil {
				return err
			}
			select {
			case inside <- struct{}{}:
				<-goOn
			case <-goOn:
			}
			return nil
		}
		wake := sync.OnceFunc(func() { close(goOn) })
		stop := start(t, suspended)
		t.Cleanup(wake)
		<-inside
		stopNext := start(t, next)
		waitFor(t, &projector.Projector{Name: next.Name, Version: 1, DB: p.db, Dialect: next.Dialect, Prefix: next.Prefix}, 3)
		wake()
		_, _ = stop(), stopNext()
		p.checkApplied(1)
	})
}

func TestProjectorRebuildsUnderLoad(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	onSQLDrivers(t, func(t *testing.T, p *program) {
		old, next := p.seats(1), p.seats(2)
		for range 30 {
			must(p.AppendEvents(ctx, eventsOf("A", "B")))(t)
		}
		retired := make(chan error, 1)
		go func() { retired <- old.Run(ctx) }()
		waitFor(t, old, 60)
		stopAppends := p.appendsInBackground()
		defer stopAppends()
		stop := start(t, next)
		waitFor(t, next, 1)
		var before, after int64
		err := next.Switch(ctx, func(ctx context.Context, tx *sql.Tx) error {
			max := func(version int) string { return "SELECT max(position) FROM " + p.log(version) }
			return errors.Join(tx.QueryRowContext(ctx, max(1)).Scan(&before), tx.QueryRowContext(ctx, max(2)).Scan(&after))
		})
		if err != nil || before == 0 || after < before {
			t.Errorf("the tables had events up to %d, and have them up to %d, %v", before, after, err)
		}
		if err := <-retired; !errors.Is(err, projector.ErrRetired) {
			t.Errorf("the old version ended with %v", err)
		}
		if version, err := next.ActiveVersion(ctx); version != 2 || err != nil {
			t.Errorf("%d, %v", version, err)
		}
		stopAppends()
		waitFor(t, next, must(p.Head(ctx))(t))
		_ = stop()
		p.checkApplied(2)
		all := p.applied(2)
		if got := p.applied(1); got[len(got)-1] != before || !slices.Equal(got, all[:len(got)]) {
			t.Errorf("the old version has applied %v", got)
		}
	})
}

// What a projector writes may include events: both are in the transaction of its checkpoint.
func TestProjectorAppendsInItsTransaction(t *testing.T) {
	onSQLDrivers(t, func(t *testing.T, p *program) {
		ctx := context.Background()
		made := p.seats(1)
		handle := made.Handle
		failures := 0
		made.Handle = func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
			if err := handle(ctx, tx, event); err != nil {
				return err
			}
			if _, err := p.appendTx(ctx, ofSQL{tx}, eventsOf("Counted")); err != nil {
				return err
			}
			if failures++; failures%3 == 1 {
				return errors.New("fails now and then")
			}
			return nil
		}
		stop := start(t, made)
		for range 10 {
			must(p.AppendEvents(ctx, eventsOf("A")))(t)
		}
		for head := int64(0); head < 20; {
			head = must(p.Wait(ctx, head))(t)
		}
		waitFor(t, made, 20)
		_ = stop()
		p.expect("counted", 20, 0)
		p.checkApplied(1)
	})
}

func TestProjectorParksAndReplays(t *testing.T) {
	ctx := context.Background()
	onSQLDrivers(t, func(t *testing.T, p *program) {
		made := p.seats(1)
		handle := made.Handle
		isMended := false
		made.OnFailure, made.Attempts, made.Lease = projector.Park, 2, time.Minute
		made.Handle = func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
			if event.Position == 2 && !isMended {
				_, err := tx.ExecContext(ctx, "SELECT 1 / 0") // ends the transaction
				return err
			}
			return handle(ctx, tx, event)
		}
		must(p.AppendEvents(ctx, eventsOf("A", "A", "A")))(t)
		stop := start(t, made)
		waitFor(t, made, 3)
		_ = stop()
		parked := must(made.Parked(ctx))(t)
		if len(parked) != 1 || parked[0].Position != 2 || parked[0].Attempts != 2 || !slices.Equal(p.applied(1), []int64{1, 3}) {
			t.Errorf("parked %+v, applied %v", parked, p.applied(1))
		}
		isMended = true
		if err := made.Replay(ctx, 2); err != nil || !slices.Equal(p.applied(1), []int64{1, 3, 2}) {
			t.Errorf("%v, applied %v", err, p.applied(1))
		}
		if err := made.Discard(ctx, 2); !errors.Is(err, projector.ErrNotParked) {
			t.Errorf("got %v", err)
		}
		if status := must(made.Status(ctx))(t); status.Position != 3 || status.Lag != 0 || status.Parked != 0 || status.Held {
			t.Errorf("%+v", status)
		}
	})
}

// Processes that start at the same time all create the tables.
func TestProjectorTablesAreCreatedOnce(t *testing.T) {
	onSQLDrivers(t, func(t *testing.T, p *program) {
		for round := range times(10, 100) {
			made := &projector.Projector{Name: "seats", DB: p.db, Dialect: projector.Postgres, Prefix: fmt.Sprint(p.schema, "_", round, "_")}
			var creating sync.WaitGroup
			for range 8 {
				creating.Add(1)
				go func() {
					defer creating.Done()
					if err := made.CreateTables(context.Background()); err != nil {
						t.Error(err)
					}
				}()
			}
			creating.Wait()
		}
	})
}

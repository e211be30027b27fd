package projector

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"modernc.org/sqlite"
)

// Tests that every event is applied exactly once and in order, whatever fails.

// TestDriversProjectorChild is a process that the test below kills.
func TestDriversProjectorChild(t *testing.T) {
	name, folder := os.Getenv("DCB_TEST_PROJECTOR_DRIVER"), os.Getenv("DCB_TEST_PROJECTOR_FOLDER")
	if folder == "" {
		t.Skip("runs as a child of TestDriversProjectorSurvivesKills")
	}
	store, err := dcb.Open("sqlite:" + filepath.Join(folder, "events.db"))
	check(t, err)
	p := seats(t, openFile(t, name, filepath.Join(folder, "app.db")), store, 1)
	handle := p.Handle
	p.OnFailure, p.MaxDelay = Retry, 5*time.Millisecond
	p.Handle = func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
		if err := handle(ctx, tx, event); err != nil || rand.N(8) > 0 {
			return err
		}
		return errors.New("fails now and then")
	}
	fmt.Println("ready")
	t.Log(p.Run(context.Background()))
}

// Two processes run a projector while events are appended. One after the other is killed.
func TestDriversProjectorSurvivesKills(t *testing.T) {
	const kills = 10
	for name := range parameters {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			store, err := dcb.Open("sqlite:" + filepath.Join(folder, "events.db"))
			check(t, err)
			defer store.Close()
			db := openFile(t, name, filepath.Join(folder, "app.db"))
			p := seats(t, db, store, 1)
			spawn := func() *exec.Cmd {
				child := exec.Command(os.Args[0], "-test.run=^TestDriversProjectorChild$", "-test.v")
				child.Env = append(os.Environ(), "DCB_TEST_PROJECTOR_DRIVER="+name, "DCB_TEST_PROJECTOR_FOLDER="+folder)
				output, err := child.StdoutPipe()
				check(t, err)
				check(t, child.Start())
				for lines := bufio.NewScanner(output); ; {
					if !lines.Scan() {
						t.Fatal("a child ended by itself")
					}
					if lines.Text() == "ready" {
						return child
					}
				}
			}
			var killing atomic.Bool
			killing.Store(true)
			var appending sync.WaitGroup
			appending.Add(1)
			go func() {
				defer appending.Done()
				for killing.Load() {
					appendEvents(t, store, 9)
					time.Sleep(5 * time.Millisecond)
				}
			}()
			children := []*exec.Cmd{spawn(), spawn()}
			for kill := range kills {
				time.Sleep(time.Duration(rand.IntN(60_000)) * time.Microsecond)
				child := children[kill%2]
				check(t, child.Process.Kill())
				child.Wait()
				if kill < kills-2 {
					children[kill%2] = spawn()
				}
			}
			killing.Store(false)
			appending.Wait()
			status, err := p.Status(context.Background())
			check(t, err)
			t.Logf("the children have applied events up to position %d of %d, in %d leases",
				status.Position, status.Head, status.Fence)
			stop := start(t, p)
			waitFor(t, p, status.Head)
			stop()
			checkApplied(t, db, store, "log_v1")
		})
	}
}

// Runners of three processes, as far as the database can tell, steal the lease from each other all the time.
func TestDriversProjectorSurvivesLostLeases(t *testing.T) {
	const events = 300
	onDrivers(t, func(t *testing.T, db *sql.DB) {
		store := dcb.NewMemoryStore()
		var stops []func() error
		for range 3 {
			p := seats(t, db, store, 1)
			p.Lease, p.BatchSize, p.OnFailure = time.Microsecond, 2, Retry
			stops = append(stops, start(t, p))
		}
		appendEvents(t, store, events)
		reader := &Projector{Name: "seats", Version: 1, DB: db, Store: store}
		waitFor(t, reader, events)
		for _, stop := range stops {
			stop()
		}
		checkApplied(t, db, store.Store, "log_v1")
		status, err := reader.Status(context.Background())
		check(t, err)
		t.Logf("%d leases", status.Fence)
		if status.Fence < 3 {
			t.Error("no lease was taken over")
		}
	})
}

// pausing is a store whose reads of events wait for a channel.
type pausing struct {
	*dcb.Store
	reading, goOn chan struct{}
}

func (s *pausing) RawEvents(ctx context.Context, query dcb.Query, opts ...dcb.ReadOption) iter.Seq2[dcb.RawEvent, error] {
	return func(yield func(dcb.RawEvent, error) bool) {
		for event, err := range s.Store.RawEvents(ctx, query, opts...) {
			select {
			case s.reading <- struct{}{}:
			case <-s.goOn:
			case <-ctx.Done():
			}
			select {
			case <-s.goOn:
			case <-ctx.Done():
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

// A runner that has lost its lease cannot commit, also while its successor has not applied anything.
func TestDriversProjectorFencesAnOldHolder(t *testing.T) {
	onDrivers(t, func(t *testing.T, db *sql.DB) {
		store := dcb.NewMemoryStore()
		appendEvents(t, store, 4)
		slow := func() *pausing { return &pausing{store.Store, make(chan struct{}), make(chan struct{})} }
		a, b := slow(), slow()
		first, second := seats(t, db, a, 1), seats(t, db, b, 1)
		first.Lease, second.Lease = time.Hour, time.Millisecond
		stopFirst := start(t, first)
		<-a.reading // it has the lease, and events
		stopSecond := start(t, second)
		<-b.reading // the lease is this one's now
		// The first goes on, and comes back as the one that waits: its lease lasts an hour.
		close(a.goOn)
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if _, leads, _ := first.progress.at(0); !leads {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the first runner goes on without its lease; it has applied %v", positions(t, db, "log_v1"))
			}
		}
		if got := positions(t, db, "log_v1"); got != nil {
			t.Errorf("the first runner has applied %v", got)
		}
		close(b.goOn)
		waitFor(t, second, 4)
		stopSecond()
		stopFirst()
		checkApplied(t, db, store.Store, "log_v1")
	})
}

func TestDriversProjectorRebuildsUnderLoad(t *testing.T) {
	const events = 600
	onDrivers(t, func(t *testing.T, db *sql.DB) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		store := dcb.NewMemoryStore()
		old, next := seats(t, db, store, 1), seats(t, db, store, 2)
		if _, err := old.ActiveVersion(ctx); !errors.Is(err, sql.ErrNoRows) {
			t.Error(err)
		}
		var retired = make(chan error, 1)
		go func() { retired <- old.Run(ctx) }()
		appendEvents(t, store, 100)
		waitFor(t, old, 100)
		if version, err := old.ActiveVersion(ctx); err != nil || version != 1 {
			t.Errorf("%d, %v", version, err)
		}
		var appending sync.WaitGroup
		appending.Add(1)
		go func() {
			defer appending.Done()
			appendEvents(t, store, events-100)
		}()
		stop := start(t, next)
		waitFor(t, next, 1)
		var before, after int64
		check(t, next.Switch(ctx, func(ctx context.Context, tx *sql.Tx) error {
			err := tx.QueryRowContext(ctx, "SELECT MAX(position) FROM log_v1").Scan(&before)
			if err != nil {
				return err
			}
			return tx.QueryRowContext(ctx, "SELECT MAX(position) FROM log_v2").Scan(&after)
		}))
		if before == 0 || after < before {
			t.Errorf("the tables had events up to %d, and have them up to %d", before, after)
		}
		if err := <-retired; !errors.Is(err, ErrRetired) {
			t.Errorf("the old version ended with %v", err)
		}
		if version, err := next.ActiveVersion(ctx); err != nil || version != 2 {
			t.Errorf("%d, %v", version, err)
		}
		if err := old.Run(ctx); !errors.Is(err, ErrRetired) {
			t.Error(err)
		}
		if err := (&Projector{Name: "seats", Version: 1, DB: db}).WaitFor(ctx, events); !errors.Is(err, ErrRetired) {
			t.Error(err)
		}
		if err := old.Switch(ctx, nil); err == nil {
			t.Error("a retired version became active")
		}
		appending.Wait()
		waitFor(t, next, events)
		check(t, next.Switch(ctx, func(context.Context, *sql.Tx) error { return errors.New("called again") }))
		stop()
		checkApplied(t, db, store.Store, "log_v2")
		all := positions(t, db, "log_v2")
		if got := positions(t, db, "log_v1"); got[len(got)-1] != before || !slices.Equal(got, all[:len(got)]) {
			t.Errorf("the old version has applied %v", got)
		}
	})
}

// A reset begins again while a runner is at work.
func TestDriversProjectorResetsUnderLoad(t *testing.T) {
	const events = 300
	onDrivers(t, func(t *testing.T, db *sql.DB) {
		store := dcb.NewMemoryStore()
		p := seats(t, db, store, 1)
		stop := start(t, p)
		for range 3 {
			appendEvents(t, store, events/3)
			check(t, p.Reset(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "DELETE FROM log_v1")
				return err
			}))
		}
		waitFor(t, p, events)
		stop()
		checkApplied(t, db, store.Store, "log_v1")
	})
}

// faulty is a driver in which one call fails: either it does nothing, or it is done and its answer is lost.
type faulty struct {
	driver.Driver
	calls  atomic.Int64
	failAt atomic.Int64 // the number of the call, from 1
	isLost atomic.Bool
}

var errFault = errors.New("the connection broke")

// fault reports whether this call fails, and whether it is done all the same.
func (f *faulty) fault() (fails, isDone bool) {
	return f.calls.Add(1) == f.failAt.Load(), f.isLost.Load()
}

func (f *faulty) Open(name string) (driver.Conn, error) {
	conn, err := f.Driver.Open(name)
	return &faultyConn{conn, f}, err
}

type faultyConn struct {
	driver.Conn
	f *faulty
}

func (c *faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	fails, isDone := c.f.fault()
	if fails && !isDone {
		return nil, errFault
	}
	result, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
	if fails {
		return nil, errFault
	}
	return result, err
}

func (c *faultyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if fails, _ := c.f.fault(); fails {
		return nil, errFault
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *faultyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if fails, _ := c.f.fault(); fails {
		return nil, errFault
	}
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	return &faultyTx{tx, c.f}, err
}

type faultyTx struct {
	driver.Tx
	f *faulty
}

func (t *faultyTx) Commit() error {
	fails, isDone := t.f.fault()
	if fails && !isDone {
		t.Tx.Rollback()
		return errFault
	}
	err := t.Tx.Commit()
	if fails {
		return errFault
	}
	return err
}

var theFaulty = &faulty{Driver: &sqlite.Driver{}}

func init() {
	sql.Register("faulty", theFaulty)
}

// Each statement of a run fails once, in both ways.
func TestDriversProjectorSurvivesAFaultAtEveryStatement(t *testing.T) {
	const events = 12
	for _, isLost := range []bool{false, true} {
		t.Run(fmt.Sprint("lost=", isLost), func(t *testing.T) {
			faults := 0
			for at := int64(1); ; at++ {
				store := dcb.NewMemoryStore()
				appendEvents(t, store, events)
				db, err := sql.Open("faulty", "file:"+filepath.Join(t.TempDir(), "app.db")+parameters["sqlite"])
				check(t, err)
				p := seats(t, db, store, 1)
				p.OnFailure, p.Attempts = Park, 2
				handle := p.Handle
				p.Handle = func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
					if err := handle(ctx, tx, event); err != nil || event.Position != 7 {
						return err
					}
					return errors.New("refused")
				}
				theFaulty.isLost.Store(isLost)
				theFaulty.calls.Store(0)
				theFaulty.failAt.Store(at)
				stop := start(t, p)
				waitForInMemory(t, p, events)
				stop()
				isDone := theFaulty.calls.Load() < at
				theFaulty.failAt.Store(0)
				parked, err := p.Parked(context.Background())
				check(t, err)
				got := positions(t, db, "log_v1")
				if !slices.Equal(got, []int64{1, 2, 4, 5, 8, 10, 11}) || len(parked) != 1 || parked[0].Position != 7 {
					t.Fatalf("fault %d: %v were applied, %v parked", at, got, parked)
				}
				db.Close()
				if isDone {
					break
				}
				faults++
			}
			t.Logf("%d statements failed", faults)
			if faults < 20 {
				t.Errorf("only %d statements failed", faults)
			}
		})
	}
}

// waitForInMemory waits without statements of its own, so that each statement of a run is one of the runner.
func waitForInMemory(t testing.TB, p *Projector, position int64) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		reached, _, changed := p.progress.at(position)
		if reached {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("position %d was not reached", position)
		}
	}
}

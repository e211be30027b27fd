package pgxdcb_test

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

	dcb "github.com/libdcb/libdcb/bindings/go"
)

func eventsOf(kinds ...string) (events []dcb.Event) {
	for _, kind := range kinds {
		events = append(events, dcb.Event{Type: kind, Data: `{"quotes": "'\\"}`, Tags: []dcb.Tag{{Key: "k", Value: kind + ` "{,}\`}}})
	}
	return events
}

// noA fails if there is an event of type A.
func noA(after int64) dcb.AppendCondition {
	return dcb.AppendCondition{FailIfEventsMatch: dcb.NewQuery(dcb.QueryItem{Types: []string{"A"}}), After: after}
}

func TestEventsAndRowsAreStoredTogether(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, p *program) {
		both := func(tx transaction) {
			t.Helper()
			appended := must(p.appendTx(ctx, tx, eventsOf("A", "B")))(t)
			if appended.Last != appended.First+1 || appended.Repeated {
				t.Errorf("%+v", appended)
			}
			if err := p.note(ctx, tx, appended.First); err != nil {
				t.Fatal(err)
			}
		}
		tx := p.mustBegin()
		both(tx)
		tx.rollback()
		p.expect("rolled back", 0, 0)
		tx = p.mustBegin()
		both(tx)
		both(tx)
		p.expect("before the commit", 0, 0)
		waiting, cancel := context.WithCancel(ctx)
		defer cancel()
		heard := make(chan int64, 1)
		go func() {
			head, _ := p.Wait(waiting, 0)
			heard <- head
		}()
		select {
		case head := <-heard:
			t.Errorf("heard of position %d before the commit", head)
		case <-time.After(100 * time.Millisecond):
		}
		if err := tx.commit(); err != nil {
			t.Fatal(err)
		}
		if head := <-heard; head != 4 {
			t.Errorf("heard of position %d", head)
		}
		p.expect("committed", 4, 2)
		events, _ := must2(p.Read(ctx, dcb.QueryAll()))(t)
		for i, event := range events {
			want := eventsOf("A", "B", "A", "B")[i]
			if event.Position != int64(i+1) || event.Type != want.Type || event.Tags[0] != want.Tags[0] || event.Data != want.Data {
				t.Errorf("%+v, want %+v", event, want)
			}
		}
	})
}

func must2[T, U any](value T, other U, err error) func(testing.TB) (T, U) {
	return func(t testing.TB) (T, U) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value, other
	}
}

func TestARefusedAppendLeavesTheTransactionAsItWas(t *testing.T) {
	ctx := context.Background()
	withID := func(id string) []dcb.Event { return []dcb.Event{{Type: "I", ID: id}} }
	onDrivers(t, func(t *testing.T, p *program) {
		must(p.AppendEvents(ctx, withID("one")))(t)
		tx := p.mustBegin()
		must(p.appendTx(ctx, tx, eventsOf("A")))(t)
		_, err := p.appendTx(ctx, tx, eventsOf("B"), noA(0)) // its own event
		var failure *dcb.Error
		if !errors.Is(err, dcb.ErrAppendConditionFailed) || !errors.As(err, &failure) || failure.Position != 2 {
			t.Errorf("got %v", err)
		}
		if _, err := p.appendTx(ctx, tx, append(withID("one"), withID("two")...)); !errors.Is(err, dcb.ErrDuplicateID) {
			t.Errorf("got %v", err)
		}
		for range 2 {
			appended := must(p.appendTx(ctx, tx, withID("one")))(t)
			if !appended.Repeated || appended.First != 1 {
				t.Errorf("%+v", appended)
			}
		}
		if _, err := p.appendTx(ctx, tx, []dcb.Event{{}}); !errors.Is(err, dcb.ErrInvalidArgument) {
			t.Errorf("got %v", err)
		}
		must(p.appendTx(ctx, tx, eventsOf("B"), noA(2)))(t)
		if err := errors.Join(p.note(ctx, tx, 0), tx.commit()); err != nil {
			t.Fatal(err)
		}
		p.expect("committed", 3, 1)
		tx = p.mustBegin()
		defer tx.rollback()
		if err := tx.exec(ctx, "SELECT 1 / 0"); err == nil {
			t.Fatal("divided by 0")
		}
		if _, err := p.appendTx(ctx, tx, eventsOf("A")); !errors.Is(err, dcb.ErrInvalidArgument) || !strings.Contains(err.Error(), "roll it back") {
			t.Errorf("got %v", err)
		}
	})
}

// claims lets two transactions decide on the same at once. It returns the error of the second one's append, after
// which its transaction still had to take a row, and the one of that.
func (p *program) claims(ctx context.Context) (appending, noting error) {
	p.t.Helper()
	first, second := p.mustBegin(), p.mustBegin()
	defer second.rollback()
	must(p.appendTx(ctx, first, eventsOf("A"), noA(0)))(p.t)
	ended := make(chan error)
	go func() {
		_, err := p.appendTx(ctx, second, eventsOf("A"), noA(0))
		ended <- err
	}()
	p.awaitLock()
	if err := first.commit(); err != nil {
		p.t.Fatal(err)
	}
	return <-ended, p.note(ctx, second, 0)
}

// isLate reports whether a call ended when its time was over, as the server, the library or the context has noticed.
func isLate(err error) bool {
	return errors.Is(err, dcb.ErrBusy) || errors.Is(err, context.DeadlineExceeded)
}

func TestTheLockIsHeldUntilTheCommit(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, p *program) {
		if err, noting := p.claims(ctx); !errors.Is(err, dcb.ErrAppendConditionFailed) || noting != nil {
			t.Errorf("got %v, %v", err, noting)
		}
		p.expect("claimed", 1, 0)
		tx := p.mustBegin()
		must(p.appendTx(ctx, tx, eventsOf("B")))(t)
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := p.Append(short, eventsOf("B")); !isLate(err) {
			t.Errorf("an append beside the transaction: %v", err)
		}
		other := p.mustBegin()
		short, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err := p.appendTx(short, other, eventsOf("B"))
		if !isLate(err) {
			t.Errorf("a transaction beside the transaction: %v", err)
		}
		other.rollback()
		if err := tx.commit(); err != nil {
			t.Fatal(err)
		}
		p.expect("committed", 2, 0)
	})
}

// Without the lock the primary key still keeps events from being stored twice. But the transaction that loses
// cannot go on: so the test above would fail.
func TestWithoutTheLockTheSecondTransactionFails(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, p *program) {
		var function string
		err := p.db.QueryRow("SELECT pg_get_functiondef(($1 || '.append')::regproc)", p.schema).Scan(&function)
		unlocked := strings.Replace(function, "WHERE one = 1 FOR UPDATE;", "WHERE one = 1;", 1)
		if err != nil || unlocked == function {
			t.Fatal(err, function)
		}
		p.exec(unlocked)
		if err, noting := p.claims(ctx); !errors.Is(err, dcb.ErrBusy) || noting == nil {
			t.Errorf("got %v, %v", err, noting)
		}
		p.expect("claimed", 1, 0)
	})
}

func TestTheIsolationLevelIsReadCommitted(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, p *program) {
		for _, level := range []sql.IsolationLevel{sql.LevelRepeatableRead, sql.LevelSerializable} {
			tx := must(p.begin(level))(t)
			_, err := p.appendTx(ctx, tx, eventsOf("A"))
			if !errors.Is(err, dcb.ErrInvalidArgument) || !strings.Contains(err.Error(), "READ COMMITTED") {
				t.Errorf("%v: %v", level, err)
			}
			tx.rollback()
		}
		// InTx names its level, whatever that of the sessions is.
		p.exec("ALTER ROLE CURRENT_USER SET default_transaction_isolation = serializable")
		defer p.exec("ALTER ROLE CURRENT_USER RESET default_transaction_isolation")
		again := openProgram(t, t.Name()[strings.LastIndexByte(t.Name(), '/')+1:], p.schema)
		err := again.inTx(ctx, func(tx transaction) error {
			_, err := again.appendTx(ctx, tx, eventsOf("A"))
			return err
		})
		if err != nil {
			t.Error(err)
		}
		p.expect("committed", 1, 0)
	})
}

// What the session has set is as before, but for what makes the commit durable.
func TestSettingsOfTheTransaction(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, p *program) {
		tx := p.mustBegin()
		defer tx.rollback()
		for _, statement := range []string{"SET LOCAL lock_timeout = '7s'", "SET LOCAL synchronous_commit = off"} {
			if err := tx.exec(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
		must(p.appendTx(ctx, tx, eventsOf("A")))(t)
		for setting, want := range map[string]string{"lock_timeout": "7s", "synchronous_commit": "on", "jit": "", "search_path": ""} {
			condition := "current_setting($1) = $2"
			if want == "" {
				condition = "current_setting($1) = (SELECT reset_val FROM pg_settings WHERE name = $1) OR $2 <> ''"
			}
			err := tx.exec(ctx, "SELECT 1 / (CASE WHEN "+strings.ReplaceAll(strings.ReplaceAll(condition, "$1", "'"+setting+"'"), "$2", "'"+want+"'")+" THEN 1 ELSE 0 END)")
			if err != nil {
				t.Errorf("%s: %v", setting, err)
				return
			}
		}
	})
}

func TestATransactionOfAnotherDatabaseIsRefused(t *testing.T) {
	ctx := context.Background()
	onDrivers(t, func(t *testing.T, p *program) {
		refuse := func(what string) {
			t.Helper()
			tx := p.mustBegin()
			defer tx.rollback()
			if _, err := p.appendTx(ctx, tx, eventsOf("A")); !errors.Is(err, dcb.ErrInvalidArgument) || !strings.Contains(err.Error(), "another database") {
				t.Errorf("%s: %v", what, err)
			}
		}
		tx := p.mustBegin()
		must(p.appendTx(ctx, tx, eventsOf("A")))(t)
		tx.rollback()
		p.exec("DROP SCHEMA " + p.schema + " CASCADE")
		refuse("without a store")
		again := openProgram(t, "pq", p.schema)
		refuse("with a store of the same name")
		again.expect("refused", 0, 0)
	})
}

func TestInTx(t *testing.T) {
	ctx := context.Background()
	refusal := errors.New("refused")
	onDrivers(t, func(t *testing.T, p *program) {
		both := func(tx transaction) error {
			appended, err := p.appendTx(ctx, tx, eventsOf("A"))
			if err != nil {
				return err
			}
			return p.note(ctx, tx, appended.Last)
		}
		if err := p.inTx(ctx, both); err != nil {
			t.Fatal(err)
		}
		p.expect("committed", 1, 1)
		if err := p.inTx(ctx, func(tx transaction) error { return errors.Join(both(tx), refusal) }); !errors.Is(err, refusal) {
			t.Errorf("got %v", err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = p.inTx(ctx, func(tx transaction) error { _ = both(tx); panic("a bug") })
		}()
		p.expect("refused, and after a panic", 1, 1)

		// It has the lock from the beginning, so what it reads does not change.
		err := p.inTx(ctx, func(tx transaction) error {
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			if err := p.Append(short, eventsOf("A")); !isLate(err) {
				t.Errorf("an append beside it: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}

		// Busy runs all of it again, and so does what the server ends in favour of another transaction; a conflict
		// does not.
		for _, test := range []struct {
			fails func(tx transaction) error
			runs  int
		}{
			{func(transaction) error { return fmt.Errorf("the program's own: %w", dcb.ErrBusy) }, 3},
			{func(tx transaction) error {
				return tx.exec(ctx, "DO $$ BEGIN RAISE 'in the way' USING ERRCODE = 'deadlock_detected'; END $$")
			}, 3},
			{func(transaction) error { return dcb.ErrAppendConditionFailed }, 1},
		} {
			runs := 0
			err := p.inTx(ctx, func(tx transaction) error {
				if runs++; runs == 3 {
					return both(tx)
				}
				return errors.Join(p.note(ctx, tx, -1), test.fails(tx))
			})
			if runs != test.runs || (runs == 3) != (err == nil) {
				t.Errorf("%d runs, want %d, %v", runs, test.runs, err)
			}
		}
		p.expect("after errors", 3, 3)

		short, cancel := context.WithCancel(ctx)
		runs := 0
		err = p.inTx(short, func(transaction) error {
			if runs++; runs == 2 {
				cancel()
			}
			return dcb.ErrBusy
		})
		var gaveUp *dcb.RetryError
		if !errors.As(err, &gaveUp) || gaveUp.Attempts != 2 || !errors.Is(err, dcb.ErrBusy) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if err := p.inTx(short, both); err != context.Canceled {
			t.Errorf("got %v", err)
		}
		p.Close()
		if err := p.inTx(ctx, both); !errors.Is(err, dcb.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// letters is a model of the number of events of type A, and another decides on one more.
var letters = dcb.Projection[int]{
	Query:  dcb.NewQuery(dcb.QueryItem{Types: []string{"A"}}),
	Evolve: func(n int, _ dcb.SequencedEvent) int { return n + 1 },
}

func another(n int) ([]dcb.Event, error) { return []dcb.Event{{Type: "A", Data: n + 1}}, nil }

func TestWithTx(t *testing.T) {
	ctx := context.Background()
	refusal := errors.New("refused")
	onDrivers(t, func(t *testing.T, p *program) {
		calls := 0
		rows := func(tx transaction, decision dcb.Decision) error {
			calls++
			return p.note(ctx, tx, decision.First)
		}
		for i := range 2 {
			got, err := dcb.Decide(ctx, p.decider, letters, another, p.withTx(rows), dcb.WithRequestID("r1"))
			want := dcb.Decision{First: 1, Last: 1, Attempts: 1, Repeated: i > 0}
			if got != want || calls != 1 || err != nil {
				t.Errorf("time %d: %+v, want %+v, %d calls, %v", i, got, want, calls, err)
			}
		}
		p.expect("asked twice", 1, 1)
		_, err := dcb.Decide(ctx, p.decider, letters, another, dcb.WithRequestID("r2"), p.withTx(func(tx transaction, d dcb.Decision) error {
			return errors.Join(rows(tx, d), refusal)
		}))
		if !errors.Is(err, refusal) {
			t.Errorf("got %v", err)
		}
		p.expect("refused", 1, 1)
		// A conflict decides again. The event of somebody else comes between the decision and its append.
		calls = 0
		got, err := dcb.Decide(ctx, p.decider, letters, func(n int) ([]dcb.Event, error) {
			if n == 1 {
				must(p.AppendEvents(ctx, eventsOf("A")))(t)
			}
			return another(n)
		}, dcb.WithRequestID("r2"), p.withTx(rows))
		want := dcb.Decision{First: 3, Last: 3, Attempts: 2}
		if got != want || calls != 1 || err != nil {
			t.Errorf("%+v, want %+v, %d calls, %v", got, want, calls, err)
		}
		p.expect("decided again", 3, 2)
	})
}

// Many decisions with rows on one counter, each asked for twice at the same time, beside appends and transactions of
// the program's: each is made once, with its row, and who follows the store sees every event, in order.
func TestManyTransactionsAtOnce(t *testing.T) {
	onDrivers(t, func(t *testing.T, p *program) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		const requests, clients = 12, 2
		var running sync.WaitGroup
		var first [requests]atomic.Int64
		var firstPositions [requests][clients]int64
		for request := range requests {
			for client := range clients {
				running.Add(1)
				go func() {
					defer running.Done()
					value, got, err := dcb.DecideValue(ctx, p.decider, letters, func(n int) ([]dcb.Event, int, error) {
						return []dcb.Event{{Type: "A", Data: n + 1}}, n + 1, nil
					}, dcb.WithRequestID(fmt.Sprint(request)), p.withTx(func(tx transaction, d dcb.Decision) error {
						return p.note(ctx, tx, d.First)
					}))
					if err != nil || value < 1 || value > requests {
						t.Errorf("%d, %+v, %v", value, got, err)
					}
					if !got.Repeated {
						first[request].Add(1)
					}
					firstPositions[request][client] = got.First
				}()
			}
			running.Add(1)
			go func() {
				defer running.Done()
				err := p.inTx(ctx, func(tx transaction) error {
					appended, err := p.appendTx(ctx, tx, eventsOf("B", "B"))
					if err != nil {
						return err
					}
					if request%3 == 0 {
						return errors.Join(p.note(ctx, tx, -1), errRolledBack)
					}
					return p.note(ctx, tx, appended.First)
				})
				if (request%3 == 0) != errors.Is(err, errRolledBack) || request%3 != 0 && err != nil {
					t.Error(err)
				}
				if err := p.Append(ctx, eventsOf("C")); err != nil {
					t.Error(err)
				}
			}()
		}
		const events = requests + requests/3*2*2 + requests
		var seen int64
		for event, err := range p.Subscribe(ctx, dcb.QueryAll()) {
			if err != nil || event.Position != seen+1 {
				t.Errorf("position %d after %d, %v", event.Position, seen, err)
				break
			}
			if seen++; seen == events {
				break
			}
		}
		running.Wait()
		for request := range requests {
			if first[request].Load() != 1 || firstPositions[request][0] != firstPositions[request][1] {
				t.Errorf("request %d: made %d times, at %v", request, first[request].Load(), firstPositions[request])
			}
		}
		p.expect("at last", events, requests+requests/3*2)
	})
}

var errRolledBack = errors.New("rolled back")

func TestMistakes(t *testing.T) {
	ctx := context.Background()
	expect := func(what, message string, err error) {
		t.Helper()
		if !errors.Is(err, dcb.ErrInvalidArgument) || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: %v", what, err)
		}
	}
	p := openProgram(t, "pgx", newSchema())
	expect("no database", "without TxDB", p.PostgresStore.InTx(ctx, func(*sql.Tx) error { return nil }))
	_, err := dcb.Decide(ctx, p.PostgresStore, letters, another, dcb.WithTx(func(*sql.Tx, dcb.Decision) error { return nil }))
	expect("no database", "without TxDB", err)
	_, err = dcb.NewSQLiteStore(":memory:", dcb.TxDB(p.db))
	expect("SQLite", "TxDB: only for a store in PostgreSQL", err)
	_, err = p.AppendEventsTx(ctx, nil, eventsOf("A"))
	expect("no transaction", "tx: must not be nil", err)
	reader := openProgram(t, "pq", p.schema, dcb.ReadOnly())
	tx := reader.mustBegin()
	defer tx.rollback()
	if _, err := reader.appendTx(ctx, tx, eventsOf("A")); !errors.Is(err, dcb.ErrReadOnly) {
		t.Errorf("read-only: %v", err)
	}
}

package projector

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// Tests that need no database. Those on databases are in internal/drivertest.

func TestStatementsHaveTheParametersOfTheDialect(t *testing.T) {
	const statement = "UPDATE {checkpoints} SET a = ? WHERE b = ?"
	for _, test := range []struct {
		tables tables
		want   string
	}{
		{tables{prefix: "projector_"}, "UPDATE projector_checkpoints SET a = ? WHERE b = ?"},
		{tables{prefix: "app.p_", dialect: Postgres}, "UPDATE app.p_checkpoints SET a = $1 WHERE b = $2"},
	} {
		if got := test.tables.text(statement); got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}

func TestSchemaNamesEveryTable(t *testing.T) {
	for prefix, table := range map[string]string{"": "projector_", "app.read_": "app.read_"} {
		schema := Schema(prefix)
		for _, name := range []string{"checkpoints", "active", "parked"} {
			if !strings.Contains(schema, "CREATE TABLE IF NOT EXISTS "+table+name+" (") {
				t.Errorf("%q: no table %s in\n%s", prefix, name, schema)
			}
		}
		if strings.Contains(schema, "{") {
			t.Error(schema)
		}
	}
}

func TestMistakesAreErrors(t *testing.T) {
	db := sql.OpenDB(nil)
	handle := func(context.Context, *sql.Tx, dcb.SequencedEvent) error { return nil }
	store := dcb.NewMemoryStore()
	for name, p := range map[string]*Projector{
		"no name":          {DB: db, Handle: handle, Store: store},
		"no database":      {Name: "seats", Handle: handle, Store: store},
		"no handler":       {Name: "seats", DB: db, Store: store},
		"no store":         {Name: "seats", DB: db, Handle: handle},
		"dialect":          {Name: "seats", DB: db, Handle: handle, Store: store, Dialect: 7},
		"quote in prefix":  {Name: "seats", DB: db, Handle: handle, Store: store, Prefix: `a"b`},
		"two dots":         {Name: "seats", DB: db, Handle: handle, Store: store, Prefix: "a.b.c_"},
		"digit first":      {Name: "seats", DB: db, Handle: handle, Store: store, Prefix: "1_"},
		"name of a store":  {Name: "seats", DB: db, Handle: handle, Store: store, Prefix: "DCB_"},
		"name of SQLite":   {Name: "seats", DB: db, Handle: handle, Store: store, Prefix: "main.sqlite_"},
		"name of Postgres": {Name: "seats", DB: db, Handle: handle, Store: store, Prefix: "pg_"},
	} {
		if err := p.Run(context.Background()); !errors.Is(err, dcb.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFingerprintsDifferInEveryField(t *testing.T) {
	at := time.UnixMicro(1_700_000_000_000_000)
	all := []dcb.RawEvent{
		{},
		{Position: 1},
		{Position: 1, Timestamp: at},
		{Position: 1, Timestamp: at.Add(time.Microsecond)},
		{Position: 1, Type: "a"},
		{Position: 1, ID: "a"},
		{Position: 1, Data: []byte("a")},
		{Position: 1, Metadata: []byte("a")},
		{Position: 1, Type: "a", Tags: []dcb.Tag{dcb.BareTag("a")}},
		{Position: 1, Type: "a", Tags: []dcb.Tag{{Key: "a", Value: "b"}}},
		{Position: 1, Type: "a", Tags: []dcb.Tag{dcb.BareTag("a"), dcb.BareTag("b")}},
		{Position: 1, Type: "ab", Tags: []dcb.Tag{dcb.BareTag("a")}},
	}
	seen := map[string]int{}
	for i, event := range all {
		mark := fingerprint(event)
		if other, ok := seen[mark]; ok {
			t.Errorf("events %d and %d have the same fingerprint", other, i)
		}
		seen[mark] = i
		if fingerprint(event) != mark {
			t.Errorf("event %d has two fingerprints", i)
		}
	}
}

func TestDelaysGrowWithinTheirLimits(t *testing.T) {
	p := &Projector{MinDelay: 8 * time.Millisecond, MaxDelay: time.Second, Lease: 300 * time.Millisecond}
	r := newRunner(p, &tables{})
	for n, want := range map[int]time.Duration{
		1: 8 * time.Millisecond, 2: 16 * time.Millisecond, 3: 32 * time.Millisecond,
		10: 100 * time.Millisecond, 100: 100 * time.Millisecond,
	} {
		for range 100 {
			if got := r.delay(n); got < want/2 || got > want {
				t.Errorf("delay %d is %v, want %v at most", n, got, want)
			}
		}
	}
}

// A row that was read before a newer one is known does not take the progress back.
func TestProgressOnlyMovesForward(t *testing.T) {
	var p progress
	for _, step := range []struct{ fence, position, want int64 }{
		{1, 5, 5}, {1, 4, 5}, {1, 7, 7}, {2, 7, 7}, {1, 9, 7}, {3, 0, 0}, {2, 8, 0}, {3, 2, 2},
	} {
		_, _, changed := p.at(100)
		before := p.position
		p.reach(step.fence, step.position)
		if p.position != step.want {
			t.Fatalf("after %+v the position is %d", step, p.position)
		}
		select {
		case <-changed:
		default:
			if p.position != before {
				t.Errorf("%+v has woken nobody", step)
			}
		}
	}
}

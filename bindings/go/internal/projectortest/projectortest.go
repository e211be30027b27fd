// Package projectortest has what the tests of projectors on SQLite and on PostgreSQL have in common.
package projectortest

import (
	"context"
	"database/sql"
	"slices"
	"sync"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// Start runs the projector until the test ends or stop is called, which returns the error of Run.
func Start(t testing.TB, p interface {
	Run(ctx context.Context) error
}) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

// WaitFor waits until the projector has reached the position.
func WaitFor(t testing.TB, p interface {
	WaitFor(ctx context.Context, position int64) error
}, position int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.WaitFor(ctx, position); err != nil {
		t.Fatalf("waiting for position %d: %v", position, err)
	}
}

// Applied returns the column position of the table in the order of its column seq, in which a projector has logged
// the events that it has applied.
func Applied(t testing.TB, db *sql.DB, table string) (all []int64) {
	t.Helper()
	rows, err := db.Query("SELECT position FROM " + table + " ORDER BY seq")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var position int64
		if err := rows.Scan(&position); err != nil {
			t.Fatal(err)
		}
		all = append(all, position)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// CheckApplied checks that each event of type A was applied exactly once and in order, and that there is one.
func CheckApplied(t testing.TB, db *sql.DB, store *dcb.Store, table string) {
	t.Helper()
	events, _, err := store.ReadRaw(context.Background(), dcb.NewQuery(dcb.QueryItem{Types: []string{"A"}}))
	if err != nil {
		t.Fatal(err)
	}
	var want []int64
	for _, event := range events {
		want = append(want, event.Position)
	}
	if got := Applied(t, db, table); len(want) == 0 || !slices.Equal(got, want) {
		t.Fatalf("applied %v\nwant %v", got, want)
	}
}

package dcb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// storeKind is a kind of store that the tests run on.
type storeKind struct {
	name     string
	persists bool
	// uri returns the uri of a new store of the kind.
	uri func(testing.TB) string
	// append appends in a transaction of the program's, by add. If it is nil, the store appends by itself.
	append func(store *Store, add func(PostgresTx) (Appended, error)) (Appended, error)
}

// postgresURI names a PostgreSQL server for the tests, as tests/postgres/cluster.sh makes one. Without it, no test
// runs on PostgreSQL.
var postgresURI = os.Getenv("DCB_POSTGRES_URI")

func init() {
	if postgresURI == "" {
		return
	}
	var count atomic.Int64
	storeKinds = append(storeKinds, storeKind{name: "postgres", persists: true, uri: func(testing.TB) string {
		return fmt.Sprintf("schema:dcb_go_%d_%d", os.Getpid(), count.Add(1))
	}})
	others := openURI
	openURI = func(t testing.TB, uri string, opts ...Option) (*Store, error) {
		if schema, ok := strings.CutPrefix(uri, "schema:"); ok {
			// The test's server does not sync, which would take most of the time.
			return Open(postgresURI, append(opts, Schema(schema), AllowFsyncOff())...)
		}
		return others(t, uri, opts...)
	}
}

var storeKinds = []storeKind{
	{name: "memory", uri: func(testing.TB) string { return "memory:" }},
	{name: "sqlite", persists: true, uri: func(t testing.TB) string {
		return "sqlite:" + filepath.Join(t.TempDir(), "events.db")
	}},
	{name: "sqlite-memory", uri: func(testing.TB) string { return "sqlite::memory:" }},
}

// openURI opens the store that uri names. internal/drivertest adds stores over drivers to it and to storeKinds;
// this module does not depend on the drivers.
var openURI = func(_ testing.TB, uri string, opts ...Option) (*Store, error) { return Open(uri, opts...) }

func mustOpen(t testing.TB, uri string, opts ...Option) *Store {
	t.Helper()
	store, err := openURI(t, uri, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// onEach runs the test on a new store of each kind.
func onEach(t *testing.T, test func(t *testing.T, store *Store)) {
	for _, kind := range storeKinds {
		t.Run(kind.name, func(t *testing.T) { test(t, mustOpen(t, kind.uri(t))) })
	}
}

func mustAppend(t testing.TB, store EventStore, events ...Event) {
	t.Helper()
	if err := store.Append(context.Background(), events); err != nil {
		t.Fatal(err)
	}
}

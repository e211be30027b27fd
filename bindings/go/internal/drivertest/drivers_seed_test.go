package dcb_test

import (
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"testing"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

func init() {
	for name, driver := range map[string]string{"mattn": "sqlite3", "modernc": "sqlite"} {
		moreStores["FromDB, "+name] = func(t *testing.T) dcb.EventStore {
			return fromDB(t, driver, filepath.Join(t.TempDir(), "events.db"))
		}
		moreStores["FromDB in memory, "+name] = func(t *testing.T) dcb.EventStore {
			return fromDB(t, driver, ":memory:")
		}
	}
}

func fromDB(t *testing.T, driver, dsn string) dcb.EventStore {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	if dsn == ":memory:" {
		db.SetMaxOpenConns(1)
	}
	store, err := dcb.NewSQLiteStoreFromDB(db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// The examples of transactions are compiled with the package, which depends on no driver. They run here.
func TestDriversExamplesOfTransactions(t *testing.T) {
	for _, example := range []struct {
		run  func()
		want string
	}{
		{ExampleSQLiteStore_AppendTx, "s1 false\ns2 false\ns1 true\n2 seats, 2 events\n"},
		{ExampleWithTx, "r1 1 false <nil>\nr2 2 false <nil>\nr1 1 true <nil>\nr3 0 false the course is full\n2 bookings\n"},
	} {
		if got := outputOf(t, example.run); got != example.want {
			t.Errorf("it printed %q, want %q", got, example.want)
		}
	}
}

// outputOf returns what run prints.
func outputOf(t *testing.T, run func()) string {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = write
	run()
	os.Stdout = stdout
	write.Close()
	output, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	return string(output)
}

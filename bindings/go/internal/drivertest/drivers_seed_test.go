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

// The example of AppendTx is compiled with the package, which depends on no driver. It runs here.
func TestDriversExampleOfAppendTx(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = write
	ExampleSQLiteStore_AppendTx()
	os.Stdout = stdout
	write.Close()
	output, err := io.ReadAll(read)
	if want := "s1 false\ns2 false\ns1 true\n2 seats, 2 events\n"; string(output) != want || err != nil {
		t.Errorf("it printed %q, %v", output, err)
	}
}

package dcb_test

import (
	"database/sql"
	"errors"
	"fmt"
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

// A seat is taken in the program's own table and in the events, or in neither.
func ExampleSQLiteStore_AppendTx() {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE seats (course TEXT, taken INTEGER); INSERT INTO seats VALUES ('c1', 0)"); err != nil {
		panic(err)
	}
	store, err := dcb.NewSQLiteStoreFromDB(db)
	if err != nil {
		panic(err)
	}
	defer store.Close()

	subscribe := func(student string) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "UPDATE seats SET taken = taken + 1 WHERE course = 'c1'"); err != nil {
			return err
		}
		tags := []dcb.Tag{{Key: "course", Value: "c1"}, {Key: "student", Value: student}}
		once := dcb.AppendCondition{FailIfEventsMatch: dcb.NewQuery(dcb.QueryItem{Tags: tags})}
		if err := store.AppendTx(ctx, tx, []dcb.Event{{Type: "StudentSubscribed", Tags: tags}}, once); err != nil {
			return err
		}
		return tx.Commit()
	}
	for _, student := range []string{"s1", "s2", "s1"} {
		fmt.Println(student, errors.Is(subscribe(student), dcb.ErrAppendConditionFailed))
	}
	var taken int
	if err := db.QueryRow("SELECT taken FROM seats").Scan(&taken); err != nil {
		panic(err)
	}
	count, _ := store.Count(ctx)
	fmt.Println(taken, "seats,", count, "events")
	// Output:
	// s1 false
	// s2 false
	// s1 true
	// 2 seats, 2 events
}

package dcb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	dcb "github.com/libdcb/libdcb/bindings/go"
	// and a driver:
	// _ "modernc.org/sqlite"
)

// bookSeat takes a seat in the program's own table and appends the event of it: both, or neither.
func bookSeat(ctx context.Context, db *sql.DB, store *dcb.SQLiteStore, student string) error {
	for attempt := 1; ; attempt++ {
		err := tryToBookSeat(ctx, db, store, student)
		if !errors.Is(err, dcb.ErrBusy) || attempt == 3 {
			return err
		}
	}
}

func tryToBookSeat(ctx context.Context, db *sql.DB, store *dcb.SQLiteStore, student string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing

	tags := []dcb.Tag{{Key: "course", Value: "c1"}, {Key: "student", Value: student}}
	booked := []dcb.Event{{Type: "SeatBooked", Tags: tags}}
	once := dcb.AppendCondition{FailIfEventsMatch: dcb.NewQuery(dcb.QueryItem{Tags: tags})}
	if err := store.AppendTx(ctx, tx, booked, once); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE seats SET taken = taken + 1 WHERE course = 'c1'"); err != nil {
		return err
	}
	return tx.Commit()
}

func ExampleSQLiteStore_AppendTx() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		fmt.Println(err)
		return
	}
	db.SetMaxOpenConns(1) // since the database is in memory
	if _, err := db.Exec("CREATE TABLE seats (course TEXT, taken INTEGER); INSERT INTO seats VALUES ('c1', 0)"); err != nil {
		fmt.Println(err)
		return
	}
	store, err := dcb.NewSQLiteStoreFromDB(db)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()

	for _, student := range []string{"s1", "s2", "s1"} {
		err := bookSeat(ctx, db, store, student)
		fmt.Println(student, errors.Is(err, dcb.ErrAppendConditionFailed))
	}
	var taken int
	if err := db.QueryRow("SELECT taken FROM seats").Scan(&taken); err != nil {
		fmt.Println(err)
		return
	}
	count, _ := store.Count(ctx)
	fmt.Println(taken, "seats,", count, "events")
	// It prints:
	// s1 false
	// s2 false
	// s1 true
	// 2 seats, 2 events
}

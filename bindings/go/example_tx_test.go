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
func bookSeat(ctx context.Context, store *dcb.SQLiteStore, student string) error {
	tags := []dcb.Tag{{Key: "course", Value: "c1"}, {Key: "student", Value: student}}
	booked := []dcb.Event{{Type: "SeatBooked", Tags: tags}}
	once := dcb.AppendCondition{FailIfEventsMatch: dcb.NewQuery(dcb.QueryItem{Tags: tags})}
	return store.InTx(ctx, func(tx *sql.Tx) error {
		if err := store.AppendTx(ctx, tx, booked, once); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE seats SET taken = taken + 1 WHERE course = 'c1'")
		return err
	})
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
		err := bookSeat(ctx, store, student)
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

// decideSeat is like bookSeat, with a decision: it rejects the booking if the course is full. A client that got no
// answer may ask again with the same request id.
func decideSeat(ctx context.Context, store *dcb.SQLiteStore, requestID string) (dcb.Decision, error) {
	course := dcb.Tag{Key: "course", Value: "c1"}
	taken := dcb.Projection[int]{
		Query:  dcb.NewQuery(dcb.QueryItem{Types: []string{"SeatBooked"}, Tags: []dcb.Tag{course}}),
		Evolve: func(n int, _ dcb.SequencedEvent) int { return n + 1 },
	}
	return dcb.Decide(ctx, store, taken, func(n int) ([]dcb.Event, error) {
		if n == 2 {
			return nil, errors.New("the course is full")
		}
		return []dcb.Event{{Type: "SeatBooked", Tags: []dcb.Tag{course}}}, nil
	}, dcb.WithRequestID(requestID), dcb.WithTx(func(tx *sql.Tx, decision dcb.Decision) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO bookings (position) VALUES (?)", decision.First)
		return err
	}))
}

func ExampleWithTx() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		fmt.Println(err)
		return
	}
	db.SetMaxOpenConns(1) // since the database is in memory
	if _, err := db.Exec("CREATE TABLE bookings (position INTEGER)"); err != nil {
		fmt.Println(err)
		return
	}
	store, err := dcb.NewSQLiteStoreFromDB(db)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()

	for _, requestID := range []string{"r1", "r2", "r1", "r3"} {
		decision, err := decideSeat(ctx, store, requestID)
		fmt.Println(requestID, decision.Last, decision.Repeated, err)
	}
	var bookings int
	if err := db.QueryRow("SELECT count(*) FROM bookings").Scan(&bookings); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(bookings, "bookings")
	// It prints:
	// r1 1 false <nil>
	// r2 2 false <nil>
	// r1 1 true <nil>
	// r3 0 false the course is full
	// 2 bookings
}

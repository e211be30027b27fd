package projector_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/bindings/go/projector"
	// and a driver:
	// _ "modernc.org/sqlite"
)

// seatsTaken returns the projector of the table seats, which has the number of seats taken in each course.
func seatsTaken(db *sql.DB, store *dcb.SQLiteStore) *projector.Projector {
	return &projector.Projector{
		Name:  "seats",
		Query: dcb.NewQuery(dcb.QueryItem{Types: []string{"SeatBooked", "SeatReleased"}}),
		Store: store,
		DB:    db,
		Handle: func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
			change := 1
			if event.Type == "SeatReleased" {
				change = -1
			}
			for _, tag := range event.Tags {
				if tag.Key != "course" {
					continue
				}
				_, err := tx.ExecContext(ctx, `INSERT INTO seats (course, taken) VALUES (?, ?)
					ON CONFLICT (course) DO UPDATE SET taken = taken + excluded.taken`, tag.Value, change)
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func ExampleProjector() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(1) // since the database is in memory
	store, err := dcb.NewSQLiteStoreFromDB(db)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	// Once, with the other migrations of the program:
	if _, err := db.ExecContext(ctx, "CREATE TABLE seats (course TEXT PRIMARY KEY, taken INTEGER)"); err != nil {
		log.Fatal(err)
	}
	seats := seatsTaken(db, store)
	if err := seats.CreateTables(ctx); err != nil {
		log.Fatal(err)
	}

	// As long as the program runs:
	done := make(chan error)
	go func() { done <- seats.Run(ctx) }()

	// A request appends an event, waits until the table has it, and reads the table.
	for _, kind := range []string{"SeatBooked", "SeatBooked", "SeatReleased"} {
		event := dcb.Event{Type: kind, Tags: []dcb.Tag{{Key: "course", Value: "c1"}}}
		appended, err := store.AppendEvents(ctx, []dcb.Event{event})
		if err != nil {
			log.Fatal(err)
		}
		if err := seats.WaitFor(ctx, appended.Last); err != nil {
			log.Fatal(err)
		}
		var taken int
		if err := db.QueryRowContext(ctx, "SELECT taken FROM seats WHERE course = 'c1'").Scan(&taken); err != nil {
			log.Fatal(err)
		}
		fmt.Println(kind, taken)
	}

	// For the metrics of the program:
	status, err := seats.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("lag", status.Lag, "age", status.Age, "parked", status.Parked)

	cancel()
	fmt.Println(<-done)
	// It prints:
	// SeatBooked 1
	// SeatBooked 2
	// SeatReleased 1
	// lag 0 age 0s parked 0
	// context canceled
}

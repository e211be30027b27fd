package dcb

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// benchConnections is how many connections the pools of the benchmarks have.
const benchConnections = 16

// programDB returns a pool on a new file in WAL mode, whose connections commit with this synchronous.
func programDB(b *testing.B, driver, synchronous string) *sql.DB {
	path := filepath.Join(b.TempDir(), "app.db")
	dsn := map[string]string{
		"sqlite3": "file:%s?_journal_mode=WAL&_busy_timeout=30000&_txlock=immediate&_synchronous=%s",
		"sqlite": "file:%s?_pragma=journal_mode(WAL)&_pragma=busy_timeout(30000)&_txlock=immediate" +
			"&_pragma=synchronous(%s)",
	}[driver]
	db := openPool(b, driver, fmt.Sprintf(dsn, path, synchronous))
	db.SetMaxOpenConns(benchConnections)
	db.SetMaxIdleConns(benchConnections)
	mustExec(b, db, "CREATE TABLE orders (n INTEGER PRIMARY KEY, what TEXT)")
	return db
}

// share runs the operation b.N times, in so many goroutines, and reports how often a second.
func share(b *testing.B, goroutines int, run func(n int64) error) {
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range goroutines {
		all.Add(1)
		go func() {
			defer all.Done()
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := run(n); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(0, "ns/op")
}

// guarded returns an event with a tag of its own, and the condition that there is none with that tag yet.
func guarded(n int64) (Event, AppendCondition) {
	tag := Tag{Key: "order", Value: strconv.FormatInt(n, 10)}
	return Event{Type: "Ordered", Tags: []Tag{tag}, Data: n},
		AppendCondition{FailIfEventsMatch: NewQuery(QueryItem{Tags: []Tag{tag}})}
}

// BenchmarkProgramDB compares a store on the program's own database with a store on a file of its own and
// with a plain transaction of the program's. Each operation stores one event, or for "plain" one row.
func BenchmarkProgramDB(b *testing.B) {
	ctx := context.Background()
	inTx := func(db *sql.DB, run func(tx *sql.Tx) error) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := run(tx); err != nil {
			tx.Rollback()
			return err
		}
		return tx.Commit()
	}
	for _, goroutines := range []int{1, 16, 64} {
		at := fmt.Sprintf("goroutines=%d", goroutines)
		b.Run("store=native/"+at, func(b *testing.B) {
			store := mustOpen(b, "sqlite:"+filepath.Join(b.TempDir(), "events.db"))
			share(b, goroutines, func(n int64) error {
				event, condition := guarded(n)
				return store.Append(ctx, []Event{event}, condition)
			})
		})
		for _, d := range dbDrivers {
			for _, synchronous := range []string{"FULL", "NORMAL"} {
				in := fmt.Sprintf("/%s/%s/%s", d.name, synchronous, at)
				b.Run("store=plain"+in, func(b *testing.B) {
					db := programDB(b, d.driver, synchronous)
					share(b, goroutines, func(n int64) error {
						return inTx(db, func(tx *sql.Tx) error {
							_, err := tx.ExecContext(ctx, "INSERT INTO orders (what) VALUES (?)", "Ordered")
							return err
						})
					})
				})
				b.Run("store=FromDB"+in, func(b *testing.B) {
					store := mustOpenDB(b, programDB(b, d.driver, synchronous))
					share(b, goroutines, func(n int64) error {
						event, condition := guarded(n)
						return store.Append(ctx, []Event{event}, condition)
					})
				})
				b.Run("store=AppendTx"+in, func(b *testing.B) {
					db := programDB(b, d.driver, synchronous)
					store := mustOpenDB(b, db)
					share(b, goroutines, func(n int64) error {
						event, condition := guarded(n)
						return inTx(db, func(tx *sql.Tx) error {
							return store.AppendTx(ctx, tx, []Event{event}, condition)
						})
					})
				})
			}
		}
	}
}

// Programdb measures a store on a program's own SQLite database beside a store on a file of its own and beside
// plain transactions of the program, with both drivers, and prints the table of docs/internals/host-connections.md:
//
//	cd bindings/go/compare && go run ./programdb
//
// All of them take turns, round by round, since other work on the machine changes every rate. The ratio of a round
// compares the same seconds. The table shows the medians.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/mattn/go-sqlite3"
	_ "modernc.org/sqlite"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

var (
	ctx    = context.Background()
	rounds = flag.Int("rounds", 7, "how often each one takes its turn")
	turn   = flag.Duration("turn", 400*time.Millisecond, "how long a turn is")
	folder = flag.String("folder", "", "where the files are made; the default is the folder for temporary files")
)

// drivers holds the drivers and, for each, a data source name that lacks the path and the value of synchronous.
var drivers = []struct{ name, driver, dsn string }{
	{"mattn", "sqlite3", "file:%s?_journal_mode=WAL&_busy_timeout=30000&_txlock=immediate&_synchronous=%s"},
	{"modernc", "sqlite", "file:%s?_pragma=journal_mode(WAL)&_pragma=busy_timeout(30000)&_txlock=immediate&_pragma=synchronous(%s)"},
}

// connections is how many each pool has.
const connections = 16

// contestant is one way to store an event, or a row, and what it is compared with.
type contestant struct {
	name  string
	plain *contestant
	store func(n int64) error
	next  atomic.Int64
	// rates has one for each round.
	rates []float64
}

// play stores events until the time is over, in so many goroutines, and notes the rate.
func (c *contestant) play(goroutines int, limit time.Duration) {
	var all sync.WaitGroup
	var done atomic.Int64
	start := time.Now()
	for range goroutines {
		all.Add(1)
		go func() {
			defer all.Done()
			for time.Since(start) < limit {
				if err := c.store(c.next.Add(1)); err != nil {
					log.Fatalf("%s: %v", c.name, err)
				}
				done.Add(1)
			}
		}()
	}
	all.Wait()
	c.rates = append(c.rates, float64(done.Load())/time.Since(start).Seconds())
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// ratio returns how many events it stores while the plain transactions store one row: the median of the rounds,
// the lowest and the highest.
func (c *contestant) ratio() string {
	if c.plain == c {
		return ""
	}
	ratios := make([]float64, len(c.rates))
	for i := range ratios {
		ratios[i] = c.rates[i] / c.plain.rates[i]
	}
	return fmt.Sprintf(", %.2f (%.2f..%.2f)", median(ratios), slices.Min(ratios), slices.Max(ratios))
}

// guarded returns an event with a tag of its own, and the condition that there is none with that tag yet.
func guarded(n int64) ([]dcb.Event, dcb.AppendCondition) {
	tag := dcb.Tag{Key: "order", Value: strconv.FormatInt(n, 10)}
	return []dcb.Event{{Type: "Ordered", Tags: []dcb.Tag{tag}, Data: n}},
		dcb.AppendCondition{FailIfEventsMatch: dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{tag}})}
}

func openDB(path, driver, dsn, synchronous string) (*sql.DB, error) {
	db, err := sql.Open(driver, fmt.Sprintf(dsn, path, synchronous))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	_, err = db.Exec("CREATE TABLE orders (n INTEGER PRIMARY KEY, what TEXT)")
	return db, err
}

func inTransaction(db *sql.DB, run func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := run(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// contestants opens the databases of one driver and one value of synchronous.
func contestants(folder, driver, dsn, synchronous string) (all []*contestant, closeAll func(), err error) {
	plainDB, err := openDB(filepath.Join(folder, "plain.db"), driver, dsn, synchronous)
	if err != nil {
		return nil, nil, err
	}
	db, err := openDB(filepath.Join(folder, "program.db"), driver, dsn, synchronous)
	if err != nil {
		return nil, nil, err
	}
	store, err := dcb.NewSQLiteStoreFromDB(db)
	if err != nil {
		return nil, nil, err
	}
	plain := &contestant{name: "plain", store: func(n int64) error {
		return inTransaction(plainDB, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO orders (what) VALUES (?)", "Ordered")
			return err
		})
	}}
	plain.plain = plain
	within := func(n int64) func(*sql.Tx) error {
		return func(tx *sql.Tx) error {
			events, condition := guarded(n)
			return store.AppendTx(ctx, tx, events, condition)
		}
	}
	// The tags are the same in one store, so that each one has numbers of its own.
	appends := &contestant{name: "Append", plain: plain, store: func(n int64) error {
		events, condition := guarded(3 * n)
		return store.Append(ctx, events, condition)
	}}
	appendTx := &contestant{name: "AppendTx", plain: plain, store: func(n int64) error {
		return inTransaction(db, within(3*n+1))
	}}
	inTx := &contestant{name: "InTx", plain: plain, store: func(n int64) error {
		return store.InTx(ctx, within(3*n+2))
	}}
	closeAll = func() {
		store.Close()
		plainDB.Close()
	}
	return []*contestant{plain, appends, appendTx, inTx}, closeAll, nil
}

// table prints the rates of so many goroutines, and what each is of that of the plain transactions.
func table(native *contestant, goroutines int, folder string) error {
	for _, d := range drivers {
		for _, synchronous := range []string{"FULL", "NORMAL"} {
			files, err := os.MkdirTemp(folder, "programdb")
			if err != nil {
				return err
			}
			all, closeAll, err := contestants(files, d.driver, d.dsn, synchronous)
			if err != nil {
				return err
			}
			native.rates, native.plain = nil, all[0]
			all = append(all, native)
			for range *rounds {
				for _, c := range all {
					c.play(goroutines, *turn)
				}
			}
			fmt.Printf("| %d | %s, %s |", goroutines, d.name, synchronous)
			for _, c := range all {
				fmt.Printf(" %.0f%s |", median(c.rates), c.ratio())
			}
			fmt.Println()
			closeAll()
			os.RemoveAll(files)
		}
	}
	return nil
}

// notices prints how long after the end of a write a wait of the same process ends.
func notices(folder string) error {
	for _, d := range drivers {
		files, err := os.MkdirTemp(folder, "programdb")
		if err != nil {
			return err
		}
		db, err := openDB(filepath.Join(files, "program.db"), d.driver, d.dsn, "FULL")
		if err != nil {
			return err
		}
		store, err := dcb.NewSQLiteStoreFromDB(db)
		if err != nil {
			return err
		}
		event := []dcb.Event{{Type: "Ordered"}}
		for _, way := range []struct {
			name  string
			store func() error
		}{
			{"Append", func() error { return store.Append(ctx, event) }},
			{"AppendTx", func() error {
				return inTransaction(db, func(tx *sql.Tx) error { return store.AppendTx(ctx, tx, event) })
			}},
			{"InTx", func() error {
				return store.InTx(ctx, func(tx *sql.Tx) error { return store.AppendTx(ctx, tx, event) })
			}},
		} {
			var after []float64
			for range 30 * *rounds {
				head, err := store.Head(ctx)
				if err != nil {
					return err
				}
				noticed := make(chan time.Time)
				go func() {
					if _, err := store.Wait(ctx, head); err != nil {
						log.Fatal(err)
					}
					noticed <- time.Now()
				}()
				time.Sleep(15 * time.Millisecond)
				if err := way.store(); err != nil {
					return err
				}
				stored := time.Now()
				after = append(after, float64(max(0, (<-noticed).Sub(stored)).Microseconds()))
			}
			slices.Sort(after)
			fmt.Printf("| %s | %s | %.2f | %.2f |\n", d.name, way.name,
				median(after)/1000, after[len(after)*9/10]/1000)
		}
		store.Close()
		os.RemoveAll(files)
	}
	return nil
}

func run() error {
	native, err := os.MkdirTemp(*folder, "programdb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(native)
	store, err := dcb.NewSQLiteStore(filepath.Join(native, "events.db"))
	if err != nil {
		return err
	}
	defer store.Close()
	own := &contestant{name: "native store", store: func(n int64) error {
		events, condition := guarded(n)
		return store.Append(ctx, events, condition)
	}}
	fmt.Print("| goroutines | driver | plain | Append | AppendTx | InTx | native store |\n" +
		"| ---: | --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, goroutines := range []int{1, 16, 64} {
		if err := table(own, goroutines, *folder); err != nil {
			return err
		}
	}
	fmt.Print("\n| driver | one event by | a wait ends after, ms | nine of ten |\n| --- | --- | ---: | ---: |\n")
	return notices(*folder)
}

func main() {
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal("programdb: ", err)
	}
}

// Package compare compares the library's SQLite store with plain event stores over the SQLite drivers for Go. It is
// a module of its own, so that package dcb needs no driver.
//
//	go test -bench .
//
// Each benchmark does the same work on both stores in turn and reports the ratio of their times: "x-native" is how
// many times as long the plain store takes.
package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
	_ "modernc.org/sqlite"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

type store interface {
	Append(ctx context.Context, events []dcb.Event, conditions ...dcb.AppendCondition) error
	ReadRaw(ctx context.Context, query dcb.Query, opts ...dcb.ReadOption) ([]dcb.RawEvent, int64, error)
	Close() error
}

// rivals holds the drivers and, for each, the parameters that make it as durable as the library: every commit
// syncs the log.
var rivals = []struct{ name, driver, dsn string }{
	{"mattn", "sqlite3", "file:%s?_txlock=immediate&_journal_mode=WAL&_synchronous=FULL&_busy_timeout=60000"},
	{"modernc", "sqlite", "file:%s?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(60000)"},
}

var ctx = context.Background()

// open returns a new native store and a new plain one, each with the given number of events.
func open(tb testing.TB, driver, dsn string, events int) (native, rival store) {
	tb.Helper()
	dir := tb.TempDir()
	nativeStore, err := dcb.NewSQLiteStore(filepath.Join(dir, "native.db"))
	if err != nil {
		tb.Fatal(err)
	}
	plainStore, err := openPlain(driver, fmt.Sprintf(dsn, filepath.Join(dir, "plain.db")))
	if err != nil {
		tb.Fatal(err)
	}
	native, rival = nativeStore, plainStore
	for _, s := range []store{native, rival} {
		tb.Cleanup(func() { s.Close() })
		for done := 0; done < events; done += 1000 {
			if err := s.Append(ctx, numbered(done, min(1000, events-done))); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return native, rival
}

// numbered returns n events with 256 bytes of data and two tags, one of them unique.
func numbered(first, n int) []dcb.Event {
	data := json.RawMessage(`"` + strings.Repeat("x", 254) + `"`)
	events := make([]dcb.Event, n)
	for i := range events {
		number := first + i
		events[i] = dcb.Event{
			Type: fmt.Sprint("Type", number%20),
			Tags: []dcb.Tag{
				{Key: "entity", Value: fmt.Sprint(number % 1000)},
				{Key: "event", Value: fmt.Sprint(number)},
			},
			Data: data,
		}
	}
	return events
}

func ofTag(key string, value int) dcb.Query {
	return dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{{Key: key, Value: fmt.Sprint(value)}}})
}

func TestBothDoTheSame(t *testing.T) {
	for _, rival := range rivals {
		t.Run(rival.name, func(t *testing.T) {
			native, plain := open(t, rival.driver, rival.dsn, 2500)
			for _, query := range []dcb.Query{dcb.QueryAll(), ofTag("entity", 7), ofTag("event", 7), ofTag("event", -1)} {
				one, _, err := native.ReadRaw(ctx, query)
				if err != nil {
					t.Fatal(err)
				}
				other, _, err := plain.ReadRaw(ctx, query)
				if err != nil {
					t.Fatal(err)
				}
				for i := range one {
					one[i].Timestamp, other[i].Timestamp = time.Time{}, time.Time{}
				}
				if a, b := fmt.Sprint(one), fmt.Sprint(other); a != b {
					t.Errorf("%v: %.200s, but %.200s", query, a, b)
				}
				for _, s := range []store{native, plain} {
					err := s.Append(ctx, numbered(0, 1), dcb.AppendCondition{FailIfEventsMatch: query})
					if failed := err != nil; failed != (len(one) > 0) {
						t.Errorf("%T: %v: %v", s, query, err)
					}
				}
			}
		})
	}
}

// byTurns runs the work on both stores and reports their times and the ratio.
func byTurns(b *testing.B, native, rival store, work func(s store, round int) error) {
	var times [2]time.Duration
	round := 0
	for b.Loop() {
		for i, s := range []store{native, rival} {
			start := time.Now()
			if err := work(s, round); err != nil {
				b.Fatal(err)
			}
			times[i] += time.Since(start)
		}
		round++
	}
	b.ReportMetric(float64(times[0].Microseconds())/float64(round), "native-µs")
	b.ReportMetric(float64(times[1])/float64(times[0]), "x-native")
}

func benchmark(b *testing.B, events int, work func(s store, round int) error) {
	for _, rival := range rivals {
		b.Run(rival.name, func(b *testing.B) {
			native, plain := open(b, rival.driver, rival.dsn, events)
			byTurns(b, native, plain, work)
		})
	}
}

func BenchmarkRead1000(b *testing.B) {
	benchmark(b, 1000, func(s store, _ int) error {
		events, _, err := s.ReadRaw(ctx, dcb.QueryAll())
		if err == nil && len(events) != 1000 {
			err = fmt.Errorf("read %d events", len(events))
		}
		return err
	})
}

func BenchmarkReadTenOf10000(b *testing.B) {
	benchmark(b, 10_000, func(s store, round int) error {
		events, _, err := s.ReadRaw(ctx, ofTag("entity", round%1000))
		if err == nil && len(events) != 10 {
			err = fmt.Errorf("read %d events", len(events))
		}
		return err
	})
}

// appendUnique appends one event on the condition that no other has its tag.
func appendUnique(s store, number int) error {
	return s.Append(ctx, numbered(number, 1), dcb.AppendCondition{FailIfEventsMatch: ofTag("event", number)})
}

func BenchmarkAppendUnique(b *testing.B) {
	benchmark(b, 10_000, func(s store, round int) error {
		return appendUnique(s, 10_000+round)
	})
}

func BenchmarkAppendUniqueBy64(b *testing.B) {
	const writers = 64
	benchmark(b, 10_000, func(s store, round int) error {
		errs := make([]error, writers)
		var running sync.WaitGroup
		for i := range writers {
			running.Add(1)
			go func() {
				defer running.Done()
				errs[i] = appendUnique(s, 10_000+round*writers+i)
			}()
		}
		running.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

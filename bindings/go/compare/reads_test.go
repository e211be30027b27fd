package compare

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

var markdown = flag.Bool("markdown", false, "BenchmarkReads prints its figures as a table in Markdown")

// seatTaken is the data of the events that are read: 256 bytes of JSON.
type seatTaken struct {
	Student string `json:"student"`
	Course  string `json:"course"`
	Seat    int    `json:"seat"`
	IsGuest bool   `json:"isGuest"`
	Note    string `json:"note"`
}

const typeOfSeats = "SeatTaken"

// perEntity is how many events an entity has. They are spread over the whole store.
const perEntity = 10

// seats returns n events from number first on, of a store with so many entities.
func seats(first, n, entities int) []dcb.Event {
	events := make([]dcb.Event, n)
	for i := range events {
		number := first + i
		data := seatTaken{
			Student: fmt.Sprintf("s%07d", number), Course: fmt.Sprintf("c%07d", number%entities), Seat: number % 10,
		}
		encoded, err := json.Marshal(data)
		if err != nil {
			panic(err)
		}
		data.Note = strings.Repeat("x", 256-len(encoded))
		events[i] = dcb.Event{
			Type: typeOfSeats, Data: data,
			Tags: []dcb.Tag{
				{Key: "course", Value: fmt.Sprint(number % entities)},
				{Key: "student", Value: fmt.Sprint(number)},
			},
		}
	}
	return events
}

// reader is a store whose events are read raw and typed.
type reader interface {
	store
	Read(ctx context.Context, query dcb.Query, opts ...dcb.ReadOption) ([]dcb.SequencedEvent, int64, error)
}

// readers are the stores of BenchmarkReads, all with the same events.
type readers struct {
	names    []string
	stores   []reader
	events   int
	entities int
}

func openReaders(b *testing.B, events int) readers {
	b.Helper()
	all := readers{events: events, entities: events / perEntity}
	registry := new(dcb.Registry)
	dcb.Register[seatTaken](registry, typeOfSeats)
	dir := b.TempDir()
	native, err := dcb.NewSQLiteStore(filepath.Join(dir, "native.db"), dcb.WithRegistry(registry))
	if err != nil {
		b.Fatal(err)
	}
	all.add(b, "libdcb", native)
	for _, rival := range rivals {
		plain, err := openPlain(rival.driver, fmt.Sprintf(rival.dsn, filepath.Join(dir, rival.name+".db")))
		if err != nil {
			b.Fatal(err)
		}
		all.add(b, rival.name, plain)
	}
	return all
}

func (all *readers) add(b *testing.B, name string, s reader) {
	b.Cleanup(func() { s.Close() })
	for done := 0; done < all.events; done += 1000 {
		if err := s.Append(ctx, seats(done, min(1000, all.events-done), all.entities)); err != nil {
			b.Fatal(err)
		}
	}
	all.names, all.stores = append(all.names, name), append(all.stores, s)
}

// work is done on each store in turn. It handles so many events, or is another unit.
type work struct {
	name string
	// unit is what the figures are per, and units is how many there are in one run.
	unit  string
	units int
	// repeat is how often a store runs it before it is the next one's turn.
	repeat int
	run    func(s reader, round int) error
}

func (all *readers) works() []work {
	entity := func(round int) dcb.Query { return ofTag("course", round%all.entities) }
	raw := func(s reader, query dcb.Query, expected int) error {
		events, _, err := s.ReadRaw(ctx, query)
		return expect(len(events), expected, err)
	}
	typed := func(s reader, query dcb.Query, expected int) error {
		events, _, err := s.Read(ctx, query)
		if err := expect(len(events), expected, err); err != nil {
			return err
		}
		if data := events[expected-1].Data.(seatTaken); data.Note == "" {
			return fmt.Errorf("event %d: no note", events[expected-1].Position)
		}
		return nil
	}
	const repeat = 100
	return []work{
		{"read an entity of ten events, raw", "event", perEntity, repeat, func(s reader, round int) error {
			return raw(s, entity(round), perEntity)
		}},
		{"read an entity of ten events, typed", "event", perEntity, repeat, func(s reader, round int) error {
			return typed(s, entity(round), perEntity)
		}},
		{fmt.Sprintf("read all %d events, raw", all.events), "event", all.events, 1, func(s reader, _ int) error {
			return raw(s, dcb.QueryAll(), all.events)
		}},
		{fmt.Sprintf("read all %d events, typed", all.events), "event", all.events, 1, func(s reader, _ int) error {
			return typed(s, dcb.QueryAll(), all.events)
		}},
		// It comes last: it appends to the entities.
		{"read an entity, decide, append one event", "decision", 1, repeat, func(s reader, round int) error {
			return decide(s, entity(round), all.events+round)
		}},
	}
}

func expect(found, expected int, err error) error {
	if err == nil && found != expected {
		return fmt.Errorf("read %d events, not %d", found, expected)
	}
	return err
}

// decide appends one event more, if the query's last one took a seat below 10 and nothing is added meanwhile.
func decide(s reader, query dcb.Query, number int) error {
	decider := dcb.Decider[int, int]{
		Query:  func(int) dcb.Query { return query },
		Evolve: func(taken int, event dcb.SequencedEvent) int { return max(taken, event.Data.(seatTaken).Seat) },
		Decide: func(taken, number int) ([]dcb.Event, error) {
			if taken >= 10 {
				return nil, fmt.Errorf("seat %d is taken", taken)
			}
			return seats(number, 1, 1_000_000), nil
		},
	}
	return dcb.CommandHandler[int, int]{Decider: decider, Store: s}.Handle(ctx, number)
}

// cost is what a unit of work has cost a store. The nanoseconds are of processor time, of all threads of the process.
type cost struct {
	ns, allocs float64
}

// BenchmarkReads lets each store do the same work in turn. It reports for each what one unit cost, in nanoseconds of
// processor time and in allocations, and how many times as many nanoseconds as libdcb the others took. Processor time
// depends less on what else a machine does than time does.
//
//	go test -run '^$' -bench '^BenchmarkReads$' -args -markdown
func BenchmarkReads(b *testing.B) {
	events := 100_000
	if testing.Short() {
		events = 1000
	}
	all := openReaders(b, events)
	rows := make([][]cost, len(all.works()))
	for i, work := range all.works() {
		b.Run(strings.ReplaceAll(work.name, " ", "-"), func(b *testing.B) {
			rows[i] = all.measure(b, work)
		})
	}
	if *markdown {
		all.print(rows)
	}
}

func (all *readers) measure(b *testing.B, work work) []cost {
	costs := make([]cost, len(all.stores))
	round := 0
	for b.Loop() {
		for i, s := range all.stores {
			allocs, start := allocations(), processorTime()
			for n := range work.repeat {
				if err := work.run(s, round+n); err != nil {
					b.Fatal(all.names[i], err)
				}
			}
			costs[i].ns += float64((processorTime() - start).Nanoseconds())
			costs[i].allocs += float64(allocations() - allocs)
		}
		round += work.repeat
	}
	for i := range costs {
		units := float64(round * work.units)
		costs[i].ns /= units
		costs[i].allocs /= units
		b.ReportMetric(costs[i].ns, all.names[i]+"-cpu-ns/"+work.unit)
		b.ReportMetric(costs[i].allocs, all.names[i]+"-allocs/"+work.unit)
		if i > 0 {
			b.ReportMetric(costs[i].ns/costs[0].ns, all.names[i]+"-x")
		}
	}
	return costs
}

// processorTime returns how long the process has run so far, all of its threads together.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// allocations returns how many objects the program has allocated so far.
func allocations() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Mallocs
}

func (all *readers) print(rows [][]cost) {
	fmt.Print("\n| processor ns (allocations) | for one")
	rule := "| --- | ---"
	for i, name := range all.names {
		fmt.Print(" | ", name)
		rule += " | ---:"
		if i > 0 {
			fmt.Print(" | / libdcb")
			rule += " | ---:"
		}
	}
	fmt.Println(" |\n" + rule + " |")
	for i, work := range all.works() {
		if rows[i] == nil {
			continue // -bench has left it out
		}
		fmt.Printf("| %s | %s", work.name, work.unit)
		for j, cost := range rows[i] {
			fmt.Printf(" | %.0f (%.1f)", cost.ns, cost.allocs)
			if j > 0 {
				fmt.Printf(" | %.2f", cost.ns/rows[i][0].ns)
			}
		}
		fmt.Println(" |")
	}
}

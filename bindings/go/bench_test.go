package dcb

import (
	"context"
	"encoding/json"
	"testing"
)

// benchEvent returns the event of the benchmarks: 256 bytes of data and two tags.
func benchEvent() Event {
	data := append([]byte(`"`), make([]byte, 254)...)
	for i := range data[1:] {
		data[1+i] = 'x'
	}
	return Event{
		Type: "StudentSubscribed",
		Tags: []Tag{{"course", "c1"}, {"student", "s1"}},
		Data: json.RawMessage(append(data, '"')),
	}
}

func benchStores(b *testing.B, run func(b *testing.B, store *Store)) {
	for _, kind := range storeKinds {
		b.Run(kind.name, func(b *testing.B) { run(b, mustOpen(b, kind.uri(b))) })
	}
}

func BenchmarkReadRaw1000(b *testing.B) {
	benchStores(b, func(b *testing.B, store *Store) {
		events := make([]Event, 1000)
		for i := range events {
			events[i] = benchEvent()
		}
		mustAppend(b, store, events...)
		b.ReportAllocs()
		for b.Loop() {
			if got, _, err := store.ReadRaw(context.Background(), QueryAll()); len(got) != 1000 || err != nil {
				b.Fatal(len(got), err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/event")
	})
}

func BenchmarkRead1000(b *testing.B) {
	benchStores(b, func(b *testing.B, store *Store) {
		events := make([]Event, 1000)
		for i := range events {
			events[i] = benchEvent()
			events[i].Data = map[string]any{"student": "s1", "seat": i}
		}
		mustAppend(b, store, events...)
		b.ReportAllocs()
		for b.Loop() {
			if got, _, err := store.Read(context.Background(), QueryAll()); len(got) != 1000 || err != nil {
				b.Fatal(len(got), err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/event")
	})
}

func BenchmarkReadOne(b *testing.B) {
	benchStores(b, func(b *testing.B, store *Store) {
		mustAppend(b, store, benchEvent())
		query := NewQuery(QueryItem{Tags: []Tag{{"course", "c1"}}})
		b.ReportAllocs()
		for b.Loop() {
			if got, _, err := store.ReadRaw(context.Background(), query); len(got) != 1 || err != nil {
				b.Fatal(len(got), err)
			}
		}
	})
}

// BenchmarkAppend appends one small event at a time. BenchmarkAppendCall measures the library's part of that, with
// a request that is encoded already. The difference is the cost of this package.
func BenchmarkAppend(b *testing.B) {
	event := benchEvent()
	contexts := map[string]context.Context{"background": context.Background()}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	contexts["cancellable"] = ctx
	for name, ctx := range contexts {
		b.Run(name, func(b *testing.B) {
			benchStores(b, func(b *testing.B, store *Store) {
				b.ReportAllocs()
				for b.Loop() {
					if err := store.Append(ctx, []Event{event}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkAppendCall(b *testing.B) {
	request, err := appendRequest(nil, []Event{benchEvent()}, nil)
	if err != nil {
		b.Fatal(err)
	}
	benchStores(b, func(b *testing.B, store *Store) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := store.h.append(context.Background(), request); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// One decision over 500 events, with and without a memory for states.
func BenchmarkDecideOnALongHistory(b *testing.B) {
	benchStores(b, func(b *testing.B, store *Store) {
		events := make([]Event, 500)
		for i := range events {
			events[i] = benchEvent()
		}
		mustAppend(b, store, events...)
		whole := Decider[int, int]{
			Query:  func(int) Query { return NewQuery(QueryItem{Tags: benchEvent().Tags[:1]}) },
			Evolve: func(n int, _ SequencedEvent) int { return n + 1 },
			Decide: func(n, _ int) ([]Event, error) { return nil, nil },
		}
		for name, decider := range map[string]Decider[int, int]{"whole": whole, "cached": whole.Cached(1, nil)} {
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					if err := (CommandHandler[int, int]{Decider: decider, Store: store}).Handle(context.Background(), 0); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	})
}

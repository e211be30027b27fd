package dcb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// seenBy returns a decider over these queries, whose commands are their indexes. Its state is the positions that it has
// seen, and it spoils the state that it is given, as a decider may.
func seenBy(queries []Query, decide func(seen []int64) ([]Event, error)) Decider[[]int64, int] {
	return Decider[[]int64, int]{
		Query:        func(i int) Query { return queries[i] },
		InitialState: func() []int64 { return []int64{0} },
		Evolve:       func(seen []int64, event SequencedEvent) []int64 { return append(seen, event.Position) },
		Decide: func(seen []int64, _ int) ([]Event, error) {
			decided, err := decide(slices.Clone(seen))
			clear(seen)
			return decided, err
		},
	}
}

// restored is a store that has another history than it had, as after a restore.
type restored struct {
	store, now *Store
}

func (r restored) Unwrap() EventStore { return r.store }

func (r restored) Read(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	return r.now.Read(ctx, query, opts...)
}

func (r restored) ReadSnapshot(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	return r.now.ReadSnapshot(ctx, query, opts...)
}

func (r restored) Append(ctx context.Context, events []Event, conditions ...AppendCondition) error {
	return r.now.Append(ctx, events, conditions...)
}

func (r restored) AppendEvents(ctx context.Context, events []Event, conditions ...AppendCondition) (Appended, error) {
	return r.now.AppendEvents(ctx, events, conditions...)
}

// A decider with a memory sees what one without sees, and conflicts with the same, on several stores, and on one that
// has another history from time to time.
func TestCachedDecisionsAgree(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(150) {
		r := random{rand.New(rand.NewPCG(seed, 9))}
		stores := []*Store{mustOpen(t, "memory:"), mustOpen(t, "memory:")}
		queries := []Query{r.query(), r.query(), r.query(), r.query()}
		var states [][]int64
		var store *Store
		var rival, decided []Event
		decider := seenBy(queries, func(seen []int64) ([]Event, error) {
			states = append(states, seen)
			if len(states) == 1 && rival != nil {
				mustAppend(t, store, rival...)
			}
			return decided, nil
		})
		cached := decider.Cached(1+r.IntN(4), slices.Clone[[]int64])
		for step := range 40 {
			store = stores[r.IntN(8)/7]
			var decidesOn EventStore = store
			if seed%2 == 0 {
				decidesOn = restored{stores[0], store}
			}
			if r.IntN(2) == 0 {
				mustAppend(t, store, r.events(1+r.IntN(4))...)
			}
			rival, decided = nil, nil
			var opts []DecideOption
			if r.IntN(3) == 0 {
				opts = append(opts, WithRequestID(fmt.Sprint("r", step)))
			}
			if r.IntN(2) == 0 {
				decided = r.events(1 + r.IntN(2))
			}
			if r.IntN(2) == 0 && decided != nil {
				rival = r.events(1)
			}
			command := r.IntN(len(queries))
			all, _, err := store.Read(ctx, QueryAll())
			if err != nil {
				t.Fatal(err)
			}
			want := [][]int64{matching(queries[command], all)}
			if rival != nil {
				event := SequencedEvent{Type: rival[0].Type, Tags: rival[0].Tags, Position: int64(len(all) + 1)}
				if queries[command].Matches(event) {
					want = append(want, append(slices.Clone(want[0]), event.Position))
				}
			}
			states = nil
			run := func() (Decision, error) {
				if step%3 == 0 {
					return Decide(ctx, decidesOn, cached.Model(command), func(seen []int64) ([]Event, error) {
						return cached.Decide(seen, command)
					}, opts...)
				}
				return CommandHandler[[]int64, int]{Decider: cached, Store: decidesOn}.Run(ctx, command, opts...)
			}
			got, err := run()
			if err != nil || got.Attempts != len(want) || !slices.EqualFunc(states, want, slices.Equal[[]int64]) {
				t.Fatalf("seed %d, step %d: it saw %v, want %v; %+v, %v", seed, step, states, want, got, err)
			}
			if opts != nil && decided != nil {
				again, err := run()
				if err != nil || !again.Repeated || again.First != got.First || again.Last != got.Last {
					t.Fatalf("seed %d, step %d: %+v, and again %+v, %v", seed, step, got, again, err)
				}
			}
		}
		for _, store := range stores {
			store.Close()
		}
	}
}

// timeless is a store whose events all have one timestamp.
type timeless struct{ restored }

func (s timeless) ReadSnapshot(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	events, position, err := s.restored.ReadSnapshot(ctx, query, opts...)
	for i := range events {
		events[i].Timestamp = time.Time{}
	}
	return events, position, err
}

// A state is not used with another store, even if the last event that it has seen looks the same there.
func TestACachedStateBelongsToItsStore(t *testing.T) {
	ctx := context.Background()
	named := NewQuery(QueryItem{Tags: []Tag{{Key: "k", Value: "1"}}})
	var got []int64
	decider := seenBy([]Query{named}, func(seen []int64) ([]Event, error) {
		got = seen
		return nil, nil
	}).Cached(8, slices.Clone[[]int64])
	for _, want := range [][]int64{{0, 2}, {0, 1, 2}} {
		store := mustOpen(t, "memory:")
		first := Event{Type: "A"}
		if len(want) == 3 {
			first.Tags = []Tag{{Key: "k", Value: "1"}}
		}
		mustAppend(t, store, first, Event{Type: "B", Tags: []Tag{{Key: "k", Value: "1"}}})
		handler := CommandHandler[[]int64, int]{Decider: decider, Store: timeless{restored{store, store}}}
		if err := handler.Handle(ctx, 0); err != nil || !slices.Equal(got, want) {
			t.Errorf("it saw %v, want %v, %v", got, want, err)
		}
	}
}

// A state is not used once the file of the open store was replaced by an older one.
func TestACachedStateIsNotUsedAfterARestore(t *testing.T) {
	ctx := context.Background()
	store, restore := mustBackUpByShell(t)
	var got []int64
	decider := seenBy([]Query{QueryAll()}, func(seen []int64) ([]Event, error) {
		got = seen
		return nil, nil
	}).Cached(8, slices.Clone[[]int64])
	handler := CommandHandler[[]int64, int]{Decider: decider, Store: store}
	for _, want := range [][]int64{{0, 1, 2, 3}, {0, 1}} {
		if err := handler.Handle(ctx, 0); err != nil || !slices.Equal(got, want) {
			t.Fatalf("it saw %v, want %v, %v", got, want, err)
		}
		restore()
	}
}

// A decision reads the last event that its state has seen, and what is newer.
func TestACachedDecisionDoesNotReadItsHistory(t *testing.T) {
	ctx := context.Background()
	var counters Counters
	store := mustOpen(t, "memory:", WithObserver(&counters))
	for range 500 {
		mustAppend(t, store, Event{Type: "A"})
	}
	decider := Decider[int, int]{
		Query:  func(int) Query { return NewQuery(QueryItem{Types: []string{"A"}}) },
		Evolve: func(n int, _ SequencedEvent) int { return n + 1 },
		Decide: func(n, want int) ([]Event, error) {
			if n != want {
				return nil, fmt.Errorf("%d events, not %d", n, want)
			}
			return []Event{{Type: "A"}}, nil
		},
	}.Cached(1, nil)
	handler := CommandHandler[int, int]{Decider: decider, Store: store}
	for i, most := range []int64{500, 2, 2, 2} {
		before := counters.EventsRead.Load()
		var err error
		if i%2 == 0 {
			err = handler.Handle(ctx, 500+i)
		} else {
			_, _, err = DecideValue(ctx, store, decider.Model(500+i), func(n int) ([]Event, int, error) {
				events, err := decider.Decide(n, 500+i)
				return events, n, err
			})
		}
		if err != nil {
			t.Error(err)
		}
		if read := counters.EventsRead.Load() - before; read > most {
			t.Errorf("decision %d has read %d events", i, read)
		}
	}
}

// The memory is bounded, and forgets what was not used for longest.
func TestACacheIsBounded(t *testing.T) {
	ctx := context.Background()
	var counters Counters
	store := mustOpen(t, "memory:", WithObserver(&counters))
	names := []string{"A", "B", "C"}
	var queries []Query
	for _, name := range names {
		queries = append(queries, NewQuery(QueryItem{Types: []string{name}}))
		for range 10 {
			mustAppend(t, store, Event{Type: name})
		}
	}
	decider := seenBy(queries, func([]int64) ([]Event, error) { return nil, nil }).Cached(2, slices.Clone[[]int64])
	handler := CommandHandler[[]int64, int]{Decider: decider, Store: store}
	for i, step := range []struct {
		command int
		read    int64
	}{{0, 10}, {1, 10}, {0, 1}, {2, 10}, {0, 1}, {1, 10}, {1, 1}, {2, 10}} {
		before := counters.EventsRead.Load()
		if err := handler.Handle(ctx, step.command); err != nil {
			t.Error(err)
		}
		if read := counters.EventsRead.Load() - before; read != step.read {
			t.Errorf("step %d has read %d events, want %d", i, read, step.read)
		}
	}
	if n := len(decider.cache.entries); n != 2 || decider.cache.used.Len() != 2 {
		t.Errorf("%d states are remembered", n)
	}
}

// Goroutines that share the memory take each number once.
func TestACacheIsShared(t *testing.T) {
	ctx := context.Background()
	store := mustOpen(t, "memory:")
	numbers := NewQuery(QueryItem{Types: []string{"N"}})
	decider := seenBy([]Query{numbers}, func(seen []int64) ([]Event, error) {
		return []Event{{Type: "N", Data: len(seen)}}, nil
	}).Cached(1, slices.Clone[[]int64])
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 25 {
				if err := (CommandHandler[[]int64, int]{Decider: decider, Store: store}).Handle(ctx, 0); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	events, _, err := store.Read(ctx, numbers)
	if err != nil || len(events) != 200 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for i, event := range events {
		if event.Data != float64(i+1) {
			t.Fatalf("event %d has number %v", i+1, event.Data)
		}
	}
}

// What cannot be cached safely is refused.
func TestWhatCannotBeCached(t *testing.T) {
	type value struct {
		N    int
		Text string
		At   time.Time
		Two  [2]bool
	}
	type inner struct{ Taken map[string]bool }
	type reference struct{ Inner [1]inner }
	panics := func(run func()) (text string) {
		defer func() { text = fmt.Sprint(recover()) }()
		run()
		return ""
	}
	if text := panics(func() { Decider[value, int]{}.Cached(1, nil) }); text != "<nil>" {
		t.Errorf("a value: %s", text)
	}
	if text := panics(func() { Decider[reference, int]{}.Cached(1, nil) }); !strings.Contains(text, "clone must not be nil, since a dcb.reference") {
		t.Errorf("a reference: %s", text)
	}
	if text := panics(func() { Decider[value, int]{}.Cached(0, nil) }); !strings.Contains(text, "states must be 1 or more") {
		t.Errorf("no states: %s", text)
	}
	decider := seenBy([]Query{QueryAll()}, func([]int64) ([]Event, error) { return nil, nil }).Cached(1, slices.Clone[[]int64])
	decider.Last = 1
	err := CommandHandler[[]int64, int]{Decider: decider, Store: mustOpen(t, "memory:")}.Handle(context.Background(), 0)
	if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), "Decider.Cached") {
		t.Errorf("with Last, got %v", err)
	}
}

package dcb

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

func (r random) windowed(query Query) Projection[[]int64] {
	p := positions(query)
	if r.IntN(2) == 0 {
		p.Last = r.IntN(4)
	}
	if r.IntN(2) == 0 {
		p.Since = string(rune('A' + r.IntN(4)))
	}
	return p
}

// seen returns the positions of the events that a projection has to see of all events.
func seen(p Projection[[]int64], all []SequencedEvent) []int64 {
	var matched []SequencedEvent
	for _, event := range all {
		if p.Query.Matches(event) {
			matched = append(matched, event)
		}
	}
	for i, event := range matched {
		if event.Type == p.Since && !slices.ContainsFunc(matched[i+1:], func(e SequencedEvent) bool { return e.Type == p.Since }) {
			matched = matched[i:]
			break
		}
	}
	if p.Last > 0 && len(matched) > p.Last {
		matched = matched[len(matched)-p.Last:]
	}
	found := []int64{0}
	for _, event := range matched {
		found = append(found, event.Position)
	}
	return found
}

// plainStore has no methods but those of EventStore.
type plainStore struct{ EventStore }

// A decision sees of each part what Last and Since say, and conflicts with each event of the parts' queries, just as
// one that reads them all.
func TestDecisionsOnWindows(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(300) {
		r := random{rand.New(rand.NewPCG(seed, 7))}
		memory := mustOpen(t, "memory:")
		var store EventStore = memory
		if seed%2 == 0 {
			store = plainStore{memory}
		}
		mustAppend(t, memory, r.events(1+r.IntN(40))...)
		type state struct{ parts [4][]int64 }
		var parts [4]Projection[[]int64]
		for i := range parts {
			parts[i] = r.windowed(r.query())
		}
		part := func(i int) Part[state] {
			return PartOf(parts[i], func(s *state) *[]int64 { return &s.parts[i] })
		}
		inner := Compose(part(2), part(3))
		model := Compose(PartOf(inner, func(s *state) *state { return s }), part(0), part(1))

		rival := r.events(1)[0]
		var opts []DecideOption
		if r.IntN(2) == 0 {
			opts = append(opts, WithRequestID("r"+strconv.FormatUint(seed, 10)))
		}
		attempts := 0
		got, err := Decide(ctx, store, model, func(s state) ([]Event, error) {
			all, _, err := memory.Read(ctx, QueryAll())
			if err != nil {
				return nil, err
			}
			for i, p := range parts {
				if want := seen(p, all); !slices.Equal(s.parts[i], want) {
					t.Errorf("seed %d: part %d is %v, want %v", seed, i, s.parts[i], want)
				}
			}
			if folded := model.Fold(all); !slices.EqualFunc(folded.parts[:], s.parts[:], slices.Equal[[]int64]) {
				t.Errorf("seed %d: of all events, it is %v, not %v", seed, folded, s)
			}
			if attempts++; attempts == 1 {
				mustAppend(t, memory, rival)
			}
			return []Event{{Type: "Z"}}, nil
		}, opts...)
		wanted := 1
		if model.Query.Matches(SequencedEvent{Type: rival.Type, Tags: rival.Tags}) {
			wanted = 2
		}
		if err != nil || got.Attempts != wanted {
			t.Errorf("seed %d: %+v, want %d attempts, %v", seed, got, wanted, err)
		}
		if len(opts) > 0 {
			again, err := Decide(ctx, store, model, func(state) ([]Event, error) { return []Event{{Type: "Z"}}, nil }, opts...)
			if err != nil || !again.Repeated {
				t.Errorf("seed %d: asked again: %+v, %v", seed, again, err)
			}
		}
		memory.Close()
	}
}

// A decider sees what its Last and Since say, and conflicts with each event of its query.
func TestDecidersOnWindows(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(300) {
		r := random{rand.New(rand.NewPCG(seed, 8))}
		memory := mustOpen(t, "memory:")
		mustAppend(t, memory, r.events(1+r.IntN(40))...)
		model, rival := r.windowed(r.query()), r.events(1)[0]
		attempts := 0
		handler := CommandHandler[[]int64, string]{Store: memory, Decider: Decider[[]int64, string]{
			Query:        func(string) Query { return model.Query },
			Last:         model.Last,
			Since:        model.Since,
			InitialState: model.InitialState,
			Evolve:       model.Evolve,
			Decide: func(state []int64, _ string) ([]Event, error) {
				all, _, err := memory.Read(ctx, QueryAll())
				if want := seen(model, all); err != nil || !slices.Equal(state, want) {
					t.Errorf("seed %d: the state is %v, want %v, %v", seed, state, want, err)
				}
				if attempts++; attempts == 1 {
					mustAppend(t, memory, rival)
				}
				return []Event{{Type: "Z"}}, nil
			},
		}}
		wanted := 1
		if model.Query.Matches(SequencedEvent{Type: rival.Type, Tags: rival.Tags}) {
			wanted = 2
		}
		if got, err := handler.Run(ctx, "command"); err != nil || got.Attempts != wanted {
			t.Errorf("seed %d: %+v, want %d attempts, %v", seed, got, wanted, err)
		}
		memory.Close()
	}
}

// Events that are appended between the reads of a decision are not seen, and make it conflict.
func TestAppendsBetweenTheReadsOfADecision(t *testing.T) {
	ctx := context.Background()
	for _, isPlain := range []bool{false, true} {
		for at := range 4 {
			memory := mustOpen(t, "memory:")
			mustAppend(t, memory, Event{Type: "A"}, Event{Type: "B"}, Event{Type: "A"}, Event{Type: "B"})
			between := &betweenReads{Store: memory, left: at + 1, append: func() {
				mustAppend(t, memory, Event{Type: "A"}, Event{Type: "B"})
			}}
			var store EventStore = between
			if isPlain {
				store = plainStore{between}
			}
			type state struct{ a, b, all []int64 }
			lastOf := func(name string) Projection[[]int64] {
				p := positions(NewQuery(QueryItem{Types: []string{name}}))
				p.Last = 1
				return p
			}
			model := Compose(
				PartOf(lastOf("A"), func(s *state) *[]int64 { return &s.a }),
				PartOf(lastOf("B"), func(s *state) *[]int64 { return &s.b }),
				PartOf(positions(NewQuery(QueryItem{Types: []string{"A", "B"}})), func(s *state) *[]int64 { return &s.all }))
			var states []state
			got, err := Decide(ctx, store, model, func(s state) ([]Event, error) {
				states = append(states, s)
				return []Event{{Type: "Z"}}, nil
			})
			if at > 0 && (len(states) != 2 || states[0].a[1] != 3 || states[0].b[1] != 4 || len(states[0].all) != 5) {
				t.Errorf("before read %d, plain %v: the first attempt saw %v", at, isPlain, states)
			}
			last := states[len(states)-1]
			if err != nil || got.Attempts != min(at+1, 2) || last.a[1] != 5 || last.b[1] != 6 || len(last.all) != 7 {
				t.Errorf("before read %d, plain %v: %+v, %+v, %v", at, isPlain, last, got, err)
			}
		}
	}
}

// betweenReads appends before one of the reads of a store.
type betweenReads struct {
	*Store
	left   int
	append func()
}

func (b *betweenReads) before() {
	if b.left--; b.left == 0 {
		b.append()
	}
}

func (b *betweenReads) Read(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	b.before()
	return b.Store.Read(ctx, query, opts...)
}

func (b *betweenReads) ReadSnapshot(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	b.before()
	return b.Store.ReadSnapshot(ctx, query, opts...)
}

// The next number needs one event, however many there are, and a balance those since it was last closed.
func TestAWindowIsNotReadWhole(t *testing.T) {
	ctx := context.Background()
	var counters Counters
	store := mustOpen(t, "memory:", WithObserver(&counters))
	for i := range 1000 {
		mustAppend(t, store, Event{Type: "Invoiced", Data: i + 1})
	}
	mustAppend(t, store, Event{Type: "Closed"}, Event{Type: "Invoiced", Data: 1001})
	invoices := positions(NewQuery(QueryItem{Types: []string{"Invoiced", "Closed"}}))
	last, since := invoices, invoices
	last.Last, since.Since = 1, "Closed"
	for name, test := range map[string]struct {
		model Projection[[]int64]
		want  []int64
	}{"Last": {last, []int64{0, 1002}}, "Since": {since, []int64{0, 1001, 1002}}} {
		before := counters.EventsRead.Load()
		_, err := Decide(ctx, store, test.model, func(got []int64) ([]Event, error) {
			if !slices.Equal(got, test.want) {
				t.Errorf("%s: it saw %v", name, got)
			}
			return nil, nil
		})
		if n := counters.EventsRead.Load() - before; err != nil || n > 3 {
			t.Errorf("%s: %d events were read, %v", name, n, err)
		}
	}
}

// Last and Since count the events of a test too, which have no positions.
func TestAWindowOfEventsWithoutPositions(t *testing.T) {
	count := Projection[int]{Evolve: func(n int, _ SequencedEvent) int { return n + 1 }, Last: 2}
	events := []SequencedEvent{{Type: "A"}, {Type: "B"}, {Type: "A"}}
	if got := count.Fold(events); got != 2 {
		t.Errorf("got %d", got)
	}
	count.Last, count.Since = 0, "A"
	if got := count.Fold(events); got != 1 {
		t.Errorf("got %d", got)
	}
}

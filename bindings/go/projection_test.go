package dcb

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
)

// random makes small queries and events from few names, so that they often match.
type random struct{ *rand.Rand }

func (r random) names(names ...string) (some []string) {
	for _, name := range names {
		if r.IntN(3) == 0 {
			some = append(some, name)
		}
	}
	return some
}

func (r random) tags() (tags []Tag) {
	for _, name := range r.names("k:1", "k:2", "l:1", "l", "m:a:b") {
		tags = append(tags, ParseTag(name))
	}
	return tags
}

func (r random) query() Query {
	if r.IntN(10) == 0 {
		return QueryAll()
	}
	var items []QueryItem
	for range 1 + r.IntN(3) {
		items = append(items, QueryItem{Types: r.names("A", "B", "C"), Tags: r.tags()})
	}
	return NewQuery(items...)
}

func (r random) events(n int) (events []Event) {
	for range n {
		events = append(events, Event{Type: string(rune('A' + r.IntN(4))), Tags: r.tags()})
	}
	return events
}

// positions returns a projection whose state is the positions of the events it was given.
func positions(query Query) Projection[[]int64] {
	return Projection[[]int64]{
		Query:        query,
		InitialState: func() []int64 { return []int64{0} },
		Evolve:       func(seen []int64, event SequencedEvent) []int64 { return append(seen, event.Position) },
	}
}

func matching(query Query, events []SequencedEvent) []int64 {
	found := []int64{0}
	for _, event := range events {
		if query.Matches(event) {
			found = append(found, event.Position)
		}
	}
	return found
}

func TestComposeIsTheUnionOfItsParts(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(200) {
		r := random{rand.New(rand.NewPCG(seed, 0))}
		store := mustOpen(t, "memory:")
		mustAppend(t, store, r.events(1+r.IntN(40))...)
		all, _, err := store.Read(ctx, QueryAll())
		if err != nil {
			t.Fatal(err)
		}

		queries := []Query{r.query(), r.query(), r.query()}
		type state struct{ parts [3][]int64 }
		inner := Compose(
			PartOf(positions(queries[1]), func(s *state) *[]int64 { return &s.parts[1] }),
			PartOf(positions(queries[2]), func(s *state) *[]int64 { return &s.parts[2] }))
		type outer struct {
			first []int64
			rest  state
		}
		model := Compose(
			PartOf(positions(queries[0]), func(s *outer) *[]int64 { return &s.first }),
			PartOf(inner, func(s *outer) *state { return &s.rest }))

		read, _, err := store.Read(ctx, model.Query)
		if err != nil {
			t.Fatal(err)
		}
		got := model.Fold(read)
		for i, part := range [][]int64{got.first, got.rest.parts[1], got.rest.parts[2]} {
			if want := matching(queries[i], all); !slices.Equal(part, want) {
				t.Fatalf("seed %d: part %d was given %v of %v", seed, i, part, want)
			}
		}
		// An event that fails the condition of a part fails that of the model. A second condition, which
		// always fails, leaves the store unchanged.
		head := AppendCondition{After: int64(len(all)) - 1}
		for i, query := range queries {
			after := r.Int64N(int64(len(all)))
			part := store.Append(ctx, []Event{{Type: "Z"}}, AppendCondition{query, after}, head)
			whole := store.Append(ctx, []Event{{Type: "Z"}}, AppendCondition{model.Query, after}, head)
			if part.(*Error).Position < whole.(*Error).Position {
				t.Fatalf("seed %d: part %d after %d: %v, but %v", seed, i, after, part, whole)
			}
		}
		store.Close()
	}
}

func TestMatchesAgreesWithTheStore(t *testing.T) {
	ctx := context.Background()
	onEach(t, func(t *testing.T, store *Store) {
		r := random{rand.New(rand.NewPCG(1, 2))}
		mustAppend(t, store, r.events(300)...)
		all, _, err := store.Read(ctx, QueryAll())
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			query := r.query()
			events, _, err := store.Read(ctx, query)
			got := []int64{0}
			for _, event := range events {
				got = append(got, event.Position)
			}
			if want := matching(query, all); !slices.Equal(got, want) || err != nil {
				t.Fatalf("%v: the store gives %v, Matches %v, %v", query, got, want, err)
			}
		}
	})
}

func TestComposeOfNothing(t *testing.T) {
	_, err := Decide(context.Background(), mustOpen(t, "memory:"), Compose[int](), nil)
	if failure, ok := err.(*Error); !ok || failure.Status != StatusInvalidArgument {
		t.Errorf("got %v", err)
	}
}

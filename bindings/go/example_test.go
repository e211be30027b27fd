package dcb_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// To stay short, the examples do not check errors that cannot occur. A program should check them.

func Example() {
	ctx := context.Background()
	store := dcb.NewMemoryStore() // or NewSQLiteStore("courses.db")
	defer store.Close()

	course := dcb.Tag{Key: "course", Value: "c1"}
	student := dcb.Tag{Key: "student", Value: "s1"}
	err := store.Append(ctx, []dcb.Event{
		{Type: "CourseDefined", Tags: []dcb.Tag{course}, Data: map[string]any{"capacity": 20}},
	})
	if err != nil {
		fmt.Println(err)
	}

	// Read what a decision about the course depends on:
	query := dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{course}})
	events, position, err := store.Read(ctx, query)
	if err != nil {
		fmt.Println(err)
	}
	for _, event := range events {
		fmt.Println(event.Position, event.Type, event.Tags, event.Data)
	}

	// The append succeeds unless another event of the course was stored after position.
	subscribed := []dcb.Event{{Type: "StudentSubscribed", Tags: []dcb.Tag{course, student}}}
	condition := dcb.AppendCondition{FailIfEventsMatch: query, After: position}
	fmt.Println(store.Append(ctx, subscribed, condition))
	fmt.Println(errors.Is(store.Append(ctx, subscribed, condition), dcb.ErrAppendConditionFailed))
	// Output:
	// 1 CourseDefined [course:c1] map[capacity:20]
	// <nil>
	// true
}

func ExampleNewSQLiteStore() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
	}
	defer os.RemoveAll(dir)

	for range 2 {
		store, err := dcb.NewSQLiteStore(filepath.Join(dir, "courses.db"))
		if err != nil {
			fmt.Println(err)
			return
		}
		appended, err := store.AppendEvents(ctx, []dcb.Event{{Type: "Opened"}})
		fmt.Println(appended.Last, err)
		store.Close()
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
}

func ExampleOpen() {
	store, err := dcb.Open("memory:",
		dcb.UseNumber(),
		dcb.WithObserver(dcb.SlogObserver(slog.Default())))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	head, err := store.Head(context.Background())
	fmt.Println(head, err)
	// Output: 0 <nil>
}

func ExampleQuery() {
	course := dcb.Tag{Key: "course", Value: "c1"}
	student := dcb.Tag{Key: "student", Value: "s1"}
	query := dcb.NewQuery(
		dcb.QueryItem{Types: []string{"CourseDefined"}, Tags: []dcb.Tag{course}},
		dcb.QueryItem{Types: []string{"StudentSubscribed"}, Tags: []dcb.Tag{course, student}},
	)
	fmt.Println(query.Matches(dcb.SequencedEvent{Type: "CourseDefined", Tags: []dcb.Tag{course}}))
	fmt.Println(query.Matches(dcb.SequencedEvent{Type: "StudentSubscribed", Tags: []dcb.Tag{course}}))
	// Output:
	// true
	// false
}

func ExampleStore_Events() {
	ctx := context.Background()
	store := dcb.NewMemoryStore()
	for i := range 4 {
		store.Append(ctx, []dcb.Event{{Type: "Counted", Data: i}})
	}
	for event, err := range store.Events(ctx, dcb.QueryAll(), dcb.Backwards(), dcb.Limit(2)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(event.Position, event.Data)
	}
	// Output:
	// 4 3
	// 3 2
}

func ExampleStore_Subscribe() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	store := dcb.NewMemoryStore()
	store.Append(ctx, []dcb.Event{{Type: "Before"}})
	for event, err := range store.Subscribe(ctx, dcb.QueryAll()) {
		switch {
		case err != nil:
			fmt.Println(err)
		case event.Type == "Before":
			fmt.Println("caught up to", event.Position)
			go store.Append(ctx, []dcb.Event{{Type: "After"}})
		default:
			fmt.Println("then came", event.Position)
			cancel()
		}
	}
	// Output:
	// caught up to 1
	// then came 2
	// context canceled
}

func ExampleStore_AppendEvents() {
	ctx := context.Background()
	store := dcb.NewMemoryStore()
	events := []dcb.Event{{Type: "Paid", ID: "payment-17", Metadata: map[string]any{"by": "s1"}}}
	for range 2 { // the second time nothing is stored
		appended, err := store.AppendEvents(ctx, events)
		fmt.Println(appended.First, err)
	}
	fmt.Println(store.EventCount())
	// Output:
	// 1 <nil>
	// 1 <nil>
	// 1
}

func ExampleError() {
	ctx := context.Background()
	store := dcb.NewMemoryStore()
	store.Append(ctx, []dcb.Event{{Type: "UserRegistered", Tags: []dcb.Tag{{Key: "name", Value: "ada"}}}})

	taken := dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{{Key: "name", Value: "ada"}}})
	err := store.Append(ctx, []dcb.Event{{Type: "UserRegistered"}}, dcb.AppendCondition{FailIfEventsMatch: taken})
	var failure *dcb.Error
	if errors.As(err, &failure) {
		fmt.Println(failure.Status, failure.Position)
	}

	err = store.Append(ctx, []dcb.Event{{Type: "UserRegistered", Tags: []dcb.Tag{{Key: "", Value: "bob"}}}})
	fmt.Println(err)
	// Output:
	// condition_failed 1
	// dcb: invalid_argument: events[0].tags[0]: a key must not be empty
}

func ExampleRegister() {
	type CourseDefined struct {
		Title    string `json:"title"`
		Capacity int    `json:"capacity"`
	}
	var registry dcb.Registry
	courseDefined := dcb.Register[CourseDefined](&registry, "CourseDefined")

	ctx := context.Background()
	store, err := dcb.Open("memory:", dcb.WithRegistry(&registry))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	store.Append(ctx, []dcb.Event{
		courseDefined.New(CourseDefined{"Go", 20}, dcb.Tag{Key: "course", Value: "c1"}),
	})
	for event := range store.Events(ctx, dcb.QueryAll()) {
		if course, ok := courseDefined.Of(event); ok {
			fmt.Println(course.Title, course.Capacity)
		}
	}
	// Output: Go 20
}

func ExampleDecode() {
	ctx := context.Background()
	store := dcb.NewMemoryStore()
	store.Append(ctx, []dcb.Event{{Type: "Measured", Data: []int{1, 2, 3}}})
	events, _, err := store.ReadRaw(ctx, dcb.QueryAll())
	if err != nil {
		fmt.Println(err)
		return
	}
	values, err := dcb.Decode[[]int](events[0])
	fmt.Println(string(events[0].Data), len(values), err)
	// Output: [1,2,3] 3 <nil>
}

func ExampleCommandHandler() {
	type RegisterUser struct{ Name string }
	named := func(name string) []dcb.Tag { return []dcb.Tag{{Key: "name", Value: name}} }
	handler := dcb.CommandHandler[bool, RegisterUser]{
		Store: dcb.NewMemoryStore(),
		Decider: dcb.Decider[bool, RegisterUser]{
			InitialState: func() bool { return false },
			Query: func(cmd RegisterUser) dcb.Query {
				return dcb.NewQuery(dcb.QueryItem{Tags: named(cmd.Name)})
			},
			Evolve: func(taken bool, event dcb.SequencedEvent) bool {
				return event.Type == "UserRegistered"
			},
			Decide: func(taken bool, cmd RegisterUser) ([]dcb.Event, error) {
				if taken {
					return nil, fmt.Errorf("the name %s is taken", cmd.Name)
				}
				return []dcb.Event{{Type: "UserRegistered", Tags: named(cmd.Name)}}, nil
			},
		},
	}
	for range 2 {
		fmt.Println(handler.Handle(context.Background(), RegisterUser{"ada"}))
	}
	// Output:
	// <nil>
	// the name ada is taken
}

func ExampleDecide() {
	course := dcb.Tag{Key: "course", Value: "c1"}
	student := dcb.Tag{Key: "student", Value: "s1"}

	// Two questions, each with its own query:
	capacity := dcb.Projection[float64]{
		Query: dcb.NewQuery(dcb.QueryItem{Types: []string{"CourseDefined"}, Tags: []dcb.Tag{course}}),
		Evolve: func(_ float64, event dcb.SequencedEvent) float64 {
			return event.Data.(map[string]any)["capacity"].(float64)
		},
	}
	taken := dcb.Projection[int]{
		Query:  dcb.NewQuery(dcb.QueryItem{Types: []string{"StudentSubscribed"}, Tags: []dcb.Tag{course}}),
		Evolve: func(seats int, _ dcb.SequencedEvent) int { return seats + 1 },
	}

	// joined into the model of one decision:
	type model struct {
		capacity float64
		taken    int
	}
	seats := dcb.Compose(
		dcb.PartOf(capacity, func(m *model) *float64 { return &m.capacity }),
		dcb.PartOf(taken, func(m *model) *int { return &m.taken }),
	)

	ctx := context.Background()
	store := dcb.NewMemoryStore()
	store.Append(ctx, []dcb.Event{{Type: "CourseDefined", Tags: []dcb.Tag{course}, Data: map[string]any{"capacity": 1}}})
	for range 2 {
		decision, err := dcb.Decide(ctx, store, seats, func(m model) ([]dcb.Event, error) {
			if m.taken >= int(m.capacity) {
				return nil, errors.New("the course is full")
			}
			return []dcb.Event{{Type: "StudentSubscribed", Tags: []dcb.Tag{course, student}}}, nil
		})
		fmt.Println(decision.Last, err)
	}
	// Output:
	// 2 <nil>
	// 0 the course is full
}

func ExampleCounters() {
	ctx := context.Background()
	var counters dcb.Counters
	store, err := dcb.Open("memory:", dcb.WithObserver(&counters))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	store.Append(ctx, []dcb.Event{{Type: "A"}, {Type: "A"}})
	store.Append(ctx, []dcb.Event{{Type: "A"}}, dcb.AppendCondition{})
	fmt.Println(counters.Appends.Load(), counters.EventsAppended.Load(), counters.Conflicts.Load())
	// Output: 1 2 1
}

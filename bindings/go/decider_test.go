package dcb_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

type subscribe struct{ course, student string }

type seats struct {
	capacity, taken int
	subscribed      bool
}

var errFull = errors.New("the course is full")

func ofCourse(cmd subscribe) dcb.Query {
	return dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{course(cmd.course)}})
}

var seatsDecider = dcb.Decider[seats, subscribe]{
	Query: ofCourse,
	Decide: func(state seats, cmd subscribe) ([]dcb.Event, error) {
		if state.taken >= state.capacity {
			return nil, errFull
		}
		return []dcb.Event{{Type: "StudentSubscribed", Tags: []dcb.Tag{course(cmd.course), student(cmd.student)}}}, nil
	},
	Evolve: func(state seats, event dcb.SequencedEvent) seats {
		switch event.Type {
		case "CourseDefined":
			state.capacity = int(event.Data.(float64))
		case "StudentSubscribed":
			state.taken++
		}
		return state
	},
	InitialState: func() seats { return seats{} },
}

func TestFold(t *testing.T) {
	events := []dcb.SequencedEvent{{Type: "CourseDefined", Data: 3.0}, {Type: "StudentSubscribed"}}
	if got := seatsDecider.Fold(events); got != (seats{capacity: 3, taken: 1}) {
		t.Errorf("got %+v", got)
	}
	decider := seatsDecider
	decider.InitialState = func() seats { return seats{taken: 5} }
	if got := decider.Fold(nil); got != (seats{taken: 5}) {
		t.Errorf("got %+v", got)
	}
	decider.InitialState = nil
	if got := decider.Fold(events); got != (seats{capacity: 3, taken: 1}) {
		t.Errorf("got %+v", got)
	}
}

func TestHandle(t *testing.T) {
	onEach(t, func(t *testing.T, store dcb.EventStore) {
		handler := dcb.CommandHandler[seats, subscribe]{Decider: seatsDecider, Store: store}
		appendTo(t, store, dcb.Event{Type: "CourseDefined", Data: 2, Tags: []dcb.Tag{course("c1")}})
		for i, want := range []error{nil, nil, errFull} {
			if err := handler.Handle(ctx, subscribe{"c1", fmt.Sprint(i)}); err != want {
				t.Errorf("student %d: %v", i, err)
			}
		}
		if _, position, _ := store.Read(ctx, dcb.QueryAll()); position != 3 {
			t.Errorf("the store has %d events", position)
		}
	})
}

func TestHandleFillsTheLastSeatOnce(t *testing.T) {
	onEach(t, func(t *testing.T, store dcb.EventStore) {
		const capacity, students = 5, 40
		handler := dcb.CommandHandler[seats, subscribe]{
			Decider: seatsDecider, Store: store, Retry: dcb.RetryPolicy{Timeout: -1, Attempts: 1000, MaxDelay: time.Millisecond}}
		appendTo(t, store, dcb.Event{Type: "CourseDefined", Data: capacity, Tags: []dcb.Tag{course("c1")}})
		outcomes := make(chan error, students)
		for i := range students {
			go func() { outcomes <- handler.Handle(ctx, subscribe{"c1", fmt.Sprint(i)}) }()
		}
		got := map[error]int{}
		for range students {
			got[<-outcomes]++
		}
		if got[nil] != capacity || got[errFull] != students-capacity {
			t.Errorf("got %v", got)
		}
	})
}

// rival is a store with a competitor: before each of the next appends, it appends an event that makes the
// condition fail.
type rival struct {
	dcb.EventStore
	left         int
	appends      int
	lastPosition int64
	then         func() // called after each append
}

func (r *rival) Append(ctx context.Context, events []dcb.Event, conditions ...dcb.AppendCondition) error {
	r.appends++
	r.lastPosition = conditions[0].After
	if r.left > 0 {
		r.left--
		if err := r.EventStore.Append(ctx, []dcb.Event{{Type: "CourseDefined", Data: 9, Tags: []dcb.Tag{course("c1")}}}); err != nil {
			return err
		}
	}
	if r.then != nil {
		defer r.then()
	}
	return r.EventStore.Append(ctx, events, conditions...)
}

func TestHandleTriesAgain(t *testing.T) {
	for _, test := range []struct {
		conflicts, attempts int
		appends             int
		fails               bool
	}{
		{0, 0, 1, false},
		{3, 0, 4, false},
		{9, 0, 10, false},
		{30, 0, 31, false}, // the default
		{1, 1, 1, true},
		{2, 3, 3, false},
		{3, 3, 3, true},
	} {
		store := &rival{EventStore: dcb.NewMemoryStore(), left: test.conflicts}
		appendTo(t, store.EventStore, dcb.Event{Type: "CourseDefined", Data: 9, Tags: []dcb.Tag{course("c1")}})
		handler := dcb.CommandHandler[seats, subscribe]{Decider: seatsDecider, Store: store,
			Retry: dcb.RetryPolicy{Attempts: test.attempts, MaxDelay: time.Microsecond}}
		err := handler.Handle(ctx, subscribe{"c1", "s1"})
		if errors.Is(err, dcb.ErrAppendConditionFailed) != test.fails || !test.fails && err != nil || store.appends != test.appends {
			t.Errorf("%d conflicts, %d attempts: %d appends, %v", test.conflicts, test.attempts, store.appends, err)
		}
	}
}

func TestHandleAppendsNothingWhereNothingIsDecided(t *testing.T) {
	store := &rival{EventStore: dcb.NewMemoryStore()}
	decider := seatsDecider
	decider.Decide = func(seats, subscribe) ([]dcb.Event, error) { return nil, nil }
	handler := dcb.CommandHandler[seats, subscribe]{Decider: decider, Store: store}
	if err := handler.Handle(ctx, subscribe{"c1", "s1"}); err != nil || store.appends != 0 {
		t.Errorf("%d appends, %v", store.appends, err)
	}
}

func TestHandleStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(ctx)
	store := &rival{EventStore: dcb.NewMemoryStore(), left: 1 << 30, then: cancel}
	handler := dcb.CommandHandler[seats, subscribe]{Decider: seatsDecider, Store: store,
		Retry: dcb.RetryPolicy{Timeout: -1, MinDelay: time.Hour, MaxDelay: time.Hour}}
	appendTo(t, store.EventStore, dcb.Event{Type: "CourseDefined", Data: 9, Tags: []dcb.Tag{course("c1")}})
	err := handler.Handle(ctx, subscribe{"c1", "s1"})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, dcb.ErrAppendConditionFailed) {
		t.Errorf("got %v", err)
	}
	if err := handler.Handle(ctx, subscribe{"c1", "s1"}); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestHandleUsesThePositionOfTheSnapshot(t *testing.T) {
	inner := dcb.NewMemoryStore()
	appendTo(t, inner,
		dcb.Event{Type: "CourseDefined", Data: 9, Tags: []dcb.Tag{course("c1")}},
		dcb.Event{Type: "CourseDefined", Data: 9, Tags: []dcb.Tag{course("c2")}})

	// With a plain EventStore, the position is that of the last event read.
	plain := &rival{EventStore: inner}
	handler := dcb.CommandHandler[seats, subscribe]{Decider: seatsDecider, Store: plain}
	if err := handler.Handle(ctx, subscribe{"c1", "s1"}); err != nil || plain.lastPosition != 1 {
		t.Errorf("position %d, %v", plain.lastPosition, err)
	}
	// With a SnapshotReader, it is the head.
	full := &snapshotRival{rival{EventStore: inner}, inner}
	handler.Store = full
	if err := handler.Handle(ctx, subscribe{"c1", "s2"}); err != nil || full.lastPosition != 3 {
		t.Errorf("position %d, %v", full.lastPosition, err)
	}
}

type snapshotRival struct {
	rival
	dcb.SnapshotReader
}

func TestConditionQuery(t *testing.T) {
	// The events of the rival match the query that was read, but not the one of the condition.
	narrow := func(cmd subscribe) dcb.Query {
		return dcb.NewQuery(dcb.QueryItem{Types: []string{"StudentSubscribed"}, Tags: []dcb.Tag{course(cmd.course)}})
	}
	store := &rival{EventStore: dcb.NewMemoryStore(), left: 1}
	appendTo(t, store.EventStore, dcb.Event{Type: "CourseDefined", Data: 9, Tags: []dcb.Tag{course("c1")}})
	handler := dcb.CommandHandler[seats, subscribe]{Decider: seatsDecider, Store: store, ConditionQuery: narrow}
	if err := handler.Handle(ctx, subscribe{"c1", "s1"}); err != nil || store.appends != 1 {
		t.Errorf("%d appends, %v", store.appends, err)
	}
	store.left, store.appends = 1, 0
	model := dcb.Projection[int]{
		Query:  ofCourse(subscribe{"c1", ""}),
		Evolve: func(n int, _ dcb.SequencedEvent) int { return n + 1 },
	}
	_, err := dcb.Decide(ctx, store, model, func(int) ([]dcb.Event, error) {
		return []dcb.Event{{Type: "B"}}, nil
	}, dcb.WithConditionQuery(narrow(subscribe{"c1", ""})))
	if err != nil || store.appends != 1 {
		t.Errorf("Decide: %d appends, %v", store.appends, err)
	}
}

func TestDecideWithProjections(t *testing.T) {
	onEach(t, func(t *testing.T, store dcb.EventStore) {
		appendTo(t, store,
			dcb.Event{Type: "CourseDefined", Data: 10, Tags: []dcb.Tag{course("c1")}},
			dcb.Event{Type: "CourseDefined", Data: 10, Tags: []dcb.Tag{course("c2")}})
		const limit = 3 // courses that a student may take
		var running sync.WaitGroup
		for i := range 12 {
			running.Add(1)
			go func() {
				defer running.Done()
				id := []string{"c1", "c2"}[i%2]
				type state struct{ ofCourse, ofStudent int }
				count := func(tag dcb.Tag) dcb.Projection[int] {
					return dcb.Projection[int]{
						Query:  dcb.NewQuery(dcb.QueryItem{Types: []string{"StudentSubscribed"}, Tags: []dcb.Tag{tag}}),
						Evolve: func(n int, _ dcb.SequencedEvent) int { return n + 1 },
					}
				}
				model := dcb.Compose(
					dcb.PartOf(count(course(id)), func(s *state) *int { return &s.ofCourse }),
					dcb.PartOf(count(student("s1")), func(s *state) *int { return &s.ofStudent }),
				)
				_, err := dcb.Decide(ctx, store, model, func(s state) ([]dcb.Event, error) {
					if s.ofStudent >= limit {
						return nil, errFull
					}
					return []dcb.Event{{Type: "StudentSubscribed", Tags: []dcb.Tag{course(id), student("s1")}}}, nil
				}, dcb.WithRetry(dcb.RetryPolicy{Attempts: 1000, MaxDelay: time.Millisecond}))
				if err != nil && err != errFull {
					t.Error(err)
				}
			}()
		}
		running.Wait()
		events, _, err := store.Read(ctx, dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{student("s1")}}))
		if len(events) != limit || err != nil {
			t.Errorf("%d subscriptions, %v", len(events), err)
		}
	})
}

// panicOf returns what run panics with.
func panicOf(run func()) (panicked any) {
	defer func() { panicked = recover() }()
	run()
	return nil
}

func TestARequiredFieldThatIsNilIsNamed(t *testing.T) {
	store := dcb.NewMemoryStore()
	appendTo(t, store, dcb.Event{Type: "CourseDefined", Data: 9, Tags: []dcb.Tag{course("c1")}})
	whole := dcb.CommandHandler[seats, subscribe]{Decider: seatsDecider, Store: store}
	model := dcb.Projection[int]{Evolve: func(n int, _ dcb.SequencedEvent) int { return n + 1 }}
	nothing := func(int) ([]dcb.Event, error) { return nil, nil }
	for name, test := range map[string]struct {
		run  func() error
		want string
	}{
		"Store": {func() error {
			handler := whole
			handler.Store = nil
			return handler.Handle(ctx, subscribe{"c1", "s1"})
		}, "CommandHandler.Store"},
		"Query": {func() error {
			handler := whole
			handler.Decider.Query = nil
			return handler.Handle(ctx, subscribe{"c1", "s1"})
		}, "Decider.Query"},
		"Decide": {func() error {
			handler := whole
			handler.Decider.Decide = nil
			return handler.Handle(ctx, subscribe{"c1", "s1"})
		}, "Decider.Decide"},
		"Evolve": {func() error {
			handler := whole
			handler.Decider.Evolve = nil
			return handler.Handle(ctx, subscribe{"c1", "s1"})
		}, "Decider.Evolve"},
		"Evolve, and no event yet": {func() error {
			handler := whole
			handler.Decider.Evolve = nil
			return handler.Handle(ctx, subscribe{"c2", "s1"})
		}, "Decider.Evolve"},
		"the Evolve of a Projection": {func() error {
			handler := whole
			handler.Decider = dcb.Decider[seats, subscribe]{Decide: seatsDecider.Decide, Projection: func(subscribe) dcb.Projection[seats] {
				return dcb.Projection[seats]{}
			}}
			return handler.Handle(ctx, subscribe{"c2", "s1"})
		}, "Projection.Evolve"},
		"Decide without a store": {func() error {
			_, err := dcb.Decide(ctx, nil, model, nothing)
			return err
		}, "store"},
		"Decide without decide": {func() error {
			_, err := dcb.Decide(ctx, store, model, nil)
			return err
		}, "decide"},
		"a model without Evolve": {func() error {
			_, err := dcb.Decide(ctx, store, dcb.Projection[int]{}, nothing)
			return err
		}, "Projection.Evolve"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if panicked := panicOf(func() { err = test.run() }); panicked != nil {
				t.Fatalf("it panicked: %v", panicked)
			}
			if !errors.Is(err, dcb.ErrInvalidArgument) || !strings.Contains(err.Error(), ": "+test.want+": must not be nil") {
				t.Errorf("got %v", err)
			}
		})
	}
	events := []dcb.SequencedEvent{{Type: "A"}}
	for want, run := range map[string]func(){
		"Decider.Evolve":    func() { dcb.Decider[int, int]{}.Fold(events) },
		"Projection.Evolve": func() { dcb.Projection[int]{}.Fold(events) },
		"PartOf: Projection.Evolve": func() {
			dcb.PartOf(dcb.Projection[int]{}, func(s *int) *int { return s })
		},
		"PartOf: field": func() { dcb.PartOf[int](model, nil) },
	} {
		if got := panicOf(run); got != "dcb: "+want+" must not be nil" {
			t.Errorf("%s: it panicked with %v", want, got)
		}
	}
	if got := (dcb.Decider[int, int]{InitialState: func() int { return 3 }}).Fold(nil); got != 3 {
		t.Errorf("a Fold of no events needs no Evolve: %d", got)
	}
}

// A decider whose state is composed sees of each part what belongs to the command, and conflicts with all of it.
func TestADeciderWithAProjection(t *testing.T) {
	type state struct{ course, taken int }
	count := func(query dcb.Query) dcb.Projection[int] {
		return dcb.Projection[int]{Query: query, Evolve: func(n int, _ dcb.SequencedEvent) int { return n + 1 }}
	}
	decider := dcb.Decider[state, subscribe]{
		Projection: func(cmd subscribe) dcb.Projection[state] {
			return dcb.Compose(
				dcb.PartOf(count(dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{course(cmd.course)}})), func(s *state) *int { return &s.course }),
				dcb.PartOf(count(dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{student(cmd.student)}})), func(s *state) *int { return &s.taken }))
		},
		Decide: func(s state, cmd subscribe) ([]dcb.Event, error) {
			return []dcb.Event{{Type: "Saw", Data: []int{s.course, s.taken}}}, nil
		},
	}
	store := dcb.NewMemoryStore()
	appendTo(t, store,
		dcb.Event{Type: "A", Tags: []dcb.Tag{course("c1")}},
		dcb.Event{Type: "A", Tags: []dcb.Tag{course("c1"), student("s1")}},
		dcb.Event{Type: "A", Tags: []dcb.Tag{course("c2")}})
	handler := dcb.CommandHandler[state, subscribe]{Decider: decider, Store: &rival{EventStore: store, left: 1}}
	decision, err := handler.Run(ctx, subscribe{"c1", "s1"})
	if err != nil || decision.Attempts != 2 {
		t.Fatalf("got %+v, %v", decision, err)
	}
	events, _, err := store.Read(ctx, dcb.NewQuery(dcb.QueryItem{Types: []string{"Saw"}}))
	if err != nil || len(events) != 1 || !slices.Equal(events[0].Data.([]any), []any{3.0, 1.0}) {
		t.Errorf("got %v, %v", events, err)
	}

	handler.Decider.Last = 1
	if err := handler.Handle(ctx, subscribe{"c1", "s1"}); !errors.Is(err, dcb.ErrInvalidArgument) ||
		!strings.Contains(err.Error(), "Decider.Projection") {
		t.Errorf("beside a Last, got %v", err)
	}
}

// A condition may be wider than the read, also on a store whose reads return no position but that of the last
// event.
func TestAWiderConditionOnAPlainStore(t *testing.T) {
	inner := dcb.NewMemoryStore()
	store := &rival{EventStore: inner}
	appendTo(t, inner,
		dcb.Event{Type: "CourseDefined", Data: 9, Tags: []dcb.Tag{course("c1")}},
		dcb.Event{Type: "CourseDefined", Data: 9, Tags: []dcb.Tag{course("c2")}})
	wide := func(subscribe) dcb.Query {
		return dcb.NewQuery(dcb.QueryItem{Types: []string{"CourseDefined", "StudentSubscribed"}})
	}
	folded := 0
	decider := seatsDecider
	decider.Evolve = func(state seats, event dcb.SequencedEvent) seats {
		folded++
		return seatsDecider.Evolve(state, event)
	}
	handler := dcb.CommandHandler[seats, subscribe]{Decider: decider, Store: store, ConditionQuery: wide}
	if err := handler.Handle(ctx, subscribe{"c1", "s1"}); err != nil || store.appends != 1 || folded != 1 {
		t.Errorf("%d appends, %d events folded, %v", store.appends, folded, err)
	}
	// An event that only the query of the condition matches still makes the append fail once.
	appendTo(t, inner, dcb.Event{Type: "CourseDefined", Data: 9, Tags: []dcb.Tag{course("c3")}})
	store.left, store.appends = 1, 0
	if err := handler.Handle(ctx, subscribe{"c2", "s1"}); err != nil || store.appends != 2 {
		t.Errorf("%d appends, %v", store.appends, err)
	}

	store.appends = 0
	model := dcb.Projection[int]{
		Query:  ofCourse(subscribe{"c1", ""}),
		Evolve: func(n int, _ dcb.SequencedEvent) int { return n + 1 },
	}
	_, err := dcb.Decide(ctx, store, model, func(n int) ([]dcb.Event, error) {
		if n != 3 {
			t.Errorf("%d events are folded", n)
		}
		return []dcb.Event{{Type: "B"}}, nil
	}, dcb.WithConditionQuery(dcb.QueryAll()))
	if err != nil || store.appends != 1 {
		t.Errorf("Decide: %d appends, %v", store.appends, err)
	}
}

package dcbtest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/bindings/go/dcbtest"
)

type book struct{ course, student string }

type course struct{ capacity, taken int }

var errFull = errors.New("the course is full")

var (
	registry    dcb.Registry
	defined     = dcb.Register[int](&registry, "CourseDefined")
	booked      = dcb.Register[string](&registry, "SeatBooked")
	withTypes   = dcb.WithRegistry(&registry)
	seatBooking = dcb.Decider[course, book]{
		Query: func(cmd book) dcb.Query {
			return dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{of(cmd.course)}})
		},
		Evolve: func(state course, event dcb.SequencedEvent) course {
			if capacity, ok := defined.Of(event); ok {
				state.capacity = capacity
			}
			if _, ok := booked.Of(event); ok {
				state.taken++
			}
			return state
		},
		Decide: func(state course, cmd book) ([]dcb.Event, error) {
			switch {
			case cmd.student == "":
				return nil, nil
			case state.taken >= state.capacity:
				return nil, fmt.Errorf("%s: %w", cmd.course, errFull)
			}
			return []dcb.Event{booked.New(cmd.student, of(cmd.course))}, nil
		},
	}
)

func of(id string) dcb.Tag { return dcb.Tag{Key: "course", Value: id} }

func TestScenario(t *testing.T) {
	scenario := dcbtest.For(t, seatBooking, withTypes).Given(defined.New(1, of("c1")))
	scenario.When(book{"c1", "s1"}).Then(booked.New("s1", of("c1")))
	scenario.When(book{"c1", ""}).Then()
	scenario.When(book{"c2", "s1"}).ThenError(errFull)
	scenario.Given(booked.New("s1", of("c1"))).When(book{"c1", "s2"}).ThenError(errFull)
	// Each is a scenario of its own.
	scenario.Given(booked.New("s1", of("c2"))).When(book{"c1", "s2"}).Then(booked.New("s2", of("c1")))
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(r)
}

func TestScenariosThatFail(t *testing.T) {
	one := booked.New("s1", of("c1"))
	other := func(change func(*dcb.Event)) dcb.Event {
		event := one
		change(&event)
		return event
	}
	outcome := func(s dcbtest.Scenario[course, book]) dcbtest.Outcome { return s.When(book{"c1", "s1"}) }
	for name, test := range map[string]struct {
		run  func(dcbtest.Scenario[course, book])
		want string
	}{
		"no event":     {func(s dcbtest.Scenario[course, book]) { outcome(s).Then() }, "want\n\tno events\n"},
		"another data": {func(s dcbtest.Scenario[course, book]) { outcome(s).Then(booked.New("s2", of("c1"))) }, `"s2"`},
		"another tag":  {func(s dcbtest.Scenario[course, book]) { outcome(s).Then(booked.New("s1", of("c2"))) }, "course:c2"},
		"one more":     {func(s dcbtest.Scenario[course, book]) { outcome(s).Then(one, one) }, "want\n"},
		"another type": {func(s dcbtest.Scenario[course, book]) { outcome(s).Then(other(func(e *dcb.Event) { e.Type = "B" })) }, "\tB "},
		"an id":        {func(s dcbtest.Scenario[course, book]) { outcome(s).Then(other(func(e *dcb.Event) { e.ID = "1" })) }, "id 1"},
		"metadata": {func(s dcbtest.Scenario[course, book]) {
			outcome(s).Then(other(func(e *dcb.Event) { e.Metadata = course{} }))
		}, "metadata {}"},
		"an error": {func(s dcbtest.Scenario[course, book]) { outcome(s).ThenError(errFull) }, "want the error: the course is full"},
		"another error": {func(s dcbtest.Scenario[course, book]) {
			s.Given(one).When(book{"c1", "s2"}).ThenError(errors.ErrUnsupported)
		}, "want: unsupported"},
		"an event":        {func(s dcbtest.Scenario[course, book]) { s.Given(one).When(book{"c1", "s2"}).Then(one) }, "the command failed: c1: the course is full"},
		"no given event":  {func(s dcbtest.Scenario[course, book]) { s.Given(dcb.Event{}).When(book{"c1", "s2"}) }, "the given events: "},
		"no wanted event": {func(s dcbtest.Scenario[course, book]) { outcome(s).Then(dcb.Event{}) }, "the wanted events: "},
		"not of that type": {func(s dcbtest.Scenario[course, book]) {
			s.Given(dcb.Event{Type: "CourseDefined", Data: "x", Tags: []dcb.Tag{of("c1")}}).When(book{"c1", "s2"}).Then()
		}, "cannot unmarshal string"},
	} {
		t.Run(name, func(t *testing.T) {
			failing := &recorder{TB: t}
			func() {
				defer func() {
					if panicked := recover(); panicked != nil && panicked != failing {
						panic(panicked)
					}
				}()
				test.run(dcbtest.For(failing, seatBooking, withTypes).Given(defined.New(1, of("c1"))))
			}()
			if len(failing.failures) != 1 || !strings.Contains(failing.failures[0], test.want) {
				t.Errorf("it failed with %q, want %q", failing.failures, test.want)
			}
		})
	}
}

type confirm struct {
	token string
	now   time.Time
}

var errExpired = errors.New("the token has expired")

// confirmation accepts a token for an hour after it was sent.
var confirmation = dcb.Decider[time.Time, confirm]{
	Query: func(cmd confirm) dcb.Query {
		return dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{{Key: "token", Value: cmd.token}}})
	},
	Evolve: func(_ time.Time, event dcb.SequencedEvent) time.Time { return event.Timestamp },
	Decide: func(sent time.Time, cmd confirm) ([]dcb.Event, error) {
		if cmd.now.Sub(sent) > time.Hour {
			return nil, errExpired
		}
		return []dcb.Event{{Type: "Confirmed", Tags: []dcb.Tag{{Key: "token", Value: cmd.token}}}}, nil
	},
}

func TestScenarioWithTimes(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	sent := func(token string) dcb.Event {
		return dcb.Event{Type: "TokenSent", Tags: []dcb.Tag{{Key: "token", Value: token}}}
	}
	scenario := dcbtest.For(t, confirmation).At(noon).Given(sent("a")).At(noon.Add(time.Minute)).Given(sent("b"))
	scenario.When(confirm{"a", noon.Add(time.Hour)}).Then(dcb.Event{Type: "Confirmed", Tags: []dcb.Tag{{Key: "token", Value: "a"}}})
	scenario.When(confirm{"a", noon.Add(time.Hour + 1)}).ThenError(errExpired)
	scenario.When(confirm{"b", noon.Add(time.Hour + 1)}).Then(dcb.Event{Type: "Confirmed", Tags: []dcb.Tag{{Key: "token", Value: "b"}}})
}

func TestClockStore(t *testing.T) {
	ctx := context.Background()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 1999, time.FixedZone("", 3600))
	store := dcbtest.NewClockStore(noon)
	defer store.Close()
	now := func(want string) {
		t.Helper()
		if got := store.Now().Format(time.RFC3339Nano); got != want {
			t.Errorf("it is %s, not %s", got, want)
		}
	}
	now("2026-03-01T11:00:00.000001Z")
	once := []dcb.Event{{Type: "A", ID: "1"}, {Type: "A", ID: "2"}}
	if err := store.Append(ctx, once); err != nil {
		t.Fatal(err)
	}
	store.Advance(time.Hour)
	now("2026-03-01T12:00:00.000001Z")
	if again, err := store.AppendEvents(ctx, once); err != nil || !again.Repeated {
		t.Errorf("got %+v, %v", again, err)
	}
	if err := store.Append(ctx, []dcb.Event{{Type: "B"}}, dcb.AppendCondition{}); !errors.Is(err, dcb.ErrAppendConditionFailed) {
		t.Errorf("got %v", err)
	}
	if err := store.Append(ctx, []dcb.Event{{Type: "B"}}); err != nil {
		t.Error(err)
	}
	store.SetTime(noon)
	if err := store.Append(ctx, []dcb.Event{{Type: "C"}}); err != nil {
		t.Error(err)
	}
	func() {
		defer func() {
			if got := fmt.Sprint(recover()); !strings.Contains(got, "must not be zero") {
				t.Errorf("got %s", got)
			}
		}()
		store.SetTime(time.Time{})
	}()
	timed := []dcb.Event{{Type: "D", Timestamp: noon}}
	if err := store.Append(ctx, timed); !errors.Is(err, dcb.ErrInvalidArgument) || !strings.Contains(err.Error(), "events[0].timestamp") {
		t.Errorf("got %v", err)
	}
	for event, err := range store.Subscribe(ctx, dcb.QueryAll(), dcb.FromPosition(2), dcb.Limit(1)) {
		if err != nil || !event.Timestamp.Equal(noon.Add(time.Hour).Truncate(time.Microsecond)) {
			t.Errorf("a subscription got %v, %v", event, err)
		}
	}
	for name, read := range map[string]func(context.Context, dcb.Query, ...dcb.ReadOption) ([]dcb.SequencedEvent, int64, error){
		"Read": store.Read, "ReadSnapshot": store.ReadSnapshot,
	} {
		events, _, err := read(ctx, dcb.QueryAll(), dcb.FromPosition(1))
		var got []string
		for _, event := range events {
			got = append(got, event.Timestamp.Format(time.TimeOnly))
		}
		if want := []string{"11:00:00", "12:00:00", "11:00:00"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: the times are %v, want %v, %v", name, got, want, err)
		}
	}
}

func TestFaultyStore(t *testing.T) {
	ctx := context.Background()
	store := dcbtest.NewFaultyStore(withTypes)
	if err := store.Append(ctx, []dcb.Event{defined.New(4, of("c1"))}); err != nil {
		t.Fatal(err)
	}
	handler := dcb.CommandHandler[course, book]{Decider: seatBooking, Store: store}
	for i, test := range []struct {
		faults  []dcbtest.Fault
		err     error
		want    dcb.Decision
		appends int
	}{
		{nil, nil, dcb.Decision{First: 2, Last: 2, Attempts: 1}, 1},
		{[]dcbtest.Fault{dcbtest.Conflict, dcbtest.Conflict}, nil, dcb.Decision{First: 3, Last: 3, Attempts: 3}, 3},
		{[]dcbtest.Fault{dcbtest.Busy}, dcb.ErrBusy, dcb.Decision{}, 1},
		{[]dcbtest.Fault{dcbtest.LostRequest}, dcb.ErrIO, dcb.Decision{}, 1},
		{[]dcbtest.Fault{dcbtest.None, dcbtest.LostAnswer}, nil, dcb.Decision{First: 4, Last: 4, Attempts: 1}, 1},
		{nil, dcb.ErrIO, dcb.Decision{}, 1}, // the second fault of the last one
		{nil, errFull, dcb.Decision{Attempts: 1}, 0},
	} {
		before := store.Appends()
		store.Fail(test.faults...)
		got, err := handler.Run(ctx, book{"c1", "s1"})
		if got != test.want || !errors.Is(err, test.err) || store.Appends()-before != test.appends {
			t.Errorf("%d: %+v, want %+v, %d appends, %v", i, got, test.want, store.Appends()-before, err)
		}
	}
	if events, _, err := store.Read(ctx, dcb.QueryAll()); len(events) != 5 || err != nil {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// A client that asks again with the same id survives each fault.
func ExampleFaultyStore() {
	ctx := context.Background()
	store := dcbtest.NewFaultyStore()
	count := dcb.Projection[int]{Evolve: func(n int, _ dcb.SequencedEvent) int { return n + 1 }}
	store.Fail(dcbtest.Conflict, dcbtest.LostAnswer)
	for {
		decision, err := dcb.Decide(ctx, store, count, func(n int) ([]dcb.Event, error) {
			return []dcb.Event{{Type: "Counted", Data: n + 1}}, nil
		}, dcb.WithRequestID("r1"))
		fmt.Println("stored at", decision.First, "repeated:", decision.Repeated, "unknown:", errors.Is(err, dcb.ErrIO))
		if err == nil {
			return
		}
	}
	// Output:
	// stored at 0 repeated: false unknown: true
	// stored at 1 repeated: true unknown: false
}

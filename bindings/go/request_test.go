package dcb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

var errTaken = errors.New("the name is taken")

// register claims a user name: whoever asks second is told that it is taken.
func register(ctx context.Context, store dcb.EventStore, name string, opts ...dcb.DecideOption) (int64, dcb.Decision, error) {
	user := dcb.Tag{Key: "user", Value: name}
	claimed := dcb.Projection[bool]{
		Query:  dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{user}}),
		Evolve: func(bool, dcb.SequencedEvent) bool { return true },
	}
	return dcb.DecideValue(ctx, store, claimed, func(isClaimed bool) ([]dcb.Event, int64, error) {
		if isClaimed {
			return nil, 0, errTaken
		}
		return []dcb.Event{
			{Type: "UserRegistered", Tags: []dcb.Tag{user}, Metadata: map[string]any{"by": "test"}},
			{Type: "WelcomeSent", Tags: []dcb.Tag{user}},
		}, 1<<62 + 1, nil // more digits than a float64 has
	}, opts...)
}

func TestARequestIsDecidedOnce(t *testing.T) {
	onEach(t, func(t *testing.T, store dcb.EventStore) {
		appendTo(t, store, dcb.Event{Type: "A"})
		for i := range 3 {
			number, got, err := register(ctx, store, "ada", dcb.WithRequestID("r1"))
			want := dcb.Decision{First: 2, Last: 3, Attempts: 1, Repeated: i > 0}
			if got != want || number != 1<<62+1 || err != nil {
				t.Errorf("time %d: %d, %+v, want %+v, %v", i, number, got, want, err)
			}
		}
		if _, _, err := register(ctx, store, "ada", dcb.WithRequestID("r2")); err != errTaken {
			t.Errorf("another request: %v", err)
		}
		if _, _, err := register(ctx, store, "ada"); err != errTaken {
			t.Errorf("no request: %v", err)
		}
		events, _, err := store.Read(ctx, dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{dcb.RequestTag("r1")}}))
		if err != nil || len(events) != 2 {
			t.Fatalf("%d events have the tag, %v", len(events), err)
		}
		want := map[string]any{"dcb_value": "4611686018427387905", "by": "test"}
		if !reflect.DeepEqual(events[0].Metadata, want) || events[1].Metadata != nil {
			t.Errorf("the metadata is %v and %v", events[0].Metadata, events[1].Metadata)
		}
	})
}

func TestARequestOfACommandHandler(t *testing.T) {
	onEach(t, func(t *testing.T, store dcb.EventStore) {
		appendTo(t, store, dcb.Event{Type: "CourseDefined", Data: 1, Tags: []dcb.Tag{course("c1")}})
		handler := dcb.CommandHandler[seats, subscribe]{Decider: seatsDecider, Store: store}
		for i, want := range []dcb.Decision{{First: 2, Last: 2, Attempts: 1}, {First: 2, Last: 2, Attempts: 1, Repeated: true}} {
			got, err := handler.Run(ctx, subscribe{"c1", "s1"}, dcb.WithRequestID("r1"))
			if got != want || err != nil { // now the course is full
				t.Errorf("time %d: got %+v, want %+v, %v", i, got, want, err)
			}
		}
	})
}

// forgetful is a store that stores the events and then says that it does not know whether it did.
type forgetful struct {
	*dcb.Store
	left int
}

func (f *forgetful) AppendEvents(ctx context.Context, events []dcb.Event, conditions ...dcb.AppendCondition) (dcb.Appended, error) {
	appended, err := f.Store.AppendEvents(ctx, events, conditions...)
	if f.left > 0 && err == nil {
		f.left--
		return dcb.Appended{}, &dcb.Error{Status: dcb.StatusIO, Message: "the answer was lost"}
	}
	return appended, err
}

func TestARequestWhoseAnswerWasLost(t *testing.T) {
	store := &forgetful{dcb.NewMemoryStore().Store, 1}
	if number, _, err := register(ctx, store, "ada", dcb.WithRequestID("r1")); !errors.Is(err, dcb.ErrIO) || number != 0 {
		t.Fatalf("got %d, %v", number, err)
	}
	number, got, err := register(ctx, store, "ada", dcb.WithRequestID("r1"))
	if want := (dcb.Decision{First: 1, Last: 2, Attempts: 1, Repeated: true}); got != want || number != 1<<62+1 || err != nil {
		t.Errorf("got %d, %+v, want %+v, %v", number, got, want, err)
	}
}

// Of requests that race, one is decided, and the others return its result.
func TestRequestsThatRace(t *testing.T) {
	onEach(t, func(t *testing.T, store dcb.EventStore) {
		for round := range 10 {
			const racing = 8
			decisions := make([]dcb.Decision, racing)
			values := make([]int, racing)
			var running sync.WaitGroup
			for i := range racing {
				running.Add(1)
				go func() {
					defer running.Done()
					// No two depend on the same events, so only the request makes them conflict.
					model := dcb.Projection[int]{
						Query:  dcb.NewQuery(dcb.QueryItem{Types: []string{fmt.Sprint("Own", i)}}),
						Evolve: func(n int, _ dcb.SequencedEvent) int { return n + 1 },
					}
					var err error
					values[i], decisions[i], err = dcb.DecideValue(ctx, store, model, func(int) ([]dcb.Event, int, error) {
						return []dcb.Event{{Type: "A", Data: i}}, i, nil
					}, dcb.WithRequestID(fmt.Sprint("round ", round)))
					if err != nil {
						t.Error(err)
					}
				}()
			}
			running.Wait()
			first := 0
			for i, decision := range decisions {
				if !decision.Repeated {
					first++
				}
				if decision.First != int64(round+1) || decision.Last != decision.First || values[i] != values[0] {
					t.Errorf("round %d: %d, %+v, others have %d", round, values[i], decision, values[0])
				}
			}
			if first != 1 {
				t.Errorf("round %d: %d decisions were the first", round, first)
			}
		}
		if events, _, err := store.Read(ctx, dcb.QueryAll()); len(events) != 10 || err != nil {
			t.Errorf("%d events, %v", len(events), err)
		}
	})
}

// A retry finds its request on a store that implements no more than EventStore, also beside a condition of its
// own.
func TestARequestOnAPlainStore(t *testing.T) {
	store := &rival{EventStore: dcb.NewMemoryStore()}
	for _, opts := range [][]dcb.DecideOption{
		{dcb.WithRequestID("r1")},
		{dcb.WithRequestID("r2"), dcb.WithConditionQuery(dcb.NewQuery(dcb.QueryItem{Types: []string{"B"}}))},
		{dcb.WithRequestID("r3"), dcb.WithConditionQuery(dcb.QueryAll())},
	} {
		seen := -1
		for i := range 2 {
			got, err := dcb.Decide(ctx, store, counted, func(n int) ([]dcb.Event, error) {
				seen = n
				return oneMore(n)
			}, opts...)
			if got.Repeated != (i > 0) || err != nil {
				t.Errorf("time %d: %+v, %v", i, got, err)
			}
		}
		if seen != store.appends-1 {
			t.Errorf("%d events were seen, %d appended", seen, store.appends)
		}
	}
	if store.appends != 3 {
		t.Errorf("%d appends", store.appends)
	}
}

func TestARequestWithoutAnEventIsDecidedAgain(t *testing.T) {
	store := dcb.NewMemoryStore()
	made := 0
	for range 2 {
		got, err := dcb.Decide(ctx, store, counted, func(int) ([]dcb.Event, error) {
			made++
			return nil, nil
		}, dcb.WithRequestID("r1"))
		if got != (dcb.Decision{Attempts: 1}) || err != nil {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if made != 2 {
		t.Errorf("it was decided %d times", made)
	}
}

func TestRequestTag(t *testing.T) {
	const room = 255 - len("dcb_request:")
	kept := []string{"1", "a:b", "ü", strings.Repeat("x", room), "sha257:", strings.Repeat("ü", room/2)}
	hashed := []string{
		"\x00", "a\x00", "\xff", strings.Repeat("x", room+1), "sha256:", strings.Repeat("ü", room),
		dcb.RequestTag("\x00").Value, // the hash of another id is not taken for that id
	}
	seen := map[string]string{}
	store := dcb.NewMemoryStore()
	for i, id := range append(kept, hashed...) {
		tag := dcb.RequestTag(id)
		if isKept := tag.Value == id; tag.Key != "dcb_request" || isKept != (i < len(kept)) {
			t.Errorf("%q has %q", id, tag)
		}
		if other, taken := seen[tag.String()]; taken {
			t.Errorf("%q and %q have one tag", id, other)
		}
		seen[tag.String()] = id
		for _, isRepeated := range []bool{false, true} {
			got, err := dcb.Decide(ctx, store, counted, oneMore, dcb.WithRequestID(id))
			if got.Repeated != isRepeated || err != nil {
				t.Errorf("%q: %+v, %v", id, got, err)
			}
		}
	}
}

func TestWhatARequestRefuses(t *testing.T) {
	store := dcb.NewMemoryStore()
	for name, test := range map[string]struct {
		id    string
		event dcb.Event
		value any
		want  string
	}{
		"no id":                    {"", dcb.Event{Type: "A"}, 1, "WithRequestID: the id must not be empty"},
		"a tag of its own":         {"r", dcb.Event{Type: "A", Tags: []dcb.Tag{dcb.RequestTag("s")}}, 1, "events[0].tags: the key dcb_request is that of WithRequestID"},
		"metadata that is a list":  {"r", dcb.Event{Type: "A", Metadata: []int{1}}, 1, "events[0].metadata: must be an object"},
		"metadata that is null":    {"r", dcb.Event{Type: "A", Metadata: json.RawMessage("null")}, 1, "events[0].metadata: must be an object"},
		"metadata with that key":   {"r", dcb.Event{Type: "A", Metadata: map[string]int{"dcb_value": 1}}, 1, "events[0].metadata: the key dcb_value is that of the decision's value"},
		"metadata without a form":  {"r", dcb.Event{Type: "A", Metadata: func() {}}, 1, "events[0].metadata: json: unsupported type: func()"},
		"a value without its JSON": {"r", dcb.Event{Type: "A"}, func() {}, "value: json: unsupported type: func()"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := dcb.DecideValue(ctx, store, counted, func(int) ([]dcb.Event, any, error) {
				return []dcb.Event{test.event}, test.value, nil
			}, dcb.WithRequestID(test.id))
			if !errors.Is(err, dcb.ErrInvalidArgument) || !strings.HasSuffix(err.Error(), ": "+test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	if store.EventCount() != 0 {
		t.Error("something was stored")
	}
}

// The value is added to whatever metadata the first event has.
func TestTheValueOfARequestBesideMetadata(t *testing.T) {
	type cause struct {
		By string `json:"by"`
	}
	for i, metadata := range []any{
		nil, cause{"test"}, json.RawMessage(` {} `), json.RawMessage(" {\n\"by\": \"test\" }"), (*cause)(nil),
	} {
		store := dcb.NewMemoryStore()
		decide := func() (cause, dcb.Decision, error) {
			return dcb.DecideValue(ctx, store, counted, func(int) ([]dcb.Event, cause, error) {
				return []dcb.Event{{Type: "A", Metadata: metadata}}, cause{"\"ü<\u2028"}, nil
			}, dcb.WithRequestID("r1"))
		}
		_, _, err := decide()
		if i == 4 { // an encoded null
			if !errors.Is(err, dcb.ErrInvalidArgument) {
				t.Errorf("metadata %d: %v", i, err)
			}
			continue
		}
		value, again, errAgain := decide()
		if err != nil || errAgain != nil || !again.Repeated || value.By != "\"ü<\u2028" {
			t.Errorf("metadata %d: %+v, %+v, %v, %v", i, value, again, err, errAgain)
		}
	}

	// A request that was decided without a value has none.
	store := dcb.NewMemoryStore()
	appendTo(t, store, dcb.Event{Type: "A", Tags: []dcb.Tag{dcb.RequestTag("r1")}})
	if number, got, err := register(ctx, store, "ada", dcb.WithRequestID("r1")); number != 0 || !got.Repeated || err != nil {
		t.Errorf("got %d, %+v, %v", number, got, err)
	}
}

func ExampleWithRequestID() {
	ctx := context.Background()
	store := dcb.NewMemoryStore()

	lastNumber := dcb.Projection[int]{
		Query: dcb.NewQuery(dcb.QueryItem{Types: []string{"InvoiceCreated"}}),
		Last:  1, // it reads no other
		Evolve: func(_ int, event dcb.SequencedEvent) int {
			return int(event.Data.(map[string]any)["number"].(float64))
		},
	}
	create := func(requestID string) {
		number, decision, err := dcb.DecideValue(ctx, store, lastNumber, func(last int) ([]dcb.Event, int, error) {
			number := last + 1
			return []dcb.Event{{Type: "InvoiceCreated", Data: map[string]int{"number": number}}}, number, nil
		}, dcb.WithRequestID(requestID))
		fmt.Println("invoice", number, "repeated:", decision.Repeated, err)
	}
	create("client 7, request 1")
	create("client 8, request 1")
	create("client 7, request 1") // the client had no answer and asks again
	// Output:
	// invoice 1 repeated: false <nil>
	// invoice 2 repeated: false <nil>
	// invoice 1 repeated: true <nil>
}

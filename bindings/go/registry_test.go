package dcb

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

type courseDefined struct {
	Capacity int64  `json:"capacity"`
	Title    string `json:"title,omitempty"`
}

func TestRegistry(t *testing.T) {
	ctx := context.Background()
	var registry Registry
	defined := Register[courseDefined](&registry, "CourseDefined")
	renamed := Register[*string](&registry, "CourseRenamed")
	store := mustOpen(t, "memory:", WithRegistry(&registry))

	title := "Go"
	data := courseDefined{Capacity: 1<<62 + 1}
	mustAppend(t, store,
		defined.New(data, Tag{"course", "c1"}),
		renamed.New(&title),
		Event{Type: "Unknown", Data: data})
	events, _, err := store.Read(ctx, QueryAll())
	if err != nil {
		t.Fatal(err)
	}
	want := []any{data, &title, map[string]any{"capacity": float64(1 << 62)}}
	for i, event := range events {
		if !reflect.DeepEqual(event.Data, want[i]) {
			t.Errorf("event %d has %#v", i, event.Data)
		}
	}
	if got, ok := defined.Of(events[0]); got != data || !ok || !events[0].HasTag("course", "c1") {
		t.Errorf("got %v, %v", got, ok)
	}
	if _, ok := defined.Of(events[1]); ok {
		t.Error("an event of another type passed")
	}
	if _, ok := Register[courseDefined](new(Registry), "CourseDefined2").Of(events[0]); ok {
		t.Error("an event of another name passed")
	}

	raw, _, err := store.ReadRaw(ctx, QueryAll())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Decode[courseDefined](raw[2]); got != data || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	var wrong *DecodeError
	if _, err := Decode[int](raw[2]); !errors.As(err, &wrong) || wrong.Event.Position != 3 {
		t.Errorf("got %v", err)
	}
}

func TestRegistryRefusesWhatIsNoSuchValue(t *testing.T) {
	var registry Registry
	Register[courseDefined](&registry, "CourseDefined")
	store := mustOpen(t, "memory:", WithRegistry(&registry))
	mustAppend(t, store, Event{Type: "CourseDefined", Data: "no object"})
	_, _, err := store.Read(context.Background(), QueryAll())
	var failure *DecodeError
	var cause *json.UnmarshalTypeError
	if !errors.As(err, &failure) || !errors.As(err, &cause) || string(failure.Event.Data) != `"no object"` {
		t.Errorf("got %v", err)
	}
}

func TestRegisterTwicePanics(t *testing.T) {
	var registry Registry
	Register[int](&registry, "A")
	defer func() {
		if recover() == nil {
			t.Error("it did not")
		}
	}()
	Register[string](&registry, "A")
}

// A store that does not know the registry leaves decoding to Of, which never skips an event of its type.
func TestOfWithoutTheRegistry(t *testing.T) {
	ctx := context.Background()
	defined := Register[courseDefined](new(Registry), "CourseDefined")
	for name, test := range map[string]struct {
		opts []Option
		data any
		want error // of Decode; that of Of is a panic
	}{
		"it fits":              {nil, courseDefined{Capacity: 1<<53 - 1}, nil},
		"a large number":       {nil, courseDefined{Capacity: 1<<53 + 1}, errNumber},
		"inside":               {nil, map[string]any{"x": []any{map[string]any{"y": -(1 << 60)}}}, errNumber},
		"kept as it was":       {[]Option{UseNumber()}, courseDefined{Capacity: 1<<62 + 1}, nil},
		"data of another kind": {nil, "no object", new(json.UnmarshalTypeError)},
	} {
		t.Run(name, func(t *testing.T) {
			store := NewMemoryStore(test.opts...)
			defer store.Close()
			mustAppend(t, store, Event{Type: "CourseDefined", Data: test.data})
			events, _, err := store.Read(ctx, QueryAll())
			if err != nil {
				t.Fatal(err)
			}
			got, err := defined.Decode(events[0])
			var failure *DecodeError
			if test.want == nil {
				if of, ok := defined.Of(events[0]); err != nil || got != test.data || of != got || !ok {
					t.Errorf("got %v, %v, and %v", got, err, of)
				}
				return
			}
			var wrongType *json.UnmarshalTypeError
			if !errors.As(err, &failure) || !errors.Is(err, test.want) && !errors.As(err, &wrongType) {
				t.Errorf("got %v", err)
			}
			defer func() {
				if panicked, _ := recover().(error); !errors.As(panicked, &failure) {
					t.Errorf("it panicked with %v", panicked)
				}
			}()
			defined.Of(events[0])
		})
	}
	if _, err := defined.Decode(SequencedEvent{Type: "Other", Data: courseDefined{}}); !errors.Is(err, errOtherType) {
		t.Errorf("got %v", err)
	}
}

func TestAStrictRegistry(t *testing.T) {
	registry := Registry{Strict: true}
	defined := Register[courseDefined](&registry, "CourseDefined")
	store, err := NewSQLiteStore(":memory:", WithRegistry(&registry))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	mustAppend(t, store, defined.New(courseDefined{Capacity: 1}))
	if events, _, err := store.Read(context.Background(), QueryAll()); len(events) != 1 || err != nil {
		t.Errorf("%v, %v", events, err)
	}
	mustAppend(t, store, Event{Type: "Unknown"})
	_, _, err = store.Read(context.Background(), QueryAll())
	var failure *DecodeError
	if !errors.As(err, &failure) || failure.Event.Position != 2 || !errors.Is(err, errNotRegistered) {
		t.Errorf("got %v", err)
	}
}

func TestOldEventTypes(t *testing.T) {
	ctx := context.Background()
	var registry Registry
	defined := RegisterFunc(&registry, "CourseDefined", func(data []byte) (courseDefined, error) {
		var stored struct {
			courseDefined
			Seats int64 `json:"seats"` // what an earlier version of the type called it
		}
		err := json.Unmarshal(data, &stored)
		if stored.Capacity == 0 {
			stored.Capacity = stored.Seats
		}
		return stored.courseDefined, err
	})
	refusal := errors.New("too small")
	RegisterOld(&registry, "CourseCreated", defined, func(capacity int64) (courseDefined, error) {
		if capacity == 0 {
			return courseDefined{}, refusal
		}
		return courseDefined{Capacity: capacity}, nil
	})
	if got := defined.Names(); !reflect.DeepEqual(got, []string{"CourseDefined", "CourseCreated"}) {
		t.Errorf("the names are %v", got)
	}
	for _, opts := range [][]Option{{WithRegistry(&registry)}, nil} {
		store := NewMemoryStore(opts...)
		mustAppend(t, store,
			defined.New(courseDefined{Capacity: 1}),
			Event{Type: "CourseDefined", Data: map[string]int{"seats": 2}},
			Event{Type: "CourseCreated", Data: 3})
		events, _, err := store.Read(ctx, NewQuery(QueryItem{Types: defined.Names()}))
		if err != nil || len(events) != 3 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		for i, event := range events {
			if got, ok := defined.Of(event); got.Capacity != int64(i+1) || !ok {
				t.Errorf("event %d is %v, %v", i, got, ok)
			}
		}
		if opts != nil {
			mustAppend(t, store, Event{Type: "CourseCreated", Data: 0})
			if _, _, err := store.Read(ctx, QueryAll()); !errors.Is(err, refusal) {
				t.Errorf("got %v", err)
			}
		}
		store.Close()
	}
	if panicOf(func() {
		RegisterOld(&registry, "CourseCreated", defined, func(int) (courseDefined, error) { panic("") })
	}) == nil {
		t.Error("a name was registered twice")
	}
}

// panicOf returns what run panics with.
func panicOf(run func()) (panicked any) {
	defer func() { panicked = recover() }()
	run()
	return nil
}

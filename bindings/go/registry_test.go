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

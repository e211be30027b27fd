package dcb

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
)

type causeKey struct{}

func causeOf(ctx context.Context) map[string]any {
	cause, _ := ctx.Value(causeKey{}).(string)
	if cause == "" {
		return nil
	}
	return map[string]any{"correlation": cause, "causation": map[string]any{"of": "<" + cause + ">"}}
}

func TestMetadataFromTheContext(t *testing.T) {
	plain := context.Background()
	ctx := context.WithValue(plain, causeKey{}, "r1")
	store := NewMemoryStore(WithMetadata(causeOf))
	defer store.Close()
	type by struct {
		By string `json:"by"`
	}
	const added = `"causation":{"of":"\u003cr1\u003e"},"correlation":"r1"`
	wanted := []string{}
	for _, test := range []struct {
		metadata any
		want     string
	}{
		{nil, "{" + added + "}"},
		{by{"me"}, "{" + added + `,"by":"me"}`},
		{json.RawMessage(" { } "), "{" + added + " }"},
		{json.RawMessage(`{"correlation" : 1.50 }`), `{"causation":{"of":"\u003cr1\u003e"},"correlation" : 1.50 }`},
		{json.RawMessage(`{"correlation":1,"causation":2}`), `{"correlation":1,"causation":2}`},
	} {
		events := []Event{{Type: "A", Metadata: test.metadata}}
		if err := store.Append(ctx, events); err != nil {
			t.Fatal(err)
		}
		if _, changed := events[0].Metadata.(json.RawMessage); changed && test.metadata == nil {
			t.Error("the events of the caller were changed")
		}
		wanted = append(wanted, test.want)
	}
	if err := store.Append(plain, []Event{{Type: "A"}}); err != nil {
		t.Fatal(err)
	}
	wanted = append(wanted, "")
	_, _, err := DecideValue(ctx, store, Projection[int]{Evolve: func(n int, _ SequencedEvent) int { return n }},
		func(int) ([]Event, int, error) { return []Event{{Type: "A"}}, 7, nil }, WithRequestID("r1"))
	if err != nil {
		t.Fatal(err)
	}
	wanted = append(wanted, "{"+added+`,"dcb_value":"7"}`)
	events, _, err := store.ReadRaw(plain, QueryAll())
	if err != nil || len(events) != len(wanted) {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for i, event := range events {
		if string(event.Metadata) != wanted[i] {
			t.Errorf("event %d has %s, want %s", i, event.Metadata, wanted[i])
		}
	}
	for _, metadata := range []any{[]int{}, func() {}, json.RawMessage("null"), json.RawMessage("{")} {
		if err := store.Append(ctx, []Event{{Type: "A", Metadata: metadata}}); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("got %v", err)
		}
	}
	bad := NewMemoryStore(WithMetadata(func(context.Context) map[string]any { return map[string]any{"f": func() {}} }))
	defer bad.Close()
	if err := bad.Append(ctx, []Event{{Type: "A"}}); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("got %v", err)
	}
}

package dcb

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// sharing returns events whose copies share memory, some with more bytes than are shared, and some with nothing. The
// first half has ids: in an append either every event has one, or none.
func sharing(n int) []Event {
	random := rand.New(rand.NewPCG(1, 2))
	events := make([]Event, n)
	for i := range events {
		event := Event{Type: fmt.Sprint("Type", random.IntN(5))}
		sizes := []int{0, 1, 100, 1000, sharedBytes - 1, sharedBytes, 2 * sharedBytes}
		if size := sizes[random.IntN(len(sizes))]; size > 0 {
			event.Data = json.RawMessage(`"` + strings.Repeat("x", size) + fmt.Sprint(i) + `"`)
		}
		for tag := range random.IntN(4) {
			event.Tags = append(event.Tags, Tag{fmt.Sprint("key", tag), strings.Repeat("v", random.IntN(50)) + fmt.Sprint(i)})
		}
		if i < n/2 {
			event.ID = fmt.Sprint("id", i)
		}
		if random.IntN(3) == 0 {
			event.Metadata = json.RawMessage(fmt.Sprintf(`{"number":%d}`, i))
		}
		events[i] = event
	}
	return events
}

func TestEventsAreCopiesOfTheirOwn(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		given := sharing(700)
		mustAppend(t, store, given[:len(given)/2]...)
		mustAppend(t, store, given[len(given)/2:]...)
		read := func() []RawEvent {
			events, _, err := store.ReadRaw(context.Background(), QueryAll())
			if err != nil {
				t.Fatal(err)
			}
			return events
		}
		events := read()
		if len(events) != len(given) {
			t.Fatalf("%d events", len(events))
		}
		for i, event := range events {
			expected := RawEvent{
				Position: int64(i + 1), Type: given[i].Type, Data: json.RawMessage("null"), Tags: given[i].Tags,
				Timestamp: event.Timestamp, ID: given[i].ID,
			}
			if given[i].Data != nil {
				expected.Data = given[i].Data.(json.RawMessage)
			}
			if given[i].Metadata != nil {
				expected.Metadata = given[i].Metadata.(json.RawMessage)
			}
			if !reflect.DeepEqual(event, expected) {
				t.Fatalf("event %d: %.300v, not %.300v", i, event, expected)
			}
		}

		// What is written to one event, also behind its end, changes no other one.
		untouched := read()
		for i := 0; i < len(events); i += 2 {
			event := &events[i]
			for _, part := range []json.RawMessage{event.Data, event.Metadata} {
				for j := range part {
					part[j] = '!'
				}
				_ = append(part, "!!!!"...)
			}
			for j := range event.Tags {
				event.Tags[j] = Tag{"!", "!"}
			}
			_ = append(event.Tags, Tag{"!", "!"})
		}
		for i := 1; i < len(events); i += 2 {
			if !reflect.DeepEqual(events[i], untouched[i]) {
				t.Fatalf("event %d became %.300v, not %.300v", i, events[i], untouched[i])
			}
		}

		// They stay when the store is closed.
		store.Close()
		for i := 1; i < len(events); i += 2 {
			if data := given[i].Data; data != nil && string(events[i].Data) != string(data.(json.RawMessage)) {
				t.Fatalf("event %d became %.300v", i, events[i])
			}
		}
	})
}

func TestNamesAreSharedAndBounded(t *testing.T) {
	var known names
	for range 2 {
		for i := range 2 * maxNames {
			if name := fmt.Sprint("Type", i); known.of([]byte(name)) != name {
				t.Fatal(name)
			}
		}
	}
	if found := len(*known.known.Load()); found != maxNames {
		t.Errorf("%d names are remembered", found)
	}
	if n := testing.AllocsPerRun(10, func() { known.of([]byte("Type0")) }); n > 0 {
		t.Errorf("a known name takes %v allocations", n)
	}
}

// A read of a few events allocates for all of them together, not for each.
func TestAReadOfManyEventsAllocatesLittle(t *testing.T) {
	store := mustOpen(t, "memory:")
	events := make([]Event, 256)
	for i := range events {
		events[i] = benchEvent()
	}
	mustAppend(t, store, events...)
	allocations := testing.AllocsPerRun(10, func() {
		if _, _, err := store.ReadRaw(context.Background(), QueryAll()); err != nil {
			t.Fatal(err)
		}
	})
	// Three for ten events or more, and a dozen for the read.
	if most := float64(len(events)*3/10 + 24); allocations > most {
		t.Errorf("%v allocations, not %v", allocations, most)
	}
}

package dcb

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendString(t *testing.T) {
	all := make([]byte, 0, 256)
	for c := range 128 {
		all = append(all, byte(c))
	}
	for _, text := range []string{"", "plain", string(all), `"\`, "é€😀", "\u2028", "a\x7f"} {
		var got string
		if err := json.Unmarshal(appendString(nil, text), &got); err != nil || got != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
}

func TestRequestDocuments(t *testing.T) {
	item := QueryItem{Types: []string{"A", "B"}, Tags: []Tag{{"k", "v"}, BareTag("bare")}}
	before, limit := int64(9), int64(3)
	for _, test := range []struct {
		want string
		got  func() ([]byte, error)
	}{
		{`{"events":[{"type":"A","tags":[],"data":null}]}`, func() ([]byte, error) {
			return appendRequest(nil, []Event{{Type: "A"}}, nil)
		}},
		{`{"events":[{"type":"A","tags":["k:v","bare"],"data":{"a":1},"id":"1","metadata":{"m":2}},{"type":"B","tags":[],"data":[1]}],` +
			`"condition":[{"failIfEventsMatch":null,"after":0},{"failIfEventsMatch":{"items":[{"types":["A","B"],"tags":["k:v","bare"]}]},"after":-1}]}`,
			func() ([]byte, error) {
				return appendRequest(nil,
					[]Event{{Type: "A", Tags: item.Tags, Data: map[string]int{"a": 1}, ID: "1", Metadata: map[string]int{"m": 2}},
						{Type: "B", Data: json.RawMessage("[1]")}},
					[]AppendCondition{{}, {FailIfEventsMatch: NewQuery(item), After: -1}})
			}},
		{`{"query":null,"after":0}`, func() ([]byte, error) { return readRequest(nil, Query{}, &readOptions{}) }},
		{`{"query":{"items":[{"types":[],"tags":[]}]},"after":5,"before":9,"limit":3,"backwards":true}`, func() ([]byte, error) {
			return readRequest(nil, NewQuery(QueryItem{}), &readOptions{after: 5, before: &before, limit: &limit, backwards: true})
		}},
	} {
		if got, err := test.got(); string(got) != test.want || err != nil {
			t.Errorf("got  %s, %v\nwant %s", got, err, test.want)
		}
	}
}

// FuzzEvent appends any event, and reads it back by its type and its tag.
func FuzzEvent(f *testing.F) {
	f.Add("CourseDefined", "course", "c1", "", []byte(`{"capacity":20}`))
	f.Add("A", "k", "\x00", "", []byte(`{}`))
	f.Add("\x00", "k:", "", "id", []byte(`1,"id":"x"`))
	f.Add("\"\\\u2028", "k", "a:b", "\xff", []byte(` [1e400] `))
	store := mustOpen(f, "memory:")
	f.Fuzz(func(t *testing.T, name, key, value, id string, data []byte) {
		ctx := context.Background()
		tag := Tag{key, value}
		events := []Event{{Type: name, Tags: []Tag{tag}, Data: json.RawMessage(data), ID: id}}
		appended, err := store.AppendEvents(ctx, events)
		valid := fits(name) && fits(tag.String()) && tag.problem() == "" && (id == "" || fits(id)) && json.Valid(data) && utf8.Valid(data)
		if err != nil {
			if !errors.Is(err, ErrInvalidArgument) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrDuplicateID) {
				t.Fatalf("%v", err)
			}
			if valid && !errors.Is(err, ErrDuplicateID) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("refused: %v", err)
			}
			return
		}
		if !valid {
			t.Fatalf("accepted %q %q %q %q", name, tag, id, data)
		}
		query := NewQuery(QueryItem{Types: []string{name}, Tags: []Tag{tag}})
		found, _, err := store.ReadRaw(ctx, query, FromPosition(appended.Last-1), Limit(1))
		if err != nil || len(found) != 1 {
			t.Fatalf("found %v, %v", found, err)
		}
		got := found[0]
		want := strings.Trim(string(data), " \t\r\n")
		if got.Type != name || !slices.Equal(got.Tags, events[0].Tags) || got.ID != id || string(got.Data) != want {
			t.Fatalf("appended %v, got %v", events[0], got)
		}
		if event, err := store.decode(&got); err == nil && !query.Matches(event) {
			t.Fatalf("%v does not match", event)
		}
	})
}

func fits(name string) bool {
	return name != "" && len(name) <= MaxNameBytes && utf8.ValidString(name) && !strings.Contains(name, "\x00")
}

// FuzzQuery compares what the store finds with what Matches says.
func FuzzQuery(f *testing.F) {
	f.Add("A", "k:1", "B", "l")
	f.Add("", ":", "\xff", "k:")
	store := mustOpen(f, "memory:")
	for _, name := range []string{"A", "B", "\"", "é"} {
		for _, tag := range []string{"k:1", "l", "k:a:b", "\\"} {
			mustAppend(f, store, Event{Type: name, Tags: []Tag{ParseTag(tag)}})
		}
	}
	all, _, err := store.Read(context.Background(), QueryAll())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, type1, tag1, type2, tag2 string) {
		query := NewQuery(
			QueryItem{Types: []string{type1}, Tags: []Tag{ParseTag(tag1)}},
			QueryItem{Types: []string{type2, "A"}},
			QueryItem{Tags: []Tag{ParseTag(tag2)}})
		events, _, err := store.Read(context.Background(), query)
		if err != nil {
			if !errors.Is(err, ErrInvalidArgument) && !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		got := []int64{0}
		for _, event := range events {
			got = append(got, event.Position)
		}
		if want := matching(query, all); !slices.Equal(got, want) {
			t.Fatalf("%v: the store gives %v, Matches %v", query, got, want)
		}
	})
}

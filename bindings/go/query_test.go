package dcb

import (
	"context"
	"reflect"
	"testing"
)

func TestHasTag(t *testing.T) {
	event := SequencedEvent{Tags: []Tag{{"course", "c1"}, BareTag("vip"), {"url", "http://x"}, {"", "e"}, {"a:b", "c"}, {"literal", ""}}}
	for _, test := range []struct {
		key, value string
		want       bool
	}{
		{"course", "c1", true},
		{"course", "c2", false},
		{"course", "", false},
		{"vip", "", true},
		{"vip", "x", false},
		{"literal", "", true}, // of an event that was not read from a store
		{"url", "http://x", true},
		{"url:http", "//x", false},
		{"", "e", false},
		{"a:b", "c", false},
	} {
		if got := event.HasTag(test.key, test.value); got != test.want {
			t.Errorf("HasTag(%q, %q) = %v", test.key, test.value, got)
		}
		if got := (RawEvent{Tags: event.Tags}).HasTag(test.key, test.value); got != test.want {
			t.Errorf("RawEvent: HasTag(%q, %q) = %v", test.key, test.value, got)
		}
	}
}

func TestParseTag(t *testing.T) {
	for text, want := range map[string]Tag{
		"course:c1": {"course", "c1"},
		"bare":      BareTag("bare"),
		"k:":        {"k", ""}, // which every store rejects
		"a:b:c":     {"a", "b:c"},
		"a::":       {"a", ":"},
	} {
		if got := ParseTag(text); got != want || got.String() != text {
			t.Errorf("%q: %#v, %q", text, got, got.String())
		}
	}
}

// A bare tag that was read can be appended and queried, like one of BareTag.
func TestBareTags(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		ctx := context.Background()
		mustAppend(t, store, Event{Type: "A", Tags: []Tag{BareTag("vip"), {"k", "v"}}})
		for range 2 {
			events, _, err := store.Read(ctx, NewQuery(QueryItem{Tags: []Tag{BareTag("vip")}}))
			if err != nil || len(events) == 0 {
				t.Fatalf("%v, %v", events, err)
			}
			last := events[len(events)-1]
			tag := last.Tags[0]
			if tag != BareTag("vip") || !tag.IsBare() || tag.String() != "vip" || last.Tags[1].IsBare() || !last.HasTag("vip", "") {
				t.Errorf("got %q, %q", tag, last.Tags)
			}
			query := NewQuery(QueryItem{Tags: last.Tags})
			if again, _, err := store.Read(ctx, query); err != nil || len(again) != len(events) || !query.Matches(last) {
				t.Errorf("%v, %v", again, err)
			}
			mustAppend(t, store, Event{Type: "A", Tags: last.Tags})
		}
	})
	if tag := (Tag{"student", ""}); tag.IsBare() || tag.String() != "student:" {
		t.Errorf("a tag without its value: %q", tag)
	}
}

func TestMatches(t *testing.T) {
	event := SequencedEvent{Type: "A", Tags: []Tag{{"k", "1"}, {"l", "2"}, {"", "x"}, BareTag("bare"), {"e", ""}}}
	k, l, m := Tag{"k", "1"}, Tag{"l", "2"}, Tag{"m", "3"}
	for _, test := range []struct {
		name  string
		query Query
		want  bool
	}{
		{"all", QueryAll(), true},
		{"zero", Query{}, true},
		{"no items", NewQuery(), false},
		{"the zero item", NewQuery(QueryItem{}), true},
		{"its type", NewQuery(QueryItem{Types: []string{"B", "A"}}), true},
		{"another type", NewQuery(QueryItem{Types: []string{"a"}}), false},
		{"its tags", NewQuery(QueryItem{Tags: []Tag{l, k}}), true},
		{"a tag too many", NewQuery(QueryItem{Tags: []Tag{k, m}}), false},
		{"type without the tag", NewQuery(QueryItem{Types: []string{"A"}, Tags: []Tag{m}}), false},
		{"one of two items", NewQuery(QueryItem{Tags: []Tag{m}}, QueryItem{Tags: []Tag{k}}), true},
		{"a bare tag", NewQuery(QueryItem{Tags: []Tag{BareTag("bare")}}), true},
		{"an empty key", NewQuery(QueryItem{Tags: []Tag{{"", "x"}}}), false},
		{"an empty value", NewQuery(QueryItem{Tags: []Tag{{"bare", ""}}}), false},
		{"an empty value in the event", NewQuery(QueryItem{Tags: []Tag{{"e", ""}}}), false},
	} {
		if got := test.query.Matches(event); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestOr(t *testing.T) {
	a, b := QueryItem{Types: []string{"A"}}, QueryItem{Types: []string{"B"}}
	for _, test := range []struct {
		name  string
		query Query
		want  []QueryItem
	}{
		{"items", NewQuery(a).Or(NewQuery(b), NewQuery(a)), []QueryItem{a, b, a}},
		{"every event", NewQuery(a).Or(QueryAll()), nil},
		{"every event first", QueryAll().Or(NewQuery(a)), nil},
		{"nothing else", NewQuery(a).Or(), []QueryItem{a}},
		{"no items", NewQuery().Or(NewQuery(a)), []QueryItem{}},
		{"no items beside every event", QueryAll().Or(NewQuery()), []QueryItem{}},
	} {
		if got := test.query.items; !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestOrLeavesItsOperandsAlone(t *testing.T) {
	items := make([]QueryItem, 1, 4)
	first := Query{items: items}
	first.Or(NewQuery(QueryItem{Types: []string{"B"}}))
	if spare := items[:2][1]; spare.Types != nil {
		t.Errorf("it wrote %v behind the first query's items", spare)
	}
}

func TestNewQueryKeepsItsOwnItems(t *testing.T) {
	items := []QueryItem{{Types: []string{"A"}}}
	query := NewQuery(items...)
	items[0] = QueryItem{}
	query.Items()[0] = QueryItem{}
	if query.Matches(SequencedEvent{Type: "B"}) {
		t.Error("the query changed with the caller's slice")
	}
}

package dcb_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// These tests use only the first API of the package, and check what its documentation promises.

var ctx = context.Background()

func course(id string) dcb.Tag  { return dcb.Tag{Key: "course", Value: id} }
func student(id string) dcb.Tag { return dcb.Tag{Key: "student", Value: id} }

func onEach(t *testing.T, test func(t *testing.T, store dcb.EventStore)) {
	t.Run("MemoryStore", func(t *testing.T) { test(t, dcb.NewMemoryStore()) })
	t.Run("SQLiteStore", func(t *testing.T) {
		test(t, openSQLite(t, filepath.Join(t.TempDir(), "events.db")))
	})
	t.Run("SQLiteStore in memory", func(t *testing.T) { test(t, openSQLite(t, ":memory:")) })
	for name, open := range moreStores {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// moreStores are the stores over drivers, which internal/drivertest adds.
var moreStores = map[string]func(*testing.T) dcb.EventStore{}

func openSQLite(t testing.TB, dsn string) *dcb.SQLiteStore {
	t.Helper()
	store, err := dcb.NewSQLiteStore(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func appendTo(t testing.TB, store dcb.EventStore, events ...dcb.Event) {
	t.Helper()
	if err := store.Append(ctx, events); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsAppendedIsRead(t *testing.T) {
	onEach(t, func(t *testing.T, store dcb.EventStore) {
		before := time.Now().Add(-time.Second)
		type payload struct {
			Capacity int    `json:"capacity"`
			Title    string `json:"title,omitempty"`
		}
		appendTo(t, store,
			dcb.Event{Type: "CourseDefined", Data: payload{Capacity: 20}, Tags: []dcb.Tag{course("c1")}},
			dcb.Event{Type: "StudentSubscribed", Tags: []dcb.Tag{student("s1"), course("c1"), dcb.BareTag("vip")}},
			dcb.Event{Type: "Empty", Data: []any{1, "x", nil, true}},
		)
		events, position, err := store.Read(ctx, dcb.QueryAll())
		if err != nil || position != 3 {
			t.Fatalf("position %d, %v", position, err)
		}
		for i := range events {
			if at := events[i].Timestamp; at.Before(before) || at.After(time.Now().Add(time.Second)) || at.Location() != time.UTC {
				t.Errorf("timestamp %v", at)
			}
			events[i].Timestamp = time.Time{}
		}
		want := []dcb.SequencedEvent{
			{Position: 1, Type: "CourseDefined", Data: map[string]any{"capacity": 20.0}, Tags: []dcb.Tag{course("c1")}},
			{Position: 2, Type: "StudentSubscribed", Tags: []dcb.Tag{student("s1"), course("c1"), dcb.BareTag("vip")}},
			{Position: 3, Type: "Empty", Data: []any{1.0, "x", nil, true}},
		}
		if !reflect.DeepEqual(events, want) {
			t.Errorf("got  %+v\nwant %+v", events, want)
		}
	})
}

func TestReadTellsTheHighestPositionReturned(t *testing.T) {
	onEach(t, func(t *testing.T, store dcb.EventStore) {
		appendTo(t, store,
			dcb.Event{Type: "A", Tags: []dcb.Tag{course("c1")}},
			dcb.Event{Type: "B", Tags: []dcb.Tag{course("c1")}},
			dcb.Event{Type: "A", Tags: []dcb.Tag{course("c2")}},
		)
		ofType := func(types ...string) dcb.Query { return dcb.NewQuery(dcb.QueryItem{Types: types}) }
		for _, test := range []struct {
			name     string
			query    dcb.Query
			options  []dcb.ReadOption
			want     []int64
			position int64
		}{
			{"all", dcb.QueryAll(), nil, []int64{1, 2, 3}, 3},
			{"the zero query", dcb.Query{}, nil, []int64{1, 2, 3}, 3},
			{"a type", ofType("B"), nil, []int64{2}, 2},
			{"types", ofType("A", "B"), nil, []int64{1, 2, 3}, 3},
			{"none", ofType("C"), nil, []int64{}, 0},
			{"from a position, exclusive", dcb.QueryAll(), []dcb.ReadOption{dcb.FromPosition(1)}, []int64{2, 3}, 3},
			{"from the start", dcb.QueryAll(), []dcb.ReadOption{dcb.FromPosition(-1)}, []int64{1, 2, 3}, 3},
			{"from the head", dcb.QueryAll(), []dcb.ReadOption{dcb.FromPosition(3)}, []int64{}, 0},
			{"before", dcb.QueryAll(), []dcb.ReadOption{dcb.Before(3)}, []int64{1, 2}, 2},
			{"limit", dcb.QueryAll(), []dcb.ReadOption{dcb.Limit(2)}, []int64{1, 2}, 2},
			{"limit 0", dcb.QueryAll(), []dcb.ReadOption{dcb.Limit(0)}, []int64{}, 0},
			{"backwards", ofType("A"), []dcb.ReadOption{dcb.Backwards()}, []int64{3, 1}, 3},
			{"the last one", dcb.QueryAll(), []dcb.ReadOption{dcb.Backwards(), dcb.Limit(1)}, []int64{3}, 3},
			{"all tags", dcb.NewQuery(dcb.QueryItem{Types: []string{"A"}, Tags: []dcb.Tag{course("c1")}}), nil, []int64{1}, 1},
			{"any item", dcb.NewQuery(dcb.QueryItem{Types: []string{"B"}}, dcb.QueryItem{Tags: []dcb.Tag{course("c2")}}), nil, []int64{2, 3}, 3},
		} {
			events, position, err := store.Read(ctx, test.query, test.options...)
			positions := []int64{}
			for _, event := range events {
				positions = append(positions, event.Position)
			}
			if err != nil || events == nil || position != test.position || !reflect.DeepEqual(positions, test.want) {
				t.Errorf("%s: %v, position %d, %v", test.name, positions, position, err)
			}
		}
	})
}

func TestAppendConditions(t *testing.T) {
	onEach(t, func(t *testing.T, store dcb.EventStore) {
		appendTo(t, store, dcb.Event{Type: "A", Tags: []dcb.Tag{course("c1")}}, dcb.Event{Type: "B"})
		ofCourse := dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{course("c1")}})
		other := dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{course("c2")}})
		for _, test := range []struct {
			name       string
			conditions []dcb.AppendCondition
			fails      bool
		}{
			{"a match", []dcb.AppendCondition{{FailIfEventsMatch: ofCourse}}, true},
			{"a match, after -1", []dcb.AppendCondition{{FailIfEventsMatch: ofCourse, After: -1}}, true},
			{"a match at after", []dcb.AppendCondition{{FailIfEventsMatch: ofCourse, After: 1}}, false},
			{"no match", []dcb.AppendCondition{{FailIfEventsMatch: other}}, false},
			{"the zero condition is every event", []dcb.AppendCondition{{}}, true},
			{"after beyond the head", []dcb.AppendCondition{{After: 1 << 62}}, false},
			{"one of two fails", []dcb.AppendCondition{{FailIfEventsMatch: other}, {FailIfEventsMatch: ofCourse}}, true},
		} {
			err := store.Append(ctx, []dcb.Event{{Type: "C"}}, test.conditions...)
			if errors.Is(err, dcb.ErrAppendConditionFailed) != test.fails || !test.fails && err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		}
		if _, position, _ := store.Read(ctx, dcb.QueryAll()); position != 5 {
			t.Errorf("the store has %d events, want 5", position)
		}
	})
}

func TestEventCount(t *testing.T) {
	store := dcb.NewMemoryStore()
	appendTo(t, store, dcb.Event{Type: "A"}, dcb.Event{Type: "A"})
	if count := store.EventCount(); count != 2 {
		t.Errorf("got %d", count)
	}
	if other := dcb.NewMemoryStore().EventCount(); other != 0 {
		t.Errorf("a second store has %d events", other)
	}
}

package dcb

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestStatus(t *testing.T) {
	for i, want := range []struct {
		status   Status
		name     string
		sentinel error
	}{
		{StatusOK, "ok", nil},
		{StatusConditionFailed, "condition_failed", ErrAppendConditionFailed},
		{StatusDuplicateID, "duplicate_id", ErrDuplicateID},
		{StatusInvalidArgument, "invalid_argument", ErrInvalidArgument},
		{StatusTooLarge, "too_large", ErrTooLarge},
		{StatusBusy, "busy", ErrBusy},
		{StatusTimeout, "timeout", ErrTimeout},
		{StatusCancelled, "cancelled", ErrCancelled},
		{StatusReadOnly, "read_only", ErrReadOnly},
		{StatusFull, "full", ErrFull},
		{StatusIO, "io", ErrIO},
		{StatusCorrupt, "corrupt", ErrCorrupt},
		{StatusUnsupportedFormat, "unsupported_format", ErrUnsupportedFormat},
		{StatusClosed, "closed", ErrClosed},
		{StatusUnavailable, "unavailable", ErrUnavailable},
		{StatusInternal, "internal", ErrInternal},
		{StatusNoMemory, "no_memory", ErrNoMemory},
		{StatusNoMemory + 1, "unknown", nil}, // the library has no status that is not here
	} {
		if int(want.status) != i || want.status.String() != want.name {
			t.Errorf("status %d is %d, %s; want %s", i, want.status, want.status, want.name)
		}
		err := &Error{Status: want.status}
		for _, sentinel := range sentinels {
			if sentinel != nil && errors.Is(err, sentinel) != (sentinel == want.sentinel) {
				t.Errorf("errors.Is(%v, %v) is %v", err, sentinel, errors.Is(err, sentinel))
			}
		}
	}
}

func TestErrorsOfAppend(t *testing.T) {
	ctx := context.Background()
	one := []Event{{Type: "A", Tags: []Tag{{"k", "v"}}}}
	onTags := func(tags ...Tag) []AppendCondition {
		return []AppendCondition{{FailIfEventsMatch: NewQuery(QueryItem{}, QueryItem{Tags: tags})}}
	}
	tests := []struct {
		name       string
		events     []Event
		conditions []AppendCondition
		want       error
		message    string
	}{
		{"no events", nil, nil, ErrInvalidArgument, "events"},
		{"no events, and a condition that fails", nil, []AppendCondition{{}}, ErrInvalidArgument, "events"},
		{"an empty type", []Event{{}}, nil, ErrInvalidArgument, "events[0].type"},
		{"a type that is not UTF-8", []Event{{Type: "\xff"}}, nil, ErrInvalidArgument, ""},
		{"a type with a NUL", []Event{{Type: "a\x00b"}}, nil, ErrInvalidArgument, "events[0].type"},
		{"a long type", []Event{{Type: strings.Repeat("x", 256)}}, nil, ErrTooLarge, "events[0].type"},
		{"an empty key", []Event{{Type: "A"}, {Type: "A", Tags: []Tag{{"k", "v"}, {"", "v"}}}}, nil,
			ErrInvalidArgument, "events[1].tags[1]: a key must not be empty"},
		{"a key with a colon", []Event{{Type: "A", Tags: []Tag{{"k:", "v"}}}}, nil,
			ErrInvalidArgument, "events[0].tags[0]: a key must not contain a colon"},
		{"an empty value", []Event{{Type: "A", Tags: []Tag{{"k", "v"}, {"student", ""}}}}, nil,
			ErrInvalidArgument, "events[0].tags[1]: a value must not be empty"},
		{"an empty value in a condition", one, onTags(Tag{Key: "student"}),
			ErrInvalidArgument, "condition[0].failIfEventsMatch.items[1].tags[0]: a value must not be empty"},
		{"an empty key of a bare tag", []Event{{Type: "A", Tags: []Tag{BareTag("")}}}, nil,
			ErrInvalidArgument, "events[0].tags[0]: a key must not be empty"},
		{"a bare tag with a colon", []Event{{Type: "A", Tags: []Tag{BareTag("k:v")}}}, nil,
			ErrInvalidArgument, "events[0].tags[0]: a key must not contain a colon"},
		{"a value with a NUL", []Event{{Type: "A", Tags: []Tag{{"k", "a\x00"}}}}, nil,
			ErrInvalidArgument, "events[0].tags[0]"},
		{"a value that is a NUL, parsed", []Event{{Type: "A", Tags: []Tag{ParseTag("k:\x00")}}}, nil,
			ErrInvalidArgument, "events[0].tags[0]"},
		{"an empty key in a condition", one, onTags(Tag{}),
			ErrInvalidArgument, "condition[0].failIfEventsMatch.items[1].tags[0]: a key must not be empty"},
		{"a query of no items", one, []AppendCondition{{FailIfEventsMatch: NewQuery()}},
			ErrInvalidArgument, "condition[0].failIfEventsMatch.items: must not be empty"},
		{"after below -1", one, []AppendCondition{{After: -2}}, ErrInvalidArgument, "after"},
		{"data that has no JSON", []Event{{Type: "A", Data: func() {}}}, nil,
			ErrInvalidArgument, "events[0].data: json: unsupported type"},
		{"raw data that is not JSON", []Event{{Type: "A", Data: json.RawMessage(`1,"id":"x"`)}}, nil,
			ErrInvalidArgument, "events[0].data"},
		{"empty raw data", []Event{{Type: "A", Data: json.RawMessage{}}}, nil,
			ErrInvalidArgument, "events[0].data"},
		{"metadata that is no object", []Event{{Type: "A", Metadata: 1}}, nil,
			ErrInvalidArgument, "events[0].metadata"},
		{"ids on some events only", []Event{{Type: "A", ID: "1"}, {Type: "A"}}, nil,
			ErrInvalidArgument, "every event of an append must have an id"},
	}
	onEach(t, func(t *testing.T, store *Store) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				err := store.Append(ctx, test.events, test.conditions...)
				var failure *Error
				if !errors.As(err, &failure) || !errors.Is(err, test.want) || !strings.Contains(failure.Message, test.message) {
					t.Errorf("got %v", err)
				}
			})
		}
		if head, err := store.Head(ctx); head != 0 || err != nil {
			t.Errorf("after all these failures the head is %d, %v", head, err)
		}
	})
}

func TestErrorsOfRead(t *testing.T) {
	tests := []struct {
		name    string
		query   Query
		option  ReadOption
		message string
	}{
		{"a query of no items", NewQuery(), Limit(1), "query.items: must not be empty"},
		{"a query of no items, joined", NewQuery(QueryItem{}).Or(NewQuery()), Limit(1), "query.items: must not be empty"},
		{"an empty key", NewQuery(QueryItem{Tags: []Tag{{"", "v"}}}), Limit(1), "query.items[0].tags[0]"},
		{"an empty value", NewQuery(QueryItem{Tags: []Tag{{"student", ""}}}), Limit(1), "query.items[0].tags[0]: a value must not be empty"},
		{"an empty type", NewQuery(QueryItem{Types: []string{""}}), Limit(1), "query.items[0].types[0]"},
		{"after below -1", QueryAll(), FromPosition(-2), "after"},
		{"before below 0", QueryAll(), Before(-1), "before"},
		{"limit below 0", QueryAll(), Limit(-1), "limit"},
	}
	onEach(t, func(t *testing.T, store *Store) {
		ctx := context.Background()
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				_, _, err := store.Read(ctx, test.query, test.option)
				var failure *Error
				if !errors.As(err, &failure) || !errors.Is(err, ErrInvalidArgument) || !strings.Contains(failure.Message, test.message) {
					t.Errorf("Read: %v", err)
				}
				for _, err := range store.Events(ctx, test.query, test.option) {
					if !errors.Is(err, ErrInvalidArgument) {
						t.Errorf("Events: %v", err)
					}
				}
				given := 0
				for _, err := range store.Subscribe(ctx, test.query, test.option) {
					if given++; !errors.Is(err, ErrInvalidArgument) || given > 1 {
						t.Fatalf("Subscribe: %v", err)
					}
				}
			})
		}
	})
}

func TestFailedConditionNamesThePosition(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		ctx := context.Background()
		for range 3 {
			mustAppend(t, store, Event{Type: "A"})
		}
		err := store.Append(ctx, []Event{{Type: "B"}}, AppendCondition{After: 1})
		var failure *Error
		if !errors.As(err, &failure) || !errors.Is(err, ErrAppendConditionFailed) || failure.Position != 2 {
			t.Errorf("got %#v", err)
		}
	})
}

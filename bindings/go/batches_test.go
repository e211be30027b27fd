package dcb

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"
)

func TestSubscribeBatchesCatchesUpAndFollows(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		ctx := context.Background()
		for range 7 {
			mustAppend(t, store, Event{Type: "a"}, Event{Type: "b"})
		}
		want := []struct {
			events     int
			position   int64
			isCaughtUp bool
			then       func()
		}{
			{3, 5, false, nil},
			{3, 11, false, nil},
			{1, 14, true, func() { mustAppend(t, store, Event{Type: "a"}) }},
			{1, 15, true, func() {
				mustAppend(t, store, Event{Type: "a"}, Event{Type: "a"}, Event{Type: "a"}, Event{Type: "a"})
			}},
			{3, 18, false, nil},
			{1, 19, true, nil},
		}
		n, next := 0, int64(1)
		query := NewQuery(QueryItem{Types: []string{"a"}})
		for b, err := range store.SubscribeBatches(ctx, query, 0, Limit(3)) {
			if err != nil {
				t.Fatal(err)
			}
			if w := want[n]; len(b.Events) != w.events || b.Position != w.position || b.CaughtUp != w.isCaughtUp {
				t.Fatalf("batch %d is %+v, want %+v", n, b, w)
			}
			for _, event := range b.Events {
				if event.Type != "a" || event.Position < next {
					t.Errorf("event %d in batch %d", event.Position, n)
				}
				next = event.Position + 1
			}
			if then := want[n].then; then != nil {
				then()
			}
			if n++; n == len(want) {
				break
			}
		}
	})
}

// A batch that is full to the last event is followed by an empty one that says that there are no more.
func TestSubscribeBatchesSaysThatItHasCaughtUp(t *testing.T) {
	for _, stored := range []int{0, 2} {
		store := NewMemoryStore()
		for range stored {
			mustAppend(t, store.Store, Event{Type: "a"})
		}
		seen := 0
		for b, err := range store.SubscribeBatches(context.Background(), QueryAll(), 0, Limit(2)) {
			if err != nil {
				t.Fatal(err)
			}
			seen += len(b.Events)
			if b.CaughtUp {
				if seen != stored || len(b.Events) != 0 || b.Position != int64(stored) {
					t.Errorf("%+v after %d of %d events", b, seen, stored)
				}
				break
			}
		}
	}
}

func TestSubscribeBatchesTicksWhileItIsIdle(t *testing.T) {
	store := NewMemoryStore()
	n := 0
	query := NewQuery(QueryItem{Types: []string{"a"}})
	for b, err := range store.SubscribeBatches(context.Background(), query, time.Millisecond) {
		if err != nil || len(b.Events) != 0 || !b.CaughtUp {
			t.Fatalf("%+v, %v", b, err)
		}
		if n++; n == 3 { // events that do not match move the position of the next ticks
			mustAppend(t, store.Store, Event{Type: "b"})
		}
		if b.Position == 1 {
			break
		}
	}
	if n <= 3 {
		t.Errorf("it ended after %d batches", n)
	}
}

func TestSubscribeBatchesEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	store := NewMemoryStore()
	mustAppend(t, store.Store, Event{Type: "a"}, Event{Type: "a", Data: json.RawMessage("1e400")}, Event{Type: "b"})
	first := func(ctx context.Context, query Query, opts ...ReadOption) (events int, err error) {
		for b, err := range store.SubscribeBatches(ctx, query, 0, opts...) {
			if err != nil {
				return events, err
			}
			if events += len(b.Events); b.CaughtUp {
				cancel()
			}
		}
		return events, nil
	}
	var undecoded *DecodeError
	if n, err := first(ctx, QueryAll()); n != 1 || !errors.As(err, &undecoded) || undecoded.Event.Position != 2 {
		t.Errorf("%d events, %v", n, err)
	}
	if _, err := first(ctx, QueryAll(), FromPosition(4)); !errors.Is(err, ErrHistoryRewound) {
		t.Error(err)
	}
	for _, opt := range []ReadOption{Backwards(), Before(9), Limit(0), Limit(-1)} {
		if _, err := first(ctx, QueryAll(), opt); !errors.Is(err, ErrInvalidArgument) {
			t.Error(err)
		}
	}
	if n, err := first(ctx, QueryAll(), FromPosition(2)); n != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d events, %v", n, err)
	}
	store.Close()
	if _, err := first(context.Background(), QueryAll()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// A subscription notices a restored backup also if it ticks more often than it looks.
func TestSubscribeBatchesNoticesARestore(t *testing.T) {
	store, restore := mustBackUpByShell(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var last error
	ticks := 0
	for b, err := range store.SubscribeBatches(ctx, QueryAll(), 20*time.Millisecond) {
		if last = err; err == nil && len(b.Events) == 0 {
			if ticks++; ticks == 1 {
				restore()
			}
		}
	}
	checkRewound(t, last, 1)
}

package dcb_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// counted is a model of all events of type A.
var counted = dcb.Projection[int]{
	Query:  dcb.NewQuery(dcb.QueryItem{Types: []string{"A"}}),
	Evolve: func(n int, _ dcb.SequencedEvent) int { return n + 1 },
}

func oneMore(n int) ([]dcb.Event, error) {
	return []dcb.Event{{Type: "A", Data: n + 1}}, nil
}

func TestADecisionReturnsWhatHappened(t *testing.T) {
	onEach(t, func(t *testing.T, store dcb.EventStore) {
		appendTo(t, store, dcb.Event{Type: "A"})
		got, err := dcb.Decide(ctx, store, counted, func(n int) ([]dcb.Event, error) {
			if n == 1 { // somebody else is faster, once
				appendTo(t, store, dcb.Event{Type: "A"})
			}
			return []dcb.Event{{Type: "A"}, {Type: "B"}, {Type: "C"}}, nil
		})
		if want := (dcb.Decision{First: 3, Last: 5, Attempts: 2}); got != want || err != nil {
			t.Errorf("got %+v, want %+v, %v", got, want, err)
		}
		got, err = dcb.Decide(ctx, store, counted, func(int) ([]dcb.Event, error) { return nil, nil })
		if want := (dcb.Decision{Attempts: 1}); got != want || err != nil {
			t.Errorf("without an event: got %+v, want %+v, %v", got, want, err)
		}
		got, err = dcb.Decide(ctx, store, counted, func(int) ([]dcb.Event, error) { return nil, errFull })
		if want := (dcb.Decision{Attempts: 1}); got != want || err != errFull {
			t.Errorf("rejected: got %+v, want %+v, %v", got, want, err)
		}
		withID := func(int) ([]dcb.Event, error) { return []dcb.Event{{Type: "D", ID: "d1"}}, nil }
		for i, want := range []dcb.Decision{{First: 6, Last: 6, Attempts: 1}, {First: 6, Last: 6, Attempts: 1, Repeated: true}} {
			if got, err := dcb.Decide(ctx, store, counted, withID); got != want || err != nil {
				t.Errorf("time %d with an id: got %+v, want %+v, %v", i, got, want, err)
			}
		}

		appendTo(t, store, dcb.Event{Type: "CourseDefined", Data: 1, Tags: []dcb.Tag{course("c1")}})
		handler := dcb.CommandHandler[seats, subscribe]{Decider: seatsDecider, Store: store}
		got, err = handler.Run(ctx, subscribe{"c1", "s1"})
		if want := (dcb.Decision{First: 8, Last: 8, Attempts: 1}); got != want || err != nil {
			t.Errorf("Run: got %+v, want %+v, %v", got, want, err)
		}
	})
}

// A store that implements no more than EventStore returns no positions.
func TestADecisionOnAPlainStore(t *testing.T) {
	store := &rival{EventStore: dcb.NewMemoryStore(), left: 1}
	handler := dcb.CommandHandler[seats, subscribe]{Decider: seatsDecider, Store: store}
	appendTo(t, store.EventStore, dcb.Event{Type: "CourseDefined", Data: 1, Tags: []dcb.Tag{course("c1")}})
	got, err := handler.Run(ctx, subscribe{"c1", "s1"}, dcb.WithRetry(dcb.RetryPolicy{MaxDelay: time.Microsecond}))
	if want := (dcb.Decision{Attempts: 2}); got != want || err != nil {
		t.Errorf("got %+v, want %+v, %v", got, want, err)
	}
}

// alwaysLosing decides on a store in which somebody else is always faster.
func alwaysLosing(ctx context.Context, policy dcb.RetryPolicy) error {
	store := &rival{EventStore: dcb.NewMemoryStore(), left: 1 << 30}
	handler := dcb.CommandHandler[seats, subscribe]{Decider: seatsDecider, Store: store, Retry: policy}
	if err := store.EventStore.Append(ctx, []dcb.Event{{Type: "CourseDefined", Data: 9, Tags: []dcb.Tag{course("c1")}}}); err != nil {
		return err
	}
	return handler.Handle(ctx, subscribe{"c1", "s1"})
}

func TestRetriesAreBoundedByTime(t *testing.T) {
	quick := dcb.RetryPolicy{MaxDelay: time.Millisecond}
	timed := quick
	timed.Timeout = 500 * time.Millisecond
	endless := quick
	endless.Timeout = -1
	for name, test := range map[string]struct {
		deadline   time.Duration
		policy     dcb.RetryPolicy
		isDeadline bool
	}{
		"by the deadline":            {500 * time.Millisecond, quick, true},
		"by the timeout":             {0, timed, false},
		"by the earlier of the two":  {time.Hour, timed, false},
		"by the deadline, endlessly": {500 * time.Millisecond, endless, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := ctx
			if test.deadline > 0 {
				bounded, cancel := context.WithTimeout(ctx, test.deadline)
				defer cancel()
				ctx = bounded
			}
			err := alwaysLosing(ctx, test.policy)
			var gaveUp *dcb.RetryError
			var failure *dcb.Error
			if !errors.As(err, &gaveUp) || !errors.As(err, &failure) || !errors.Is(err, dcb.ErrAppendConditionFailed) {
				t.Fatalf("got %v", err)
			}
			if failure.Status != dcb.StatusConditionFailed || failure.Position == 0 {
				t.Errorf("the conflict is %+v", failure)
			}
			if gaveUp.Attempts < 2 || gaveUp.Elapsed <= 0 || errors.Is(err, context.DeadlineExceeded) != test.isDeadline {
				t.Errorf("%d attempts in %v: %v", gaveUp.Attempts, gaveUp.Elapsed, err)
			}
		})
	}
}

func TestTheErrorOfADecisionThatGaveUp(t *testing.T) {
	for attempts, want := range map[int]string{1: "dcb: gave up after 1 attempt in ", 3: "dcb: gave up after 3 attempts in "} {
		err := alwaysLosing(ctx, dcb.RetryPolicy{Attempts: attempts, MaxDelay: time.Microsecond})
		if !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "condition_failed") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Each of many decisions on one counter gets its turn after a few attempts. Without the queue, the unluckiest
// one of a store over a driver loses more than fifty times.
func TestManyDecisionsOnOneCounter(t *testing.T) {
	onEach(t, func(t *testing.T, store dcb.EventStore) {
		const goroutines, each = 64, 5
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		var running sync.WaitGroup
		var attempts, most atomic.Int64
		for range goroutines {
			running.Add(1)
			go func() {
				defer running.Done()
				for range each {
					decision, err := dcb.Decide(ctx, store, counted, oneMore)
					if err != nil {
						t.Error(err)
					}
					n := int64(decision.Attempts)
					attempts.Add(n)
					for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
					}
				}
			}()
		}
		running.Wait()
		events, _, err := store.Read(ctx, counted.Query)
		if err != nil || len(events) != goroutines*each {
			t.Fatalf("%d events, %v", len(events), err)
		}
		for i, event := range events {
			if event.Data != float64(i+1) {
				t.Fatalf("event %d counts %v", i+1, event.Data)
			}
		}
		if most.Load() > 30 {
			t.Errorf("one decision lost %d times", most.Load()-1)
		}
		t.Logf("%d attempts for %d decisions, at most %d for one", attempts.Load(), goroutines*each, most.Load())
	})
}

// A decision made within another one, which that waits for, is not kept waiting by it for ever.
func TestADecisionWithinADecision(t *testing.T) {
	store := dcb.NewMemoryStore()
	var inner dcb.Decision
	outer, err := dcb.Decide(ctx, store, counted, func(n int) ([]dcb.Event, error) {
		switch n {
		case 0: // lose, and get a place in the queue
			appendTo(t, store, dcb.Event{Type: "A"})
		case 1:
			var err error
			if inner, err = dcb.Decide(ctx, store, counted, oneMore); err != nil {
				return nil, err
			}
		}
		return oneMore(n)
	})
	if err != nil || inner.First != 2 || outer.First != 3 || outer.Attempts != 3 {
		t.Errorf("the inner is %+v, the outer %+v, %v", inner, outer, err)
	}
}

package dcb

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

type recorder struct {
	mu         sync.Mutex
	operations []Operation
}

func (r *recorder) Observe(_ context.Context, operation Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations, operation)
}

func TestObserver(t *testing.T) {
	ctx := context.Background()
	var seen recorder
	var counters Counters
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	store := mustOpen(t, "memory:", WithObserver(Observers(&seen, &counters, SlogObserver(logger))))

	mustAppend(t, store, Event{Type: "A"}, Event{Type: "A"})
	conflict := store.Append(ctx, []Event{{Type: "B"}}, AppendCondition{})
	wrong := store.Append(ctx, nil)
	for range store.Events(ctx, QueryAll()) {
	}
	for range store.Events(ctx, QueryAll()) {
		break
	}
	if _, err := store.Wait(ctx, 1); err != nil { // returns at once
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	go func() {
		untilWaiting(store, 1)
		cancel()
	}()
	_, cancelled := store.Wait(ended, 2)

	want := []Operation{
		{Kind: OperationAppend, Events: 2, Position: 2},
		{Kind: OperationAppend, Err: conflict},
		{Kind: OperationAppend, Err: wrong},
		{Kind: OperationRead, Events: 2, Position: 2},
		{Kind: OperationRead, Events: 1},
		{Kind: OperationWait, Err: cancelled},
	}
	for i, got := range seen.operations {
		if got.Start.IsZero() || got.Duration < 0 {
			t.Errorf("operation %d began %v and took %v", i, got.Start, got.Duration)
		}
		got.Start, got.Duration = time.Time{}, 0
		if i >= len(want) || got != want[i] {
			t.Errorf("operation %d is %+v", i, got)
		}
	}
	if len(seen.operations) != len(want) {
		t.Errorf("%d operations, want %d", len(seen.operations), len(want))
	}

	for name, count := range map[string][2]int64{
		"appends":         {counters.Appends.Load(), 1},
		"events appended": {counters.EventsAppended.Load(), 2},
		"conflicts":       {counters.Conflicts.Load(), 1},
		"failures":        {counters.Failures.Load(), 1},
		"reads":           {counters.Reads.Load(), 2},
		"events read":     {counters.EventsRead.Load(), 3},
		"waits":           {counters.Waits.Load(), 1},
	} {
		if count[0] != count[1] {
			t.Errorf("%s: %d, want %d", name, count[0], count[1])
		}
	}
	if counters.WaitNanoseconds.Load() <= 0 {
		t.Errorf("waited %d ns", counters.WaitNanoseconds.Load())
	}

	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	for i, part := range []string{
		`level=DEBUG msg="dcb append"`, `level=DEBUG msg="dcb append"`, `level=ERROR msg="dcb append"`,
		`level=DEBUG msg="dcb read"`, `events=1`, `level=DEBUG msg="dcb wait"`,
	} {
		if i >= len(lines) || !strings.Contains(lines[i], part) {
			t.Fatalf("line %d of the log has no %s:\n%s", i, part, log.String())
		}
	}
}

func TestObserverIsToldOfDecisions(t *testing.T) {
	refusal := errors.New("refused")
	for name, test := range map[string]struct {
		rivals  int // conflicting appends in between
		decided []Event
		refusal error
		policy  RetryPolicy
		want    Operation
		kinds   []OperationKind // in the order in which they end
	}{
		"appended": {
			decided: []Event{{Type: "A"}, {Type: "A"}},
			want:    Operation{Attempt: 1, Events: 2},
			kinds:   []OperationKind{OperationRead, OperationAppend, OperationDecide},
		},
		"nothing to append": {
			want:  Operation{Attempt: 1},
			kinds: []OperationKind{OperationRead, OperationDecide},
		},
		"refused": {
			refusal: refusal,
			want:    Operation{Attempt: 1, Err: refusal, Refused: true},
			kinds:   []OperationKind{OperationRead, OperationDecide},
		},
		"after a conflict": {
			rivals:  1,
			decided: []Event{{Type: "A"}},
			want:    Operation{Attempt: 2, Events: 1},
			kinds: []OperationKind{
				OperationRead, OperationAppend, OperationRetry, OperationRead, OperationAppend, OperationDecide,
			},
		},
		"given up": {
			rivals:  1,
			decided: []Event{{Type: "A"}},
			policy:  RetryPolicy{Attempts: 1},
			want:    Operation{Attempt: 1, Err: ErrAppendConditionFailed},
			kinds:   []OperationKind{OperationRead, OperationAppend, OperationDecide},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var seen recorder
			var counters Counters
			store := mustOpen(t, "memory:", WithObserver(Observers(&seen, &counters)))
			rivals := test.rivals
			model := Projection[int]{Evolve: func(n int, _ SequencedEvent) int { return n + 1 }}
			_, err := Decide(context.Background(), &MemoryStore{store}, model, func(int) ([]Event, error) {
				for ; rivals > 0; rivals-- {
					if _, err := store.h.append(context.Background(), []byte(`{"events":[{"type":"R"}]}`)); err != nil {
						t.Fatal(err)
					}
				}
				return test.decided, test.refusal
			}, WithRetry(test.policy))
			if !errors.Is(err, test.want.Err) {
				t.Errorf("it returned %v", err)
			}
			for i, got := range seen.operations {
				if i >= len(test.kinds) || got.Kind != test.kinds[i] {
					t.Fatalf("operation %d is %+v", i, got)
				}
				if got.Start.IsZero() || got.Duration < 0 {
					t.Errorf("operation %d began %v and took %v", i, got.Start, got.Duration)
				}
				switch got.Kind {
				case OperationRetry:
					if got.Attempt != 1 || got.Duration <= 0 || !errors.Is(got.Err, ErrAppendConditionFailed) {
						t.Errorf("got %+v", got)
					}
				case OperationDecide:
					if !errors.Is(got.Err, test.want.Err) || got.Failed(context.Background()) {
						t.Errorf("the error is %v", got.Err)
					}
					want := test.want
					want.Kind, want.Start, want.Duration, want.Err = got.Kind, got.Start, got.Duration, got.Err
					if got != want {
						t.Errorf("got %+v, want %+v", got, want)
					}
				}
			}
			if len(seen.operations) != len(test.kinds) {
				t.Errorf("%d operations, want %d", len(seen.operations), len(test.kinds))
			}
			retries := int64(max(0, test.want.Attempt-1))
			if counters.Retries.Load() != retries || counters.Conflicts.Load() != int64(test.rivals) || counters.Failures.Load() != 0 {
				t.Errorf("%d retries, %d conflicts, %d failures",
					counters.Retries.Load(), counters.Conflicts.Load(), counters.Failures.Load())
			}
		})
	}
}

func TestADecisionThatTheStoreFails(t *testing.T) {
	var seen recorder
	var counters Counters
	store := mustOpen(t, "memory:", WithObserver(Observers(&seen, &counters)))
	model := Projection[int]{Evolve: func(n int, _ SequencedEvent) int { return n }}
	_, err := Decide(context.Background(), store, model, func(int) ([]Event, error) {
		return []Event{{Type: ""}}, nil
	})
	last := seen.operations[len(seen.operations)-1]
	if !errors.Is(err, ErrInvalidArgument) || last.Kind != OperationDecide || last.Err != err || !last.Failed(context.Background()) {
		t.Errorf("%v, and the observer was told %+v", err, last)
	}
	if counters.Failures.Load() != 1 {
		t.Errorf("%d failures, want that of the append alone", counters.Failures.Load())
	}
}

// decorated is a store that a program has wrapped.
type decorated struct{ EventStore }

// unwrapping is one that returns what it wraps.
type unwrapping struct{ EventStore }

func (u unwrapping) Unwrap() EventStore { return u.EventStore }

func TestObserverOfAWrappedStore(t *testing.T) {
	var counters Counters
	var seen recorder
	store := mustOpen(t, "memory:", WithObserver(Observers(&seen, &counters)))
	model := Projection[int]{Evolve: func(n int, _ SequencedEvent) int { return n }}
	for i, test := range []struct {
		store  EventStore
		isSeen bool
	}{
		{store, true},
		{unwrapping{store}, true},
		{unwrapping{unwrapping{&MemoryStore{store}}}, true},
		{decorated{store}, false}, // has no method Unwrap
		{unwrapping{decorated{store}}, false},
	} {
		seen.operations = nil
		if _, err := Decide(context.Background(), test.store, model, func(int) ([]Event, error) { return nil, nil }); err != nil {
			t.Fatal(err)
		}
		last := seen.operations[len(seen.operations)-1]
		if isSeen := last.Kind == OperationDecide; isSeen != test.isSeen {
			t.Errorf("store %d: the observer saw %+v", i, seen.operations)
		}
	}
}

// nesting records which operations contain each operation.
type nesting struct {
	recorder
	within  []string
	started func(OperationKind)
}

type nestingKey struct{}

func (n *nesting) ObserveStart(ctx context.Context, kind OperationKind) context.Context {
	n.started(kind)
	outer, _ := ctx.Value(nestingKey{}).(string)
	return context.WithValue(ctx, nestingKey{}, outer+"/"+string(kind))
}

func (n *nesting) Observe(ctx context.Context, operation Operation) {
	n.recorder.Observe(ctx, operation)
	path, _ := ctx.Value(nestingKey{}).(string)
	n.within = append(n.within, path)
}

func TestStartObserver(t *testing.T) {
	ctx := context.WithValue(context.Background(), nestingKey{}, "caller")
	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := nesting{started: func(kind OperationKind) {
		if kind == OperationWait {
			cancel()
		}
	}}
	store := mustOpen(t, "memory:", WithObserver(Observers(&Counters{}, &seen)))
	first := true
	handler := CommandHandler[int, string]{
		Store: store,
		Decider: Decider[int, string]{
			Query:  func(string) Query { return QueryAll() },
			Evolve: func(n int, _ SequencedEvent) int { return n + 1 },
			Decide: func(int, string) ([]Event, error) {
				if first {
					first = false
					mustAppend(t, store, Event{Type: "rival"})
				}
				return []Event{{Type: "A"}}, nil
			},
		},
	}
	if err := handler.Handle(ctx, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Wait(ended, 2); err != context.Canceled {
		t.Errorf("the wait ended with %v", err)
	}
	want := []string{
		"caller/decide/read", "/append", "caller/decide/append", "caller/decide", "caller/decide/read",
		"caller/decide/append", "caller/decide", "caller/wait",
	}
	if !slices.Equal(seen.within, want) {
		t.Errorf("got %q, want %q", seen.within, want)
	}
}

package dcb

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
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
	if _, err := store.Wait(ctx, 1); err != nil { // which need not wait
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

func TestObserverIsToldOfRetries(t *testing.T) {
	var seen recorder
	var counters Counters
	store := mustOpen(t, "memory:", WithObserver(Observers(&seen, &counters)))
	first := true
	model := Projection[int]{Evolve: func(n int, _ SequencedEvent) int { return n + 1 }}
	err := Decide(context.Background(), &MemoryStore{store}, model, func(int) ([]Event, error) {
		if first {
			first = false
			mustAppend(t, store, Event{Type: "rival"})
		}
		return []Event{{Type: "A"}}, nil
	})
	if err != nil || counters.Retries.Load() != 1 || counters.Conflicts.Load() != 1 {
		t.Errorf("%d retries, %d conflicts, %v", counters.Retries.Load(), counters.Conflicts.Load(), err)
	}
	for _, got := range seen.operations {
		if got.Kind == OperationRetry && (got.Attempt != 1 || got.Duration <= 0 || !errors.Is(got.Err, ErrAppendConditionFailed)) {
			t.Errorf("got %+v", got)
		}
	}
}

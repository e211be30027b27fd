package dcb

import (
	"context"
	"testing"
)

// isNext reports whether the turn has nobody to wait for.
func (t *turns) isNext(p *turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return p.blockers == 0
}

func TestTheOldestLoserGoesNext(t *testing.T) {
	about := func(tag string) Query { return NewQuery(QueryItem{Tags: []Tag{ParseTag(tag)}}) }
	event := func(tags ...string) []Event {
		var e Event
		for _, tag := range tags {
			e.Tags = append(e.Tags, ParseTag(tag))
		}
		return []Event{e}
	}
	var queue turns
	if queue.visit([]Query{about("c:1")}) != nil {
		t.Error("the first decision waits")
	}
	first := queue.enter([]Query{about("c:1")}, event("c:1", "s:1"))
	second := queue.enter([]Query{about("c:1")}, event("c:1", "s:2"))
	other := queue.enter([]Query{about("c:2")}, event("c:2", "s:1"))
	student := queue.enter([]Query{about("s:1")}, event("s:1")) // what first and other append concerns it
	visitor := queue.visit([]Query{about("c:2")})
	if queue.visit([]Query{about("c:3")}) != nil {
		t.Error("a decision waits that none affects")
	}
	check := func(step string, want ...bool) {
		t.Helper()
		for i, p := range []*turn{first, second, other, student, visitor} {
			if queue.isNext(p) != want[i] {
				t.Errorf("%s: turn %d is next: %v", step, i, !want[i])
			}
		}
	}
	check("at first", true, false, true, false, false)
	queue.leave(first)
	check("after the first", true, true, true, false, false)
	queue.leave(other)
	check("after the other", true, true, true, true, true)
	for _, p := range []*turn{second, student} {
		if err := queue.wait(context.Background(), p); err != nil {
			t.Error(err)
		}
		queue.leave(p)
	}
	if queue.waiting.Load() != 0 || len(queue.places) != 0 {
		t.Errorf("%d places are left", len(queue.places))
	}

	blocker := queue.enter([]Query{about("c:1")}, event("c:1"))
	defer queue.leave(blocker)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := queue.wait(ctx, queue.visit([]Query{about("c:1")})); err != context.Canceled {
		t.Errorf("the wait of a context that is over: %v", err)
	}
	if err := queue.wait(context.Background(), queue.visit([]Query{about("c:1")})); err != nil {
		t.Errorf("the wait for one that does not finish: %v", err)
	}
}

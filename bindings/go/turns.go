package dcb

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// turns orders the decisions of a store that have lost to another one at least once: the oldest of them goes
// next. A decision waits for each older loser that is going to append an event which it must not miss. It
// would lose to that one, or make it lose again. Decisions that do not affect each other never wait.
//
// This is about who goes first, and no more: whether an append conflicts is up to its conditions alone.
//
// The zero turns is ready to use.
type turns struct {
	// waiting is the number of places, so that a decision sees without the lock that there is none.
	waiting atomic.Int32

	mu     sync.Mutex
	places []*turn // the oldest first
}

// turn is the place of a decision among the turns.
type turn struct {
	// expected holds what the decision appends if it decides as it did before it lost.
	expected []SequencedEvent
	// guards are the queries of its conditions.
	guards []Query

	// blockers is the number of older places to wait for, and blocks holds the younger ones that wait for
	// this one; both are guarded by turns.mu.
	blockers int
	blocks   []*turn
	// moved is full if a blocker has left.
	moved chan struct{}
}

// stuckAfter is how long a decision waits for one that does not finish. That one may be slow, or it may even
// wait for this decision, which was made within it.
const stuckAfter = 250 * time.Millisecond

// enter takes the last place for a decision that lost. The caller gives it up with leave.
func (t *turns) enter(guards []Query, decided []Event) *turn {
	expected := make([]SequencedEvent, len(decided))
	for i, event := range decided {
		expected[i] = SequencedEvent{Type: event.Type, Tags: event.Tags}
	}
	p := &turn{expected: expected, guards: guards, moved: make(chan struct{}, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.block(p)
	t.places = append(t.places, p)
	t.waiting.Add(1)
	return p
}

// visit returns a place for a decision that begins, or nil if it has nobody to wait for. Nobody waits for that
// place.
func (t *turns) visit(guards []Query) *turn {
	if t.waiting.Load() == 0 {
		return nil
	}
	p := &turn{guards: guards, moved: make(chan struct{}, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.block(p); p.blockers == 0 {
		return nil
	}
	return p
}

// block makes p wait for the places that it would lose to. The caller holds t.mu.
func (t *turns) block(p *turn) {
	for _, older := range t.places {
		if older.defeats(p) {
			older.blocks = append(older.blocks, p)
			p.blockers++
		}
	}
}

// defeats reports whether a guard of other matches an event that p is going to append.
func (p *turn) defeats(other *turn) bool {
	for _, event := range p.expected {
		for _, guard := range other.guards {
			if guard.Matches(event) {
				return true
			}
		}
	}
	return false
}

// wait waits until it is the turn of p. It stops waiting if the decisions before it do not get on.
func (t *turns) wait(ctx context.Context, p *turn) error {
	stuck := time.NewTimer(stuckAfter)
	defer stuck.Stop()
	for {
		t.mu.Lock()
		isNext := p.blockers == 0
		t.mu.Unlock()
		if isNext {
			return nil
		}
		stuck.Reset(stuckAfter)
		select {
		case <-p.moved:
		case <-stuck.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leave gives up the place.
func (t *turns) leave(p *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, other := range t.places {
		if other == p {
			t.places = append(t.places[:i], t.places[i+1:]...)
			t.waiting.Add(-1)
			break
		}
	}
	for _, younger := range p.blocks {
		younger.blockers--
		select {
		case younger.moved <- struct{}{}:
		default:
		}
	}
}

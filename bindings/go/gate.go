package dcb

import (
	"context"
	"sync"
)

// gate orders the writes of a store over a *sql.DB: any number of appends at once, which the library commits
// together, or one transaction of [SQLiteStore.InTx]. Who comes first enters first. SQLite itself lets those
// that wait for its lock try in turn, so a transaction beside many appends would hardly ever get it.
//
// The zero gate is ready to use.
type gate struct {
	mu sync.Mutex
	// appends is the number of appends that are inside, and isTaken is set while a transaction is.
	appends int
	isTaken bool
	queue   []*entrant
}

// entrant waits to enter.
type entrant struct {
	isTransaction bool
	entered       chan struct{}
}

// enter waits until the append or the transaction may write, or the context ends. The caller ends it with leave.
func (g *gate) enter(ctx context.Context, isTransaction bool) error {
	g.mu.Lock()
	if g.passes(isTransaction) {
		g.mu.Unlock()
		return nil
	}
	e := &entrant{isTransaction, make(chan struct{})}
	g.queue = append(g.queue, e)
	g.mu.Unlock()
	select {
	case <-e.entered:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, other := range g.queue {
		if other == e {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			g.advance() // e may have been what the others waited for
			return ctx.Err()
		}
	}
	return nil // it has just entered
}

// tryEnter enters if that needs no waiting.
func (g *gate) tryEnter(isTransaction bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.passes(isTransaction)
}

// passes lets in an append or a transaction if it is its turn. The caller holds g.mu.
func (g *gate) passes(isTransaction bool) bool {
	if len(g.queue) > 0 || !g.admits(isTransaction) {
		return false
	}
	g.admit(isTransaction)
	return true
}

func (g *gate) leave(isTransaction bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if isTransaction {
		g.isTaken = false
	} else {
		g.appends--
	}
	g.advance()
}

// advance lets in whoever may enter, in the order of the queue. The caller holds g.mu.
func (g *gate) advance() {
	for len(g.queue) > 0 && g.admits(g.queue[0].isTransaction) {
		g.admit(g.queue[0].isTransaction)
		close(g.queue[0].entered)
		g.queue = g.queue[1:]
	}
}

func (g *gate) admits(isTransaction bool) bool {
	return !g.isTaken && (!isTransaction || g.appends == 0)
}

func (g *gate) admit(isTransaction bool) {
	if isTransaction {
		g.isTaken = true
	} else {
		g.appends++
	}
}

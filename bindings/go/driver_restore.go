package dcb

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"time"
)

// While the library appends in a transaction of the caller's, it sets the connection's busy timeout to 0. If
// the transaction ends meanwhile, because its context does or another goroutine rolls it back, database/sql
// puts the connection back into the pool as it is, and the library can no longer reach it through the
// transaction. The package then finds the connection in the pool and restores the timeout there. It does the
// same if the driver fails to restore it.

const (
	clearsBusyTimeout = "PRAGMA busy_timeout = 0"
	setsBusyTimeout   = "PRAGMA busy_timeout = "
)

// txTimeout follows the busy timeout of the connection while the library uses a transaction of the caller's.
type txTimeout struct {
	isCleared bool
	// unrestored is the statement that should have restored it, and failed.
	unrestored string
}

// follow is called after each statement that was run in the transaction.
func (t *txTimeout) follow(statement string, err error) {
	switch {
	case statement == clearsBusyTimeout:
		t.isCleared = t.isCleared || !errors.Is(err, sql.ErrTxDone)
	case !t.isCleared || !strings.HasPrefix(statement, setsBusyTimeout):
	case err == nil:
		t.isCleared, t.unrestored = false, ""
	default:
		t.unrestored = statement
	}
}

// restores are the statements that are still to be run on connections of a pool.
type restores struct {
	mu      sync.Mutex
	pending []restore
}

type restore struct {
	statement string
	since     time.Time
}

// maxRestoreAge is how long a restore is pending. The pool may have closed its connection, and the program may
// set a busy timeout of 0 on another one itself.
const maxRestoreAge = time.Minute

func (r *restores) add(one restore) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = append(r.pending, one)
}

// take removes a pending restore and returns it.
func (r *restores) take() (one restore, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.pending) > 0 && !ok {
		one, r.pending = r.pending[0], r.pending[1:]
		ok = time.Since(one.since) < maxRestoreAge
	}
	return one, ok
}

// apply runs a pending restore on the connection if its busy timeout is 0. It reports whether none is pending
// any more.
func (r *restores) apply(conn *sql.Conn) (areDone bool) {
	one, ok := r.take()
	if !ok {
		return true
	}
	defer func() { _ = recover() }() // a driver that panics here does so again in the call, which reports it
	ctx := context.Background()
	timeout := -1
	if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&timeout); err == nil && timeout == 0 {
		if _, err := conn.ExecContext(ctx, one.statement); err == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.pending) == 0
		}
	}
	r.add(one)
	return false
}

// restoreLater sees to it that the statement is run on the connection of tx.
func (h *host) restoreLater(tx *sql.Tx, statement string) {
	_, err := tx.ExecContext(context.Background(), statement) // an error of the driver may have passed
	if err == nil {
		return
	}
	h.restores.add(restore{statement, time.Now()})
	if errors.Is(err, sql.ErrTxDone) {
		h.restorePool()
	}
}

// restorePool applies the pending restores to the idle connections of the pool. It tries for a moment, since
// database/sql may not have put the connection back yet. If the program has taken it out again, a later call
// of the store that is lent it restores it.
func (h *host) restorePool() {
	for deadline := time.Now().Add(100 * time.Millisecond); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if h.restoreIdle() {
			return
		}
	}
}

func (h *host) restoreIdle() (areDone bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	for range h.db.Stats().Idle {
		conn, err := h.db.Conn(ctx)
		if err != nil {
			return false
		}
		defer conn.Close() // only at the end, so that the pool gives the others
		if h.restores.apply(conn) {
			return true
		}
	}
	return false
}

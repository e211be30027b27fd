package dcb

import (
	"context"
	"sync"
	"time"
)

// watch lets any number of goroutines wait for events with one thread in the library.
type watch struct {
	mu    sync.Mutex
	head  int64  // the highest that a wait has found
	round *round // the wait that runs, nil if none does
}

// round is one wait in the library, and those who wait for its end.
type round struct {
	waiting int
	cancel  *cancel
	done    chan struct{}
	err     error // once done
}

// linger is how long a wait that nobody waits for any more goes on: those who wait again and
// again for a short time do not begin and cancel one each time.
const linger = time.Second

// await returns the head as soon as it is above after.
func (h *handle) await(ctx context.Context, after int64) (int64, error) {
	w := &h.watch
	for {
		w.mu.Lock()
		// Under mu: what begins before the store closes is seen by stop.
		if h.closing.Load() {
			w.mu.Unlock()
			return 0, closed()
		}
		if head := w.head; head > after {
			w.mu.Unlock()
			return head, nil
		}
		r := w.round
		if r == nil {
			r = &round{cancel: newCancel(), done: make(chan struct{})}
			w.round = r
			go h.run(r, w.head)
		}
		r.waiting++
		w.mu.Unlock()

		select {
		case <-r.done:
			if r.err != nil {
				return 0, r.err
			}
		case <-ctx.Done():
			w.abandon(r)
			return 0, ctx.Err()
		}
	}
}

func (h *handle) run(r *round, after int64) {
	head, err := h.wait(after, r.cancel)
	w := &h.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.round == r {
		w.round = nil
	}
	if err != nil && h.closing.Load() {
		err = closed()
	}
	r.err = err
	w.head = max(w.head, head)
	close(r.done)
}

func (w *watch) abandon(r *round) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.waiting--; r.waiting > 0 || w.round != r {
		return
	}
	time.AfterFunc(linger, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.round == r && r.waiting == 0 {
			w.round = nil
			r.cancel.trigger()
		}
	})
}

// stop ends the wait that runs; it is for good where the store is closing.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.round != nil {
		w.round.cancel.trigger()
	}
}

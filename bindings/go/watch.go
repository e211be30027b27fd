package dcb

import (
	"context"
	"sync"
	"time"
)

// watch lets any number of goroutines wait for events while one thread waits in the library.
type watch struct {
	mu    sync.Mutex
	head  int64  // the highest head that a wait has returned
	round *round // the wait that runs, nil if none does

	looking  sync.Mutex
	looked   time.Time // when the last look began that found a head
	lookHead int64     // the head that it found
}

// look returns a head that was read after since. One goroutine reads it for all that ask at about the same time.
func (w *watch) look(since time.Time, read func() (int64, error)) (int64, error) {
	w.looking.Lock()
	defer w.looking.Unlock()
	if w.looked.After(since) {
		return w.lookHead, nil
	}
	began := time.Now()
	head, err := read()
	if err == nil {
		w.looked, w.lookHead = began, head
	}
	return head, err
}

// round is one wait in the library.
type round struct {
	waiting int // goroutines that wait for its end
	cancel  *cancel
	done    chan struct{}
	err     error // set before done is closed
}

// linger is how long a round goes on after the last goroutine has left it, so that goroutines which
// wait repeatedly for a short time do not start and cancel a round each time.
const linger = time.Second

// await returns the head as soon as it is above after.
func (h *handle) await(ctx context.Context, after int64) (int64, error) {
	w := &h.watch
	for {
		w.mu.Lock()
		// Under mu, so that stop sees every round that began before the store closes.
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

// run waits in the library for the round and ends it.
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

// abandon takes one goroutine out of the round.
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

// stop ends the round that runs. No other begins if the store is closing.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.round != nil {
		w.round.cancel.trigger()
	}
}

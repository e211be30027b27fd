package dcb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"time"
)

// Wait returns the head as soon as it is above after, which must be -1 or more; -1 means the same as 0.
// It sees appends of this process at once, and those of other processes within 25 milliseconds. Its
// only limit is its context: it returns the context's error, or [ErrClosed] once the store is closed.
//
// However many goroutines wait and subscribe, one thread of the store waits for all of them.
func (s *Store) Wait(ctx context.Context, after int64) (int64, error) {
	if after < -1 {
		return 0, invalid("after: must be -1 or more")
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	after = max(after, 0)
	defer runtime.KeepAlive(s)
	look, stop := s.untilClosing(ctx)
	defer stop()
	// This look returns the present head; the waits of others may have seen an older one.
	head, err := s.handle().head(look, -1)
	if err == nil && head <= after {
		return s.await(ctx, after)
	}
	return head, s.ended(ctx, err)
}

// untilClosing returns a context that ends with ctx or when the store begins to close. Calls that may
// wait without limit run with it.
func (s *Store) untilClosing(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	h := s.handle()
	if h == nil {
		return ctx, cancel
	}
	stop := context.AfterFunc(h.closingCtx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// ended returns the error of a call that waits: [ErrClosed] if the store began to close, and the
// context's own error if ctx ended the call.
func (s *Store) ended(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	cause := ctx.Err()
	if h := s.handle(); h != nil && h.closing.Load() && cause == nil {
		return closed()
	}
	if cause != nil && errors.Is(err, cause) {
		return cause
	}
	return err
}

// await returns a head above after. The store has been open.
func (s *Store) await(ctx context.Context, after int64) (int64, error) {
	defer runtime.KeepAlive(s)
	op := s.observe(ctx, OperationWait)
	head, err := s.h.await(op.ctx, after)
	op.end(0, head, err)
	return head, err
}

// Subscribe returns an iterator over the matching events: first those that are stored, then new ones as
// they are appended. It skips none and repeats none. It ends with the context's error, with [ErrClosed]
// once the store is closed, or after as many events as [Limit] says. To resume a subscription, pass
// [FromPosition] with the position of the last event that was processed.
//
// If at least four subscriptions follow the head of a store, one read fetches each new event for all of them.
//
// [Backwards] and [Before] are errors, since a subscription has no end.
//
// It ends with [ErrHistoryRewound] if the head of the store is lower than the position from which it goes on,
// since it would miss the events up to that position. It looks when it begins, and once a second while it
// waits. A standby that is behind is no reason: the primary is asked, too. It does not notice a history that was
// rewound and has grown beyond the position before it looks.
func (s *Store) Subscribe(ctx context.Context, query Query, opts ...ReadOption) iter.Seq2[SequencedEvent, error] {
	return s.decoded(s.SubscribeRaw(ctx, query, opts...))
}

// SubscribeRaw is like [Store.Subscribe] but does not decode the events.
func (s *Store) SubscribeRaw(ctx context.Context, query Query, opts ...ReadOption) iter.Seq2[RawEvent, error] {
	return func(yield func(RawEvent, error) bool) {
		err := s.follow(ctx, query, newReadOptions(opts), func(raw *RawEvent) bool {
			return yield(*raw, nil)
		})
		if err != nil {
			yield(RawEvent{}, s.ended(ctx, err))
		}
	}
}

// follow calls take with each event until take returns false. Catching up and following are one loop of
// reads and waits, so there is no moment between them in which an event could be missed.
func (s *Store) follow(ctx context.Context, query Query, options readOptions, take func(*RawEvent) bool) error {
	ctx, stop, err := s.beginFollowing(ctx, options)
	defer stop()
	if err != nil {
		return err
	}
	deliver := func(raw *RawEvent) (goesOn bool) {
		if options.limit != nil {
			*options.limit--
		}
		return take(raw) && (options.limit == nil || *options.limit > 0)
	}
	h := s.handle()
	announced := int64(0) // the head that the last wait returned
	var known time.Time   // when the position was read
	for {
		position, goesOn, err := options.after, true, error(nil)
		if announced > 0 {
			position, goesOn, err = s.followShared(ctx, query, options.after, &known, deliver)
		}
		if err != nil || !goesOn {
			return err
		}
		if position > options.after {
			options.after = position
		} else {
			goesOn = options.limit == nil || *options.limit > 0
			position, err = s.read(ctx, query, options, -1, func(raw *RawEvent) bool {
				goesOn = deliver(raw)
				return goesOn
			})
			if err != nil || !goesOn {
				return err
			}
			if position < announced {
				// A read to the end reaches every head that a wait has returned before it.
				return rewound(announced, position)
			}
			options.after, known = position, time.Now()
		}
		if announced == 0 {
			h.followers.add(1)
			defer h.followers.add(-1)
		}
		if announced, err = s.awaitInHistory(ctx, options.after); err != nil {
			return err
		}
	}
}

// beginFollowing checks the options of a subscription, and that its position is not beyond the head. The
// subscription runs with the context that it returns, and ends with stop in any case.
func (s *Store) beginFollowing(ctx context.Context, options readOptions) (_ context.Context, stop func(), err error) {
	if options.backwards || options.before != nil {
		return ctx, func() {}, invalid("a subscription goes forward, without an end")
	}
	ctx, stop = s.untilClosing(ctx)
	if options.after > 0 && ctx.Err() == nil {
		head, err := s.handle().head(ctx, -1)
		if err != nil {
			return ctx, stop, err
		}
		if head < options.after {
			return ctx, stop, s.expectSeen(ctx, options.after, head, -1)
		}
	}
	return ctx, stop, nil
}

// lookInterval is how often a subscription that waits looks whether the history was rewound.
const lookInterval = time.Second

// awaitInHistory is like await, and fails if the head becomes lower than after meanwhile.
func (s *Store) awaitInHistory(ctx context.Context, after int64) (head int64, err error) {
	defer runtime.KeepAlive(s)
	op := s.observe(ctx, OperationWait)
	defer func() { op.end(0, head, err) }()
	for {
		begun := time.Now()
		interval, cancel := context.WithTimeout(op.ctx, lookInterval)
		head, err := s.h.await(interval, after)
		cancel()
		if op.ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return head, err
		}
		if err := s.checkHistory(op.ctx, after, begun); err != nil {
			return 0, err
		}
	}
}

// checkHistory fails if a head that was read after since is lower than after. It looks only if it need not
// wait: while a lock is held, no connection is free, or a server is down or silent, the next look is soon enough.
func (s *Store) checkHistory(ctx context.Context, after int64, since time.Time) error {
	look, stop := withoutDeadline(ctx)
	defer stop()
	head, err := s.h.watch.look(since, func() (int64, error) { return s.h.head(look, 0) })
	if err == nil && head < after {
		err = s.expectSeen(look, after, head, 0)
	}
	if errors.Is(err, ErrBusy) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrTimeout) {
		return nil
	}
	return err
}

// expectSeen fails if the store does not have the position after, which is above a head that was read. The
// head of a standby says little, since it may be behind. A read of the event asks the primary, too.
func (s *Store) expectSeen(ctx context.Context, after, head, timeoutMS int64) error {
	found, one := false, int64(1)
	_, err := s.read(ctx, QueryAll(), readOptions{after: after - 1, limit: &one}, timeoutMS, func(raw *RawEvent) bool {
		found = raw.Position == after
		return true
	})
	if err != nil || found {
		return err
	}
	return rewound(after, head)
}

// withoutDeadline returns a context that ends with ctx but has no deadline, so that a call may be told not to wait.
func withoutDeadline(ctx context.Context) (context.Context, func()) {
	without, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	return without, func() {
		stop()
		cancel()
	}
}

// rewound returns the error of a subscription that has seen the position after.
func rewound(after, head int64) error {
	return &Error{
		Status:   StatusCorrupt,
		Position: head,
		Message: fmt.Sprintf("the history was rewound: the subscription has seen position %d, and the head is %d; "+
			"read the store again from the start", after, head),
		cause: ErrHistoryRewound,
	}
}

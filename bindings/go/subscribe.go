package dcb

import (
	"context"
	"errors"
	"iter"
	"runtime"
)

// Wait returns the head as soon as it is above after, which is -1 or more; -1 is as 0. It sees
// appends of this process at once and of others within some 25 milliseconds. It ends with the context's error, or [ErrClosed].
//
// However many goroutines wait and subscribe, the store waits with one thread.
func (s *Store) Wait(ctx context.Context, after int64) (int64, error) {
	if after < -1 {
		return 0, invalid("after: must be -1 or more")
	}
	after = max(after, 0)
	// What is there already is told exactly; the waits of others may have seen an older head.
	if head, err := s.Head(ctx); err != nil || head > after {
		return head, ended(ctx, err)
	}
	return s.await(ctx, after)
}

// ended gives the context's own error where that is what ended a call that waits.
func ended(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && errors.Is(err, cause) {
		return cause
	}
	return err
}

// await returns a head above after. The store has been seen open.
func (s *Store) await(ctx context.Context, after int64) (int64, error) {
	defer runtime.KeepAlive(s)
	op := s.observe(ctx, OperationWait)
	head, err := s.h.await(op.ctx, after)
	op.end(0, head, err)
	return head, err
}

// Subscribe gives the matching events that are stored, and then those that come, as they come: none
// is missed, none comes twice. It ends with the context's error, with [ErrClosed] when the store is
// closed, or after as many events as [Limit] says. [FromPosition] takes up where an earlier
// subscription was left: at the position of the last event that was dealt with.
//
// Catching up and following are one loop of reads and waits, so there is no moment between them.
// There is no end to look backwards from: [Backwards] and [Before] are errors.
func (s *Store) Subscribe(ctx context.Context, query Query, opts ...ReadOption) iter.Seq2[SequencedEvent, error] {
	return s.decoded(s.SubscribeRaw(ctx, query, opts...))
}

// SubscribeRaw is Subscribe without decoding.
func (s *Store) SubscribeRaw(ctx context.Context, query Query, opts ...ReadOption) iter.Seq2[RawEvent, error] {
	return func(yield func(RawEvent, error) bool) {
		err := s.follow(ctx, query, newReadOptions(opts), func(raw *RawEvent) bool {
			return yield(*raw, nil)
		})
		if err == nil {
			return
		}
		if h := s.handle(); h != nil && h.closing.Load() && ctx.Err() == nil {
			err = closed()
		}
		yield(RawEvent{}, ended(ctx, err))
	}
}

// follow gives take each event, until that refuses one.
func (s *Store) follow(ctx context.Context, query Query, options readOptions, take func(*RawEvent) bool) error {
	if options.backwards || options.before != nil {
		return invalid("a subscription goes forward, without an end")
	}
	// Its reads wait without end, but not for a store that is closing.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if h := s.handle(); h != nil {
		defer context.AfterFunc(h.closingCtx, cancel)()
	}
	for {
		refused := false
		position, err := s.read(ctx, query, options, -1, func(raw *RawEvent) bool {
			if options.limit != nil {
				*options.limit--
			}
			refused = !take(raw)
			return !refused
		})
		if err != nil || refused || options.limit != nil && *options.limit == 0 {
			return err
		}
		options.after = position
		if _, err := s.await(ctx, position); err != nil {
			return err
		}
	}
}

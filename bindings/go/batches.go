package dcb

import (
	"context"
	"errors"
	"iter"
	"time"
)

// EventBatch is what a subscription in batches returns at a time.
type EventBatch struct {
	// Events are matching events, in the order of their positions. It is empty if the batch only says that
	// the subscription has caught up, or that it is idle.
	Events []SequencedEvent

	// Position is where to go on: every matching event up to it has been returned.
	Position int64

	// CaughtUp says that the store had no matching event above Position when the batch was read.
	CaughtUp bool
}

// SubscribeBatches is like [Store.Subscribe], but returns the events in batches of at most 256, or as many as
// [Limit] says, for programs that store what they make of the events in one transaction.
//
// The first batch that has caught up is returned even if it is empty, so a program knows when it has seen
// all that was stored. If idle is above 0, an empty batch follows whenever no other one came for that long;
// its Position also counts events that the query does not match.
//
// It ends with the errors of Subscribe. An event that cannot be decoded ends it with a [*DecodeError], after
// the events before it were returned.
func (s *Store) SubscribeBatches(
	ctx context.Context, query Query, idle time.Duration, opts ...ReadOption,
) iter.Seq2[EventBatch, error] {
	return func(yield func(EventBatch, error) bool) {
		err := s.followBatches(ctx, query, idle, newReadOptions(opts), func(b EventBatch) bool { return yield(b, nil) })
		if err != nil {
			yield(EventBatch{}, s.ended(ctx, err))
		}
	}
}

// followBatches calls take with each batch until take returns false.
func (s *Store) followBatches(
	ctx context.Context, query Query, idle time.Duration, options readOptions, take func(EventBatch) bool,
) error {
	if options.limit == nil {
		limit := int64(batch)
		options.limit = &limit
	}
	if *options.limit < 1 {
		return invalid("a batch must have room for an event")
	}
	ctx, stop, err := s.beginFollowing(ctx, options)
	defer stop()
	if err != nil {
		return err
	}
	announced := int64(0) // the head that the last wait returned
	for isFirst := true; ; {
		events, position, err := s.readBatch(ctx, query, options)
		if err != nil {
			if len(events) > 0 && !take(EventBatch{Events: events, Position: position}) {
				return nil
			}
			return err
		}
		isFull := int64(len(events)) == *options.limit
		if !isFull && position < announced {
			return rewound(announced, position)
		}
		options.after = position
		if len(events) > 0 || isFirst && !isFull {
			if !take(EventBatch{events, position, !isFull}) {
				return nil
			}
		}
		if isFull {
			continue
		}
		isFirst = false
		for checked := time.Now(); ; {
			begun := time.Now()
			announced, err = s.awaitFor(ctx, position, idle)
			if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
				break
			}
			if begun.Sub(checked) >= lookInterval { // the wait itself looks only if it is longer than that
				if err := s.checkHistory(ctx, position, checked); err != nil {
					return err
				}
				checked = time.Now()
			}
			if !take(EventBatch{Position: position, CaughtUp: true}) {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

// awaitFor is like awaitInHistory, and fails with [context.DeadlineExceeded] after the time limit if that is above 0.
func (s *Store) awaitFor(ctx context.Context, after int64, limit time.Duration) (int64, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return s.awaitInHistory(ctx, after)
}

// readBatch returns the next events and the position of the read. With the error of an event that cannot be
// decoded, it returns the events before that one and their last position.
func (s *Store) readBatch(ctx context.Context, query Query, options readOptions) ([]SequencedEvent, int64, error) {
	var events []SequencedEvent
	var failure error
	position, err := s.read(ctx, query, options, -1, func(raw *RawEvent) bool {
		event, err := s.decode(raw)
		if err != nil {
			failure = err
			return false
		}
		events = append(events, event)
		return true
	})
	if failure != nil && len(events) > 0 {
		return events, events[len(events)-1].Position, failure
	}
	if err != nil {
		return nil, 0, err
	}
	return events, position, failure
}

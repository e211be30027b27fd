package dcb

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"
)

// followers are the subscriptions of a store that have reached its head. They share their reads, so that an
// event is read once and not once for each of them.
type followers struct {
	mu     sync.Mutex
	count  int
	recent [4]*sharedRead // the newest first
}

// sharedRead is a read of every event above after, up to a position.
type sharedRead struct {
	after int64
	begun time.Time
	done  chan struct{}
	// These are set before done is closed.
	ended    time.Time
	events   []RawEvent
	position int64
	err      error
}

const (
	// minFollowers is how many subscriptions have to follow before they share their reads. A shared read
	// fetches all events, also those that nobody's query matches.
	minFollowers = 4
	// maxSharedBytes is how many bytes of data a shared read has before it ends.
	maxSharedBytes = 1 << 20
)

func (f *followers) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count += n; f.count == 0 {
		f.recent = [len(f.recent)]*sharedRead{}
	}
}

// find returns a read of the events above after, and whether the caller has to do it. It returns nil if too
// few follow, or if the caller is not at the head. What was read before known may be of a history that
// was rewound since, so it is not used.
func (f *followers) find(after int64, known time.Time) (r *sharedRead, isNew bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count < minFollowers {
		return nil, false
	}
	for _, r := range f.recent {
		if r == nil || r.after > after || !r.begun.After(known) {
			continue
		}
		select {
		case <-r.done:
			if r.err != nil || r.position <= after {
				continue
			}
		default:
		}
		return r, false
	}
	if newest := f.recent[0]; newest != nil && newest.after > after {
		return nil, false // others are ahead; it catches up by itself
	}
	r = &sharedRead{after: after, begun: time.Now(), done: make(chan struct{})}
	copy(f.recent[1:], f.recent[:])
	f.recent[0] = r
	return r, true
}

// followShared delivers matching events above after that one of the followers has read for all. It returns
// the position up to which it has, which is after if there is nothing to share, and whether the subscription
// goes on.
func (s *Store) followShared(
	ctx context.Context, query Query, after int64, known *time.Time, deliver func(*RawEvent) bool,
) (position int64, goesOn bool, err error) {
	h := s.handle()
	r, isNew := h.followers.find(after, *known)
	if r == nil {
		return after, true, nil
	}
	if isNew {
		go s.readShared(h.closingCtx, r)
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return after, false, ctx.Err()
	}
	if r.err != nil || r.position <= after {
		return after, true, nil
	}
	for i := range r.events {
		event := &r.events[i]
		if event.Position <= after || !query.Matches(SequencedEvent{Type: event.Type, Tags: event.Tags}) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return after, false, err
		}
		own := *event // the program may write to what it is given
		own.Data, own.Metadata = bytes.Clone(own.Data), bytes.Clone(own.Metadata)
		own.Tags = slices.Clone(own.Tags)
		if !deliver(&own) {
			return after, false, nil
		}
	}
	*known = r.ended
	return r.position, true, nil
}

// readShared does the read. It does not depend on the context of one subscription, since others wait for it.
func (s *Store) readShared(ctx context.Context, r *sharedRead) {
	defer close(r.done)
	size := 0
	limit := int64(batch)
	position, err := s.read(ctx, QueryAll(), readOptions{after: r.after, limit: &limit}, -1, func(raw *RawEvent) bool {
		r.events = append(r.events, *raw)
		size += len(raw.Data) + len(raw.Metadata)
		return size < maxSharedBytes
	})
	if n := len(r.events); n > 0 && err == nil {
		position = max(position, r.events[n-1].Position)
	}
	r.position, r.err, r.ended = position, err, time.Now()
}

package dcb

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Subscriptions of every kind, some of them slow, get exactly their events while they share reads.
func TestFollowersGetTheirEventsExactlyOnce(t *testing.T) {
	const subscribers, events = 24, 400
	onEach(t, func(t *testing.T, store *Store) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		tag := func(n int) []Tag { return []Tag{{Key: "n", Value: strconv.Itoa(n % 3)}} }
		var running sync.WaitGroup
		for i := range subscribers {
			query, matches := QueryAll(), func(int64) bool { return true }
			if i%2 == 1 {
				query = NewQuery(QueryItem{Types: []string{"a"}, Tags: tag(i)})
				matches = func(position int64) bool { return position%2 == 1 && int(position)%3 == i%3 }
			}
			running.Add(1)
			go func() {
				defer running.Done()
				next := int64(0)
				advance := func() {
					for next++; next <= events && !matches(next); next++ {
					}
				}
				advance()
				for event, err := range store.SubscribeRaw(ctx, query) {
					if err != nil || event.Position != next || string(event.Data) != strconv.FormatInt(next, 10) ||
						!slices.Equal(event.Tags, tag(int(next))) {
						t.Errorf("subscriber %d: event %d with %s where %d should come, %v",
							i, event.Position, event.Data, next, err)
						cancel()
						return
					}
					event.Data[0], event.Tags[0].Key = 'x', "changed" // nobody else sees it
					if i%8 == 7 && next%50 < 3 {
						time.Sleep(time.Millisecond)
					}
					if advance(); next > events {
						return
					}
				}
			}()
		}
		untilWaiting(store, subscribers)
		for n := 1; n <= events; n++ {
			kind := "a"
			if n%2 == 0 {
				kind = "b"
			}
			mustAppend(t, store, Event{Type: kind, Tags: tag(n), Data: n})
		}
		running.Wait()
	})
}

// readCounter counts the reads of a store.
type readCounter struct{ reads atomic.Int64 }

func (c *readCounter) Observe(_ context.Context, operation Operation) {
	if operation.Kind == OperationRead {
		c.reads.Add(1)
	}
}

func TestFollowersShareReads(t *testing.T) {
	const subscribers, events = 50, 20
	counter := &readCounter{}
	store, err := Open("memory:", WithObserver(counter))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var running, received sync.WaitGroup
	for range subscribers {
		running.Add(1)
		go func() {
			defer running.Done()
			for _, err := range store.Subscribe(ctx, QueryAll()) {
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
				received.Done()
			}
		}()
	}
	untilWaiting(store, subscribers)
	before := counter.reads.Load()
	for range events {
		received.Add(subscribers)
		mustAppend(t, store, Event{Type: "a"})
		received.Wait()
		untilWaiting(store, subscribers)
	}
	reads := counter.reads.Load() - before
	t.Logf("%d reads fetched %d events for %d subscriptions", reads, events, subscribers)
	if reads > events*subscribers/4 {
		t.Errorf("%d reads", reads)
	}
	cancel()
	running.Wait()
	store.h.followers.mu.Lock()
	defer store.h.followers.mu.Unlock()
	if store.h.followers.count != 0 || store.h.followers.recent[0] != nil {
		t.Errorf("%d subscriptions are left, and their events", store.h.followers.count)
	}
}

// A look at the head serves all who ask for one that began before it, and nobody else.
func TestOneLookServesAll(t *testing.T) {
	var w watch
	looks := int64(0)
	read := func() (int64, error) {
		looks++
		if looks == 2 {
			return 0, ErrBusy
		}
		return looks, nil
	}
	early := time.Now()
	for _, step := range []struct {
		isEarly    bool
		head, made int64
	}{
		{true, 1, 1},
		{true, 1, 1},
		{false, 0, 2}, // it fails, and serves nobody
		{true, 1, 2},
		{false, 3, 3},
		{true, 3, 3},
	} {
		since := early
		if !step.isEarly {
			since = time.Now()
		}
		if head, _ := w.look(since, read); head != step.head || looks != step.made {
			t.Errorf("%+v: the head is %d after %d looks", step, head, looks)
		}
	}
}

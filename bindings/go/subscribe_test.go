package dcb

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// untilWaiting returns once n goroutines wait in the store.
func untilWaiting(store *Store, n int) {
	for {
		store.h.watch.mu.Lock()
		r := store.h.watch.round
		waiting := r != nil && r.waiting == n
		store.h.watch.mu.Unlock()
		if waiting {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestSubscribeCatchesUpAndFollows(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		const writers, appends = 4, 100
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		mustAppend(t, store, manyEvents(batch+10)...)

		var running sync.WaitGroup
		for range writers {
			running.Add(1)
			go func() {
				defer running.Done()
				for range appends {
					if err := store.Append(ctx, []Event{{Type: "new"}, {Type: "other"}}); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		total := int64(batch + 10 + 2*writers*appends)
		for range 3 {
			running.Add(1)
			go func() {
				defer running.Done()
				next := int64(1)
				for event, err := range store.Subscribe(ctx, QueryAll()) {
					if err != nil || event.Position != next {
						t.Errorf("event %d where %d should come, %v", event.Position, next, err)
						return
					}
					if next++; next > total {
						return
					}
				}
			}()
		}
		running.Wait()
	})
}

func TestSubscribeFilters(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, Event{Type: "A"}, Event{Type: "B"}, Event{Type: "A"})
		query := NewQuery(QueryItem{Types: []string{"A"}})
		var positions []int64
		for event, err := range store.Subscribe(context.Background(), query, FromPosition(1), Limit(3)) {
			if err != nil {
				t.Fatal(err)
			}
			if positions = append(positions, event.Position); len(positions) == 1 {
				mustAppend(t, store, Event{Type: "B"}, Event{Type: "A"}, Event{Type: "A"}, Event{Type: "A"})
			}
		}
		if !slices.Equal(positions, []int64{3, 5, 6}) {
			t.Errorf("got %v", positions)
		}
	})
}

func TestSubscribeCountsEachTimeAnew(t *testing.T) {
	store := mustOpen(t, "memory:")
	mustAppend(t, store, manyEvents(5)...)
	events := store.SubscribeRaw(context.Background(), QueryAll(), Limit(2))
	for range 2 {
		given := 0
		for range events {
			given++
		}
		if given != 2 {
			t.Errorf("%d events", given)
		}
	}
}

func TestSubscribeEndsWithItsContext(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, Event{Type: "A"})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var given []error
		for event, err := range store.Subscribe(ctx, QueryAll()) {
			if given = append(given, err); event.Position == 1 {
				go func() {
					untilWaiting(store, 1)
					cancel()
				}()
			}
		}
		if len(given) != 2 || given[0] != nil || given[1] != context.Canceled {
			t.Errorf("got %v", given)
		}
	})
}

func checkRewound(t *testing.T, err error, head int64) {
	t.Helper()
	var failure *Error
	if !errors.Is(err, ErrHistoryRewound) || !errors.Is(err, ErrCorrupt) || !errors.As(err, &failure) || failure.Position != head {
		t.Errorf("got %v", err)
	}
}

func TestSubscribeAboveTheHead(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, manyEvents(2)...)
		given := 0
		for _, err := range store.Subscribe(context.Background(), QueryAll(), FromPosition(3)) {
			given++
			checkRewound(t, err, 2)
		}
		if given != 1 {
			t.Errorf("%d elements", given)
		}
		// At the head it waits, and other calls may go beyond it.
		short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		for _, err := range store.Subscribe(short, QueryAll(), FromPosition(2)) {
			if err != context.DeadlineExceeded {
				t.Errorf("at the head: %v", err)
			}
		}
		if _, _, err := store.Read(context.Background(), QueryAll(), FromPosition(3)); err != nil {
			t.Errorf("Read: %v", err)
		}
	})
}

// mustBackUpByShell returns a store with three events, and a function that restores a backup with the first one
// only, by the shell of SQLite. Any goroutine may call the function.
func mustBackUpByShell(t *testing.T) (store *Store, restore func()) {
	t.Helper()
	shell, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("the sqlite3 shell is not installed")
	}
	path := filepath.Join(t.TempDir(), "events.db")
	run := func(command string) {
		if output, err := exec.Command(shell, path, command+" '"+path+".backup'").CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, output)
		}
	}
	store = mustOpen(t, "sqlite:"+path)
	mustAppend(t, store, Event{Type: "A"})
	run(".backup")
	mustAppend(t, store, manyEvents(2)...)
	return store, func() { run(".restore") }
}

// A waiting subscription notices that another program has restored an older backup.
func TestSubscribeNoticesARestore(t *testing.T) {
	store, restore := mustBackUpByShell(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var last error
	for event, err := range store.Subscribe(ctx, QueryAll()) {
		if last = err; event.Position == 3 {
			go func() {
				untilWaiting(store, 1)
				restore()
			}()
		}
	}
	checkRewound(t, last, 1)
	// The store may still announce the head that it had. A subscription that found nothing there and tried
	// again would never end.
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, err := range store.Subscribe(short, QueryAll(), FromPosition(1)) {
		if err != context.DeadlineExceeded {
			checkRewound(t, err, 1)
		}
	}
}

func TestSubscribeGoesForwardOnly(t *testing.T) {
	store := mustOpen(t, "memory:")
	for _, option := range []ReadOption{Backwards(), Before(7)} {
		for _, err := range store.Subscribe(context.Background(), QueryAll(), option) {
			if !errors.Is(err, ErrInvalidArgument) {
				t.Errorf("got %v", err)
			}
		}
	}
}

func TestWait(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		ctx := context.Background()
		mustAppend(t, store, manyEvents(3)...)
		if head, err := store.Wait(ctx, 2); head != 3 || err != nil {
			t.Errorf("head %d, %v", head, err)
		}
		mustAppend(t, store, manyEvents(2)...)
		for _, after := range []int64{-1, 0, 4} {
			if head, err := store.Wait(ctx, after); head != 5 || err != nil {
				t.Errorf("after %d: head %d, %v", after, head, err)
			}
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if head, err := store.Wait(short, 5); head != 0 || err != context.DeadlineExceeded {
			t.Errorf("head %d, %v", head, err)
		}
		// A wait for a lower position returns first, whatever other waits are for.
		far, near := make(chan int64), make(chan int64)
		wait := func(after int64, head chan<- int64) {
			found, err := store.Wait(ctx, after)
			if err != nil {
				t.Error(err)
			}
			head <- found
		}
		go wait(6, far)
		untilWaiting(store, 1)
		go wait(5, near)
		untilWaiting(store, 2)
		mustAppend(t, store, Event{Type: "A"})
		if head := <-near; head != 6 {
			t.Errorf("head %d", head)
		}
		mustAppend(t, store, Event{Type: "A"})
		if head := <-far; head != 7 {
			t.Errorf("head %d", head)
		}
	})
}

// A call that its context ended returns an error that wraps the context's; a wait returns the context's own.
func TestAWaitEndsWithTheErrorOfItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cut := &Error{Status: StatusCancelled, cause: context.Canceled}
	other := errors.New("another")
	ended := mustOpen(t, "memory:").ended
	if ended(ctx, cut) != cut || ended(ctx, nil) != nil {
		t.Error("the context goes on")
	}
	cancel()
	if err := ended(ctx, cut); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	if err := ended(ctx, other); err != other {
		t.Errorf("got %v", err)
	}
	if err := ended(ctx, nil); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestOneWaitServesAll(t *testing.T) {
	store := mustOpen(t, "memory:")
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for range 100 {
		running.Add(1)
		go func() {
			defer running.Done()
			if _, err := store.Wait(ctx, 0); err != context.Canceled {
				t.Error(err)
			}
		}()
	}
	untilWaiting(store, 100) // all in one round
	cancel()
	running.Wait()
}

func TestAbandonedWaitEnds(t *testing.T) {
	store := mustOpen(t, "memory:")
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		untilWaiting(store, 1)
		cancel()
	}()
	if _, err := store.Wait(ctx, 0); err != context.Canceled {
		t.Fatal(err)
	}
	store.h.watch.mu.Lock()
	abandoned := store.h.watch.round
	store.h.watch.mu.Unlock()
	select {
	case <-abandoned.done:
	case <-time.After(20 * time.Second):
		t.Fatal("the wait goes on although no goroutine waits")
	}
	// It does not disturb the next wait.
	go func() {
		untilWaiting(store, 1)
		if err := store.Append(context.Background(), []Event{{Type: "A"}}); err != nil {
			t.Error(err)
		}
	}()
	if head, err := store.Wait(context.Background(), 0); head != 1 || err != nil {
		t.Errorf("head %d, %v", head, err)
	}
}

package dcb

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// openFilled opens a store in a file, with so many events.
func openFilled(t *testing.T, events int) *Store {
	t.Helper()
	store, err := Open("sqlite:" + filepath.Join(t.TempDir(), "events.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	all := make([]Event, events)
	for i := range all {
		all[i] = Event{Type: "A", Tags: []Tag{{Key: "n", Value: "1"}}, Data: i}
	}
	mustAppend(t, store, all...)
	return store
}

func mustBeEmpty(t *testing.T, folder string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func headOf(t *testing.T, path string) int64 {
	t.Helper()
	store, err := Open("sqlite:"+path, MustExist())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	head, err := store.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func TestBackup(t *testing.T) {
	ctx := context.Background()
	store := openFilled(t, 5000)
	path := filepath.Join(t.TempDir(), "copy.db")
	var done, total int64
	head, err := store.Backup(ctx, path, BackupProgress(func(donePages, totalPages int64) {
		if donePages <= done || donePages > totalPages {
			t.Errorf("%d of %d pages after %d", donePages, totalPages, done)
		}
		done, total = donePages, totalPages
	}))
	if err != nil || head != 5000 || done != total || total == 0 {
		t.Fatalf("head %d, %v, %d of %d pages", head, err, done, total)
	}
	mustAppend(t, store, Event{Type: "B"})
	if got := headOf(t, path); got != 5000 {
		t.Errorf("the copy has %d events", got)
	}
	for _, target := range []string{path, filepath.Join(filepath.Dir(path), "copy.db")} {
		head, err = store.Backup(ctx, target)
		if head != 0 || !errors.Is(err, fs.ErrExist) || !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("over a file that exists: %d, %v", head, err)
		}
	}
	if got := headOf(t, path); got != 5000 {
		t.Errorf("the copy has %d events after a refused backup", got)
	}
}

func TestBackupOfOtherStores(t *testing.T) {
	ctx := context.Background()
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, Event{Type: "A"})
		folder := t.TempDir()
		path := filepath.Join(folder, "copy.db")
		diagnosis, err := store.Diagnose(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Backup(ctx, path)
		if diagnosis.Store != "sqlite" || store.h.host != nil {
			if !errors.Is(err, ErrInvalidArgument) {
				t.Errorf("got %v", err)
			}
			mustBeEmpty(t, folder)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := headOf(t, path); got != 1 {
			t.Errorf("the copy has %d events", got)
		}
	})
}

func TestBackupEnds(t *testing.T) {
	store := openFilled(t, 5000)
	folder := t.TempDir()
	path := filepath.Join(folder, "copy.db")

	ctx, cancel := context.WithCancel(context.Background())
	_, err := store.Backup(ctx, path, BackupProgress(func(int64, int64) {
		cancel()
		time.Sleep(50 * time.Millisecond) // until the library knows
	}))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrCancelled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err = store.Backup(ctx, path); err != context.Canceled {
		t.Errorf("after that: %v", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err = store.Backup(ctx, path, BackupProgress(func(int64, int64) { <-ctx.Done() }))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("out of time: %v", err)
	}
	if _, err = store.Backup(context.Background(), "a\x00b"); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("a NUL: %v", err)
	}
	mustBeEmpty(t, folder)

	func() {
		defer func() {
			if got := recover(); got != "no more" {
				t.Errorf("panicked with %v", got)
			}
		}()
		store.Backup(context.Background(), path, BackupProgress(func(int64, int64) { panic("no more") }))
		t.Error("did not panic")
	}()
	mustBeEmpty(t, folder)
	if _, err := store.Backup(context.Background(), path); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

// Close does not wait until a long copy is complete.
func TestBackupEndsWithClose(t *testing.T) {
	store := openFilled(t, 5000)
	folder := t.TempDir()
	closed := make(chan struct{})
	_, err := store.Backup(context.Background(), filepath.Join(folder, "copy.db"),
		BackupProgress(func(int64, int64) {
			go func() {
				store.Close()
				close(closed)
			}()
			time.Sleep(50 * time.Millisecond)
		}))
	if !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	<-closed
	mustBeEmpty(t, folder)
}

func TestBackupsBesideAppends(t *testing.T) {
	store := openFilled(t, 2)
	folder := t.TempDir()
	var ended atomic.Bool
	var appenders sync.WaitGroup
	for range 4 {
		appenders.Add(1)
		go func() {
			defer appenders.Done()
			for !ended.Load() {
				if err := store.Append(context.Background(), []Event{{Type: "A"}, {Type: "B"}}); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	heads := map[string]int64{}
	var mu sync.Mutex
	var backups sync.WaitGroup
	for _, name := range []string{"1", "2", "3"} {
		backups.Add(1)
		go func() {
			defer backups.Done()
			path := filepath.Join(folder, name)
			head, err := store.Backup(context.Background(), path, BackupProgress(func(int64, int64) {}))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			heads[path] = head
		}()
	}
	backups.Wait()
	ended.Store(true)
	appenders.Wait()
	for path, head := range heads {
		if got := headOf(t, path); got != head || head%2 != 0 {
			t.Errorf("the copy has %d events, not %d", got, head)
		}
	}
}

// storeOfALargeEvent opens a store and appends an event of 100,000 bytes.
func storeOfALargeEvent(t *testing.T, uri string) *Store {
	t.Helper()
	store, err := Open(uri)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Append(context.Background(), []Event{{Type: "A", Data: strings.Repeat("x", 100_000)}}); err != nil {
		t.Fatal(err)
	}
	return store
}

// A test that fails within the progress function ends its goroutine there.
func TestBackupOutlastsTheEndOfItsGoroutine(t *testing.T) {
	for _, uri := range []string{"sqlite:" + filepath.Join(t.TempDir(), "events.db"), "sqlite::memory:"} {
		store := storeOfALargeEvent(t, uri)
		ctx, folder := context.Background(), t.TempDir()
		ended := make(chan bool)
		go func() {
			returned := false
			defer func() { ended <- returned }()
			_, _ = store.Backup(ctx, filepath.Join(folder, "copy.db"), BackupProgress(func(int64, int64) { runtime.Goexit() }))
			returned = true
		}()
		if <-ended {
			t.Errorf("%s: Backup returned", uri)
		}
		mustBeEmpty(t, folder)
		if err := store.Append(ctx, []Event{{Type: "A"}}); err != nil {
			t.Errorf("%s: an append after that: %v", uri, err)
		}
		if _, err := store.Backup(ctx, filepath.Join(folder, "copy.db")); err != nil {
			t.Errorf("%s: a backup after that: %v", uri, err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Close waits for the calls that run, and the backup must not wait for it.
func TestBackupEndsWhenItsProgressClosesTheStore(t *testing.T) {
	for _, uri := range []string{"sqlite:" + filepath.Join(t.TempDir(), "events.db"), "sqlite::memory:"} {
		store := storeOfALargeEvent(t, uri)
		ctx, folder := context.Background(), t.TempDir()
		closed := make(chan error, 100)
		_, err := store.Backup(ctx, filepath.Join(folder, "copy.db"), BackupProgress(func(int64, int64) { closed <- store.Close() }))
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Backup returned %v", uri, err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		mustBeEmpty(t, folder)
	}
}

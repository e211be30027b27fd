package dcb_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

func TestSQLiteStoreKeepsItsEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b%20.db")
	for i, dsn := range []string{path, "sqlite:" + path, path} {
		store := openSQLite(t, dsn)
		appendTo(t, store, dcb.Event{Type: "A"})
		if _, position, err := store.Read(ctx, dcb.QueryAll()); position != int64(i+1) || err != nil {
			t.Errorf("position %d, %v", position, err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestSQLiteStoresOfOneFileSeeEachOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	one, other := openSQLite(t, path), openSQLite(t, path)
	woken := make(chan error)
	go func() {
		_, err := other.Wait(ctx, 0)
		woken <- err
	}()
	appendTo(t, one, dcb.Event{Type: "A"})
	if err := <-woken; err != nil {
		t.Fatal(err)
	}
	if events, _, err := other.Read(ctx, dcb.QueryAll()); len(events) != 1 || err != nil {
		t.Errorf("%d events, %v", len(events), err)
	}
}

func TestSQLiteOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	if _, err := dcb.Open("sqlite:"+path, dcb.MustExist()); err == nil {
		t.Error("it was created all the same")
	}
	appendTo(t, openSQLite(t, path), dcb.Event{Type: "A"})

	reader, err := dcb.Open("sqlite:"+path, dcb.ReadOnly(), dcb.BusyTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := reader.Append(ctx, []dcb.Event{{Type: "A"}}); !errors.Is(err, dcb.ErrReadOnly) {
		t.Errorf("Append: %v", err)
	}
	if head, err := reader.Head(ctx); head != 1 || err != nil {
		t.Errorf("head %d, %v", head, err)
	}
}

func TestWhatIsNoStoreIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	text := bytes.Repeat([]byte("this is no database\n"), 400)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if store, err := dcb.NewSQLiteStore(path); store != nil || !errors.Is(err, dcb.ErrUnsupportedFormat) {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(path); !bytes.Equal(after, text) || err != nil {
		t.Errorf("the file changed, %v", err)
	}
}

// lock acquires the write lock of the file in another process. unlock releases it.
func lock(t *testing.T, path string) (unlock func()) {
	t.Helper()
	shell, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("the sqlite3 shell is not installed")
	}
	command := exec.Command(shell, path)
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	unlock = sync.OnceFunc(func() {
		in.Close()
		command.Wait()
	})
	t.Cleanup(unlock)
	if _, err := io.WriteString(in, "PRAGMA synchronous = FULL;\nBEGIN IMMEDIATE;\nSELECT 'locked';\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	return unlock
}

func TestAppendToALockedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	patient := openSQLite(t, path)
	hasty, err := dcb.Open("sqlite:"+path, dcb.BusyTimeout(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer hasty.Close()
	appendTo(t, patient, dcb.Event{Type: "A"})
	unlock := lock(t, path)

	events := []dcb.Event{{Type: "B"}}
	deadline, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := patient.Append(deadline, events); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, dcb.ErrBusy) && !errors.Is(err, dcb.ErrCancelled) {
		t.Errorf("with a deadline: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	time.AfterFunc(300*time.Millisecond, cancel)
	if err := patient.Append(cancelled, events); !errors.Is(err, context.Canceled) || !errors.Is(err, dcb.ErrCancelled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := hasty.Append(ctx, events); !errors.Is(err, dcb.ErrBusy) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a time-out of its own: %v", err)
	}
	// A deadline takes precedence over the busy timeout of the store.
	time.AfterFunc(100*time.Millisecond, unlock)
	long, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := hasty.Append(long, events); err != nil {
		t.Errorf("with a long deadline: %v", err)
	}
	if _, position, err := hasty.Read(ctx, dcb.QueryAll()); position != 2 || err != nil {
		t.Errorf("position %d, %v: what was refused is stored", position, err)
	}
}

func TestReadOfALockedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	store := openSQLite(t, path)
	appendTo(t, store, dcb.Event{Type: "A"})
	lock(t, path)
	if events, _, err := store.Read(ctx, dcb.QueryAll()); len(events) != 1 || err != nil {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// A loop can be left while Close waits for an append that waits for a lock, which the goroutine of the loop may
// hold.
func TestALoopIsLeftWhileCloseWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	store, err := dcb.Open("sqlite:"+path, dcb.BusyTimeout(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	appendTo(t, store, dcb.Event{Type: "A"}, dcb.Event{Type: "A"})
	unlock := lock(t, path)
	left, appended, isClosed := make(chan struct{}), make(chan error, 1), make(chan struct{})
	go func() {
		defer close(left)
		for range store.Events(ctx, dcb.QueryAll()) {
			go func() { appended <- store.Append(ctx, []dcb.Event{{Type: "B"}}) }()
			time.Sleep(100 * time.Millisecond)
			go func() {
				store.Close()
				close(isClosed)
			}()
			time.Sleep(100 * time.Millisecond)
			return
		}
	}()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the loop waits for Close")
	}
	unlock()
	if err := <-appended; err != nil {
		t.Error(err)
	}
	<-isClosed
}

func TestCallsThatWaitDoNotKeepAThreadEach(t *testing.T) {
	threads := func() int {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Skip("this system does not tell a process's threads")
		}
		return len(tasks)
	}
	path := filepath.Join(t.TempDir(), "events.db")
	store := openSQLite(t, path)
	lock(t, path)
	before := threads()
	const calls = 1000
	ended := make(chan error, calls)
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	for range calls {
		go func() { ended <- store.Append(waiting, []dcb.Event{{Type: "A"}}) }()
	}
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if now := threads(); now > before+300 {
			t.Errorf("%d calls keep %d threads", calls, now-before)
			break
		}
	}
	cancel()
	for range calls {
		if err := <-ended; !errors.Is(err, context.Canceled) || !errors.Is(err, dcb.ErrCancelled) && err != context.Canceled {
			t.Error(err)
		}
	}
}

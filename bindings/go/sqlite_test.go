package dcb_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
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

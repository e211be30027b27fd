package dcb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// calls holds every kind of call on a store.
var calls = map[string]func(ctx context.Context, store *Store) error{
	"Append": func(ctx context.Context, store *Store) error {
		return store.Append(ctx, []Event{{Type: "A"}})
	},
	"Read": func(ctx context.Context, store *Store) error {
		_, _, err := store.Read(ctx, QueryAll())
		return err
	},
	"ReadSnapshot": func(ctx context.Context, store *Store) error {
		_, _, err := store.ReadSnapshot(ctx, QueryAll())
		return err
	},
	"ReadRaw": func(ctx context.Context, store *Store) error {
		_, _, err := store.ReadRaw(ctx, QueryAll())
		return err
	},
	"Events": func(ctx context.Context, store *Store) error {
		for _, err := range store.Events(ctx, QueryAll()) {
			if err != nil {
				return err
			}
		}
		return nil
	},
	"Subscribe": func(ctx context.Context, store *Store) error {
		for _, err := range store.Subscribe(ctx, QueryAll(), Limit(1)) {
			if err != nil {
				return err
			}
		}
		return nil
	},
	"Find": func(ctx context.Context, store *Store) error {
		_, _, err := store.Find(ctx, "id")
		return err
	},
	"Head": func(ctx context.Context, store *Store) error {
		_, err := store.Head(ctx)
		return err
	},
	"Count": func(ctx context.Context, store *Store) error {
		_, err := store.Count(ctx)
		return err
	},
	"Wait": func(ctx context.Context, store *Store) error {
		_, err := store.Wait(ctx, 0)
		return err
	},
}

func TestFind(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		ctx := context.Background()
		if event, found, err := store.Find(ctx, "one"); found || err != nil || event.ID != "" {
			t.Fatal(event, found, err)
		}
		mustAppend(t, store, Event{Type: "A"})
		mustAppend(t, store, Event{
			Type: "B", Tags: []Tag{{"x", "1"}}, Data: map[string]int{"n": 1}, ID: "one",
			Metadata: map[string]string{"by": "me"},
		})
		event, found, err := store.Find(ctx, "one")
		if !found || err != nil {
			t.Fatal(found, err)
		}
		all, _, err := store.Read(ctx, QueryAll())
		if err != nil || !reflect.DeepEqual(event, all[1]) {
			t.Errorf("found %v, read %v (%v)", event, all, err)
		}
		raw, found, err := store.FindRaw(ctx, "one")
		if !found || err != nil || raw.Position != 2 || string(raw.Data) != `{"n":1}` {
			t.Error(raw, found, err)
		}
		for _, id := range []string{"", "\xff", "a\x00b"} {
			if _, found, err := store.Find(ctx, id); found || !errors.Is(err, ErrInvalidArgument) {
				t.Errorf("%q: %v, %v", id, found, err)
			}
		}
		store.Close()
		if _, found, err := store.Find(ctx, "one"); found || !errors.Is(err, ErrClosed) {
			t.Error(found, err)
		}
	})
}

func TestDoneContext(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	expired, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	onEach(t, func(t *testing.T, store *Store) {
		for name, call := range calls {
			if err := call(cancelled, store); err != context.Canceled {
				t.Errorf("%s: %v", name, err)
			}
			if err := call(expired, store); err != context.DeadlineExceeded {
				t.Errorf("%s: %v", name, err)
			}
		}
		if count, err := store.Count(context.Background()); count != 0 || err != nil {
			t.Errorf("%d events were appended, %v", count, err)
		}
	})
}

func TestLiveContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, Event{Type: "A"})
		for name, call := range calls {
			if err := call(ctx, store); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestClosedStore(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, Event{Type: "A"})
		for range 2 {
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for name, call := range calls {
			if err := call(context.Background(), store); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestStoreThatWasNeverOpened(t *testing.T) {
	for _, store := range []*Store{nil, {}, new(MemoryStore).Store} {
		for name, call := range calls {
			if err := call(context.Background(), store); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	if count := new(MemoryStore).EventCount(); count != 0 {
		t.Errorf("%d events", count)
	}
}

func TestCloseEndsWaits(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		const waiters = 8
		ended := make(chan error, 2*waiters)
		for range waiters {
			go func() { ended <- calls["Wait"](context.Background(), store) }()
			go func() { ended <- calls["Subscribe"](context.Background(), store) }()
		}
		untilWaiting(store, 2*waiters)
		store.Close()
		for range 2 * waiters {
			if err := <-ended; !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
	})
}

func TestCloseWhileCallsRun(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, manyEvents(2*batch)...)
		var running sync.WaitGroup
		for name, call := range calls {
			running.Add(1)
			go func() {
				defer running.Done()
				for {
					switch err := call(context.Background(), store); {
					case errors.Is(err, ErrClosed):
						return
					case err != nil:
						t.Errorf("%s: %v", name, err)
						return
					}
				}
			}()
		}
		time.Sleep(5 * time.Millisecond)
		for range 2 {
			running.Add(1)
			go func() {
				defer running.Done()
				store.Close()
			}()
		}
		running.Wait()
	})
}

func TestCloseInsideALoop(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, manyEvents(2*batch)...)
		given, last := 0, error(nil)
		for _, err := range store.Events(context.Background(), QueryAll()) {
			if last = err; err == nil {
				given++
			}
			store.Close()
		}
		if given != batch || !errors.Is(last, ErrClosed) {
			t.Errorf("%d events, then %v", given, last)
		}
	})
}

// Releasing a resource does not wait for a Close that waits for a call.
func TestNothingThatLetsGoWaitsForClose(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, manyEvents(2)...)
		next, leave := iter.Pull2(store.Events(context.Background(), QueryAll()))
		if _, err, ok := next(); err != nil || !ok {
			t.Fatal(err)
		}
		if err := store.h.hold(); err != nil { // a call that runs
			t.Fatal(err)
		}
		isClosed := make(chan struct{})
		go func() {
			store.Close()
			close(isClosed)
		}()
		for !store.h.closing.Load() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond) // until Close waits

		left := make(chan struct{})
		go func() {
			leave()
			for name, call := range calls {
				if err := call(context.Background(), store); !errors.Is(err, ErrClosed) {
					t.Errorf("%s: %v", name, err)
				}
			}
			close(left)
		}()
		select {
		case <-left:
		case <-time.After(10 * time.Second):
			t.Error("it waits for Close")
		}
		select {
		case <-isClosed:
			t.Error("it was closed while a call ran")
		default:
		}
		store.h.release()
		<-isClosed
	})
}

// Cursors may be closed at any time during a Close, and after it.
func TestCursorsAreClosedWhileTheStoreIs(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, manyEvents(2)...)
		request, err := readRequest(nil, QueryAll(), &readOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var running sync.WaitGroup
		for i := range 50 {
			c, err := store.h.openCursor(context.Background(), request, -1)
			if err != nil {
				t.Fatal(err)
			}
			running.Add(1)
			go func() {
				defer running.Done()
				time.Sleep(time.Duration(i) * 40 * time.Microsecond)
				c.close()
			}()
		}
		store.Close()
		running.Wait()
	})
}

func TestForgottenStoreIsClosed(t *testing.T) {
	var h *handle
	func() {
		store, err := Open("memory:")
		if err != nil {
			t.Fatal(err)
		}
		h = store.h
	}()
	for deadline := time.Now().Add(10 * time.Second); !h.closing.Load(); {
		if time.Now().After(deadline) {
			t.Fatal("the store is still open")
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

func TestAppendedPositions(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		ctx := context.Background()
		mustAppend(t, store, Event{Type: "A"})
		for _, repeated := range []bool{false, true} { // the second time nothing is stored
			got, err := store.AppendEvents(ctx, []Event{{Type: "A", ID: "1"}, {Type: "A", ID: "2"}})
			if want := (Appended{First: 2, Last: 3, Repeated: repeated}); got != want || err != nil {
				t.Errorf("got %v, %v", got, err)
			}
		}
		if count, err := store.Count(ctx); count != 3 || err != nil {
			t.Errorf("%d events, %v", count, err)
		}
		err := store.Append(ctx, []Event{{Type: "B", ID: "2"}})
		var failure *Error
		if !errors.As(err, &failure) || !errors.Is(err, ErrDuplicateID) || failure.Position != 3 {
			t.Errorf("got %v", err)
		}
	})
}

// TestWhatARepetitionIsComparedBy checks what the documentation of AppendEvents says.
func TestWhatARepetitionIsComparedBy(t *testing.T) {
	ctx := context.Background()
	first := Event{
		Type: "A", ID: "1", Tags: []Tag{{"a", "1"}, BareTag("b")},
		Data: json.RawMessage(`{"x": 1, "y": 2}`), Metadata: map[string]any{"by": "s1"},
	}
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, first)
		for name, test := range map[string]struct {
			change func(*Event)
			want   error
		}{
			"nothing":              {func(*Event) {}, nil},
			"a tag given twice":    {func(e *Event) { e.Tags = append(slices.Clone(e.Tags), e.Tags[0]) }, nil},
			"the type":             {func(e *Event) { e.Type = "B" }, ErrDuplicateID},
			"the order of tags":    {func(e *Event) { e.Tags = []Tag{e.Tags[1], e.Tags[0]} }, ErrDuplicateID},
			"a tag less":           {func(e *Event) { e.Tags = e.Tags[:1] }, ErrDuplicateID},
			"a number's spelling":  {func(e *Event) { e.Data = json.RawMessage(`{"x": 1.0, "y": 2}`) }, ErrDuplicateID},
			"white space":          {func(e *Event) { e.Data = json.RawMessage(`{"x":1,"y":2}`) }, ErrDuplicateID},
			"the order of keys":    {func(e *Event) { e.Data = json.RawMessage(`{"y": 2, "x": 1}`) }, ErrDuplicateID},
			"a metadata key more":  {func(e *Event) { e.Metadata = map[string]any{"by": "s1", "trace": "2"} }, ErrDuplicateID},
			"no metadata any more": {func(e *Event) { e.Metadata = nil }, ErrDuplicateID},
		} {
			again := first
			test.change(&again)
			appended, err := store.AppendEvents(ctx, []Event{again}, AppendCondition{})
			if !errors.Is(err, test.want) || err == nil && appended != (Appended{First: 1, Last: 1, Repeated: true}) {
				t.Errorf("%s: %+v, %v", name, appended, err)
			}
		}
	})
}

func TestPayloadsKeepTheirBytes(t *testing.T) {
	texts := []string{
		`null`, ` {"b" : 1, "a":[ ] } `, `"<&>\u0041\ud800"`, `12345678901234567890`, `1e400`, `{"a":1,"a":2}`, `"é"`,
	}
	onEach(t, func(t *testing.T, store *Store) {
		ctx := context.Background()
		for _, text := range texts {
			mustAppend(t, store, Event{Type: "A", Data: json.RawMessage(text), ID: text,
				Metadata: json.RawMessage(`{"m": ` + text + `}`)})
		}
		mustAppend(t, store, Event{Type: "B", Data: "<é>"})
		events, position, err := store.ReadRaw(ctx, QueryAll())
		if err != nil || int(position) != len(events) || len(events) != len(texts)+1 {
			t.Fatalf("%d events, position %d, %v", len(events), position, err)
		}
		for i, text := range texts {
			if got := events[i]; string(got.Metadata) != `{"m": `+text+`}` || got.ID != text {
				t.Errorf("metadata %s, id %s", got.Metadata, got.ID)
			}
			// White space around a document is not part of its value.
			if got := events[i].Data; string(got) != string(trimmed(text)) {
				t.Errorf("data %s, want %s", got, text)
			}
		}
		if got := events[len(texts)].Data; string(got) != `"\u003cé\u003e"` {
			t.Errorf("data %s is not what encoding/json makes of it", got)
		}
	})
}

func trimmed(text string) []byte {
	var raw json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		panic(err)
	}
	return raw
}

func TestRawEventsAreTheCallersOwn(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, manyEvents(3*batch)...)
		var kept []RawEvent
		for event, err := range store.RawEvents(context.Background(), QueryAll()) {
			if err != nil {
				t.Fatal(err)
			}
			_ = append(event.Data, "xxxx"...)
			kept = append(kept, event)
		}
		store.Close()
		runtime.GC()
		for i, event := range kept {
			want := fmt.Sprint(i)
			if string(event.Data) != want || event.Type != "T"+fmt.Sprint(i%7) || !event.HasTag("n", want) || !event.HasTag("all", "") {
				t.Fatalf("event %d is %v", i, event)
			}
		}
	})
}

// manyEvents returns n events, numbered from 0 in their data and in a tag.
func manyEvents(n int) []Event {
	events := make([]Event, n)
	for i := range events {
		events[i] = Event{Type: "T" + fmt.Sprint(i%7), Data: i, Tags: []Tag{{"n", fmt.Sprint(i)}, BareTag("all")}}
	}
	return events
}

func TestEventsIsOneSnapshot(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, manyEvents(2*batch)...)
		given := 0
		for _, err := range store.Events(context.Background(), QueryAll()) {
			if err != nil {
				t.Fatal(err)
			}
			if given++; given%100 == 0 {
				mustAppend(t, store, Event{Type: "later"})
			}
		}
		if given != 2*batch {
			t.Errorf("%d events", given)
		}
	})
}

func TestEventsCanBeLeft(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, manyEvents(10)...)
		for event, err := range store.Events(context.Background(), QueryAll()) {
			if err != nil || event.Position > 3 {
				t.Fatalf("event %d, %v", event.Position, err)
			}
			if event.Position == 3 {
				break
			}
		}
	})
}

func TestEventsEndsWithItsContext(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, manyEvents(2*batch)...)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var last error
		given := 0
		for _, last = range store.Events(ctx, QueryAll()) {
			given++
			cancel()
		}
		if !errors.Is(last, context.Canceled) || given != batch+1 {
			t.Errorf("%d given, then %v", given, last)
		}
	})
}

func TestReadSnapshotTellsTheHead(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		mustAppend(t, store, manyEvents(10)...)
		query := NewQuery(QueryItem{Tags: []Tag{{"n", "3"}}})
		events, position, err := store.ReadSnapshot(context.Background(), query)
		if len(events) != 1 || position != 10 || err != nil {
			t.Errorf("%d events, position %d, %v", len(events), position, err)
		}
		events, position, err = store.ReadSnapshot(context.Background(), QueryAll(), Limit(4))
		if len(events) != 4 || position != 4 || err != nil {
			t.Errorf("%d events, position %d, %v", len(events), position, err)
		}
	})
}

// TestPositionsOfASnapshot checks what the documentation of SnapshotReader says. Of 7 events, those of type A are
// 2, 4 and 6.
func TestPositionsOfASnapshot(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		for i := range 7 {
			mustAppend(t, store, Event{Type: []string{"B", "A"}[i%2]})
		}
		query := NewQuery(QueryItem{Types: []string{"A"}})
		for _, test := range []struct {
			name     string
			options  []ReadOption
			returned int
			want     int64
		}{
			{"all", nil, 3, 7},
			{"before", []ReadOption{Before(6)}, 2, 5},
			{"before what is beyond the head", []ReadOption{Before(100)}, 3, 7},
			{"cut short", []ReadOption{Limit(2)}, 2, 4},
			{"with room left", []ReadOption{Limit(4)}, 3, 7},
			{"from, and nothing there", []ReadOption{FromPosition(6)}, 0, 7},
			{"as many as there are", []ReadOption{Limit(3)}, 3, 6},
			{"from beyond the head", []ReadOption{FromPosition(100)}, 0, 100},
			{"from behind before", []ReadOption{FromPosition(6), Before(3)}, 0, 6},
			{"backwards", []ReadOption{Backwards()}, 3, 7},
			{"backwards, cut short", []ReadOption{Backwards(), Limit(1)}, 1, 7},
			{"backwards, before, cut short", []ReadOption{Backwards(), Before(6), Limit(1)}, 1, 5},
			{"nothing", []ReadOption{FromPosition(3), Limit(0)}, 0, 3},
			{"nothing, backwards", []ReadOption{FromPosition(3), Limit(0), Backwards()}, 0, 3},
		} {
			events, position, err := store.ReadSnapshot(context.Background(), query, test.options...)
			if err != nil || len(events) != test.returned || position != test.want {
				t.Errorf("%s: %d events, position %d, %v", test.name, len(events), position, err)
			}
		}
	})
}

func TestConcurrentAppendsKeepTheirConditions(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		const writers, names = 8, 50
		var running sync.WaitGroup
		won := make([]int, writers)
		for writer := range writers {
			running.Add(1)
			go func() {
				defer running.Done()
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				for name := range names {
					tag := Tag{"name", fmt.Sprint(name)}
					err := store.Append(ctx, []Event{{Type: "Taken", Tags: []Tag{tag}}},
						AppendCondition{FailIfEventsMatch: NewQuery(QueryItem{Tags: []Tag{tag}})})
					switch {
					case err == nil:
						won[writer]++
					case !errors.Is(err, ErrAppendConditionFailed):
						t.Error(err)
					}
				}
			}()
		}
		running.Wait()
		sum := 0
		for _, n := range won {
			sum += n
		}
		if count, err := store.Count(context.Background()); sum != names || count != names || err != nil {
			t.Errorf("%d names were taken %d times, %d events, %v", names, sum, count, err)
		}
	})
}

func TestDecodeError(t *testing.T) {
	ctx := context.Background()
	store := mustOpen(t, "memory:")
	mustAppend(t, store, Event{Type: "A"}, Event{Type: "Big", Data: json.RawMessage("1e400")})
	_, _, err := store.Read(ctx, QueryAll())
	var failure *DecodeError
	if !errors.As(err, &failure) || failure.Event.Position != 2 {
		t.Errorf("got %v", err)
	}
	var positions []int64
	for event, err := range store.Events(ctx, QueryAll()) {
		if err != nil && !errors.As(err, &failure) {
			t.Error(err)
		}
		positions = append(positions, event.Position)
	}
	if !slices.Equal(positions, []int64{1, 0}) {
		t.Errorf("Events gave %v", positions)
	}
}

func TestUseNumber(t *testing.T) {
	store := mustOpen(t, "memory:", UseNumber())
	mustAppend(t, store, Event{Type: "A", Data: []any{json.RawMessage("1e400"), uint64(1) << 63}, Metadata: map[string]any{"n": int64(1)<<62 + 1}})
	events, _, err := store.Read(context.Background(), QueryAll())
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal([]any{events[0].Data, events[0].Metadata})
	if want := `[[1e400,9223372036854775808],{"n":4611686018427387905}]`; string(got) != want || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestOpenFails(t *testing.T) {
	for _, uri := range []string{"", "memory", "nothing:x", "memory:\x00"} {
		if store, err := Open(uri); store != nil || !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

func TestOpenWithoutAScheme(t *testing.T) {
	for uri, want := range map[string]string{
		"events.db":                "(did you mean sqlite:events.db?)",
		"./events.db":              "(did you mean sqlite:./events.db?)",
		"/var/lib/a:b.db":          "(did you mean sqlite:/var/lib/a:b.db?)",
		"C:\\events.db":            "(did you mean sqlite:C:\\events.db?)",
		":memory:":                 "(did you mean sqlite::memory:?)",
		"":                         "",
		"http://events":            "",
		"sqlite3:events.db":        "",
		"events\x00.db":            "",
		strings.Repeat("x", 1<<20): "xxx?)",
	} {
		_, err := Open(uri)
		if !errors.Is(err, ErrInvalidArgument) || !strings.HasSuffix(err.Error(), want) || want == "" && strings.Contains(err.Error(), "did you mean") {
			t.Errorf("%.20q: %v", uri, err)
		}
	}
}

func TestAMissingFileDoesNotExist(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "events.db")
	for _, uri := range []string{"sqlite:" + missing, "file:" + missing} {
		_, err := Open(uri, MustExist())
		if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrIO) || errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	denied := &Error{Status: StatusIO, Detail: int(syscall.EACCES)}
	if !errors.Is(denied, fs.ErrPermission) || errors.Is(denied, fs.ErrNotExist) {
		t.Error("EACCES is a lack of permission")
	}
	// These are codes of SQLite, not of the system.
	for _, failure := range []*Error{{Status: StatusFull, Detail: 13}, {Status: StatusCorrupt, Detail: 1}, {Status: StatusIO, Detail: 14}} {
		if errors.Is(failure, fs.ErrPermission) || errors.Is(failure, fs.ErrNotExist) {
			t.Errorf("%+v", failure)
		}
	}
}

func TestURIOf(t *testing.T) {
	for dsn, want := range map[string]string{
		"courses.db":         "sqlite:courses.db",
		"/var/lib/c.db":      "sqlite:/var/lib/c.db",
		":memory:":           "sqlite::memory:",
		"":                   "sqlite:",
		"file:c.db?mode=ro":  "file:c.db?mode=ro",
		"sqlite:c.db":        "sqlite:c.db",
		"sqlite::memory:":    "sqlite::memory:",
		"memory:":            "memory:",
		"postgres://host/db": "postgres://host/db",
		"a b%20?x=1":         "sqlite:a b%20?x=1",
	} {
		if got := uriOf(dsn); got != want {
			t.Errorf("%q: %q", dsn, got)
		}
	}
}

func TestMaxReaders(t *testing.T) {
	uri := "sqlite:" + filepath.Join(t.TempDir(), "a.db")
	for n, want := range map[int]string{
		-1:   "max_readers: must be from 1 to 1000",
		0:    "max_readers: must be from 1 to 1000",
		1001: "max_readers: must be from 1 to 1000",
		1:    "",
		1000: "",
	} {
		s, err := Open(uri, MaxReaders(n))
		switch {
		case want == "" && err == nil:
			s.Close()
		case want == "" || err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%d: %v", n, err)
		}
	}
	if _, err := Open("memory:", MaxReaders(1)); err == nil || !strings.Contains(err.Error(), "max_readers: only") {
		t.Error(err)
	}
}

func TestImport(t *testing.T) {
	at := time.Date(1999, 12, 31, 23, 59, 59, 123456789, time.FixedZone("", 3600))
	event := Event{Type: "A", Timestamp: at}
	for _, uri := range []string{"memory:", "sqlite:" + filepath.Join(t.TempDir(), "a.db")} {
		store := mustOpen(t, uri, Import())
		if err := store.Append(context.Background(), []Event{event, {Type: "B"}}); err != nil {
			t.Fatal(err)
		}
		events, _, err := store.Read(context.Background(), QueryAll())
		if err != nil || !events[0].Timestamp.Equal(at.Truncate(time.Microsecond)) || events[1].Timestamp.Year() < 2020 {
			t.Errorf("%s: %v, %v", uri, events, err)
		}
		other := mustOpen(t, "memory:")
		err = other.Append(context.Background(), []Event{event})
		if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), "events[0].timestamp") {
			t.Errorf("without the option: %v", err)
		}
	}
}

func TestCacheBytes(t *testing.T) {
	uri := "sqlite:" + filepath.Join(t.TempDir(), "a.db")
	for n, want := range map[int64]string{
		-1:        "cache_bytes: must be from 0",
		1<<40 + 1: "cache_bytes: must be from 0",
		0:         "",
		1 << 20:   "",
	} {
		s, err := Open(uri, CacheBytes(n))
		switch {
		case want == "" && err == nil:
			s.Close()
		case want == "" || err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%d: %v", n, err)
		}
	}
	if _, err := Open("memory:", CacheBytes(1)); err == nil || !strings.Contains(err.Error(), "cache_bytes: only") {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		options   []Option
		document  string
		timeoutMS int64
	}{
		{nil, `{"read_only":false,"immutable":false,"create":true,"adopt":false,"busy_timeout_ms":5000}`, 5000},
		{[]Option{ReadOnly(), BusyTimeout(-time.Second)},
			`{"read_only":true,"immutable":false,"create":true,"adopt":false,"busy_timeout_ms":-1}`, -1},
		{[]Option{Immutable(), MustExist(), Adopt(), BusyTimeout(time.Microsecond)},
			`{"read_only":false,"immutable":true,"create":false,"adopt":true,"busy_timeout_ms":1}`, 1},
		{[]Option{MaxReaders(0)}, `{"read_only":false,"immutable":false,"create":true,"adopt":false,` +
			`"busy_timeout_ms":5000,"max_readers":0}`, 5000},
		{[]Option{Import()}, `{"read_only":false,"immutable":false,"create":true,"adopt":false,"import":true,` +
			`"busy_timeout_ms":5000}`, 5000},
		{[]Option{CacheBytes(0)}, `{"read_only":false,"immutable":false,"create":true,"adopt":false,` +
			`"busy_timeout_ms":5000,"cache_bytes":0}`, 5000},
		{[]Option{Schema("s"), PoolSize(0), AllowFsyncOff()}, `{"read_only":false,"immutable":false,"create":true,` +
			`"adopt":false,"busy_timeout_ms":5000,"schema":"s","pool_size":0,"allow_fsync_off":true}`, 5000},
	} {
		document, timeoutMS, err := newOptions(test.options).document()
		if document != test.document || timeoutMS != test.timeoutMS || err != nil {
			t.Errorf("%s, %d, %v", document, timeoutMS, err)
		}
	}
}

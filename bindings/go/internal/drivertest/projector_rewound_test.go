package projector

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// server is a PostgreSQL server that tests/postgres/cluster.sh has made for a test.
type server struct {
	t      testing.TB
	input  io.Writer
	output *bufio.Scanner
	uri    string
	folder string
}

// startServer starts a server, and skips the test where none can be had.
func startServer(t testing.TB) *server {
	t.Helper()
	script := exec.Command("../../../tests/postgres/cluster.sh", "serve")
	input, err := script.StdinPipe()
	check(t, err)
	output, err := script.StdoutPipe()
	check(t, err)
	check(t, script.Start())
	t.Cleanup(func() {
		input.Close()
		script.Wait()
	})
	s := &server{t: t, input: input, output: bufio.NewScanner(output)}
	for s.output.Scan() {
		if s.output.Text() == "ready" {
			return s
		}
		if uri, found := strings.CutPrefix(s.output.Text(), "uri="); found {
			s.uri = uri
		}
		if folder, found := strings.CutPrefix(s.output.Text(), "folder="); found {
			s.folder = folder
		}
	}
	if script.Wait(); script.ProcessState.ExitCode() == 77 {
		t.Skip("there is no PostgreSQL server here")
	}
	t.Fatal("the server did not start")
	return nil
}

// do has the script obey a command.
func (s *server) do(command string) {
	s.t.Helper()
	_, err := io.WriteString(s.input, command+"\n")
	check(s.t, err)
	if !s.output.Scan() || s.output.Text() != "done" {
		s.t.Fatalf("%s: %q", command, s.output.Text())
	}
}

func (s *server) open() *dcb.PostgresStore {
	s.t.Helper()
	store, err := dcb.NewPostgresStore(s.uri)
	check(s.t, err)
	s.t.Cleanup(func() { store.Close() })
	return store
}

// openBoth opens the store so that the server's standby is read.
func (s *server) openBoth() *dcb.PostgresStore {
	s.t.Helper()
	port, err := os.ReadFile(filepath.Join(s.folder, "standby.port"))
	check(s.t, err)
	uri, err := url.Parse(s.uri)
	check(s.t, err)
	query := uri.Query()
	query.Set("host", s.folder+","+s.folder)
	query.Set("port", query.Get("port")+","+strings.TrimSpace(string(port)))
	query.Set("target_session_attrs", "prefer-standby")
	uri.RawQuery = query.Encode()
	both := *s
	both.uri = uri.String()
	return both.open()
}

func expectRewound(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, dcb.ErrHistoryRewound) {
		t.Fatalf("got %v", err)
	}
}

// A server is restored from a base backup that lacks the last events, which a projector has applied and a
// subscription has seen.
func TestDriversProjectorNoticesARestoredServer(t *testing.T) {
	ctx := context.Background()
	server := startServer(t)
	db := openFile(t, "sqlite", filepath.Join(t.TempDir(), "app.db"))
	store := server.open()
	p := seats(t, db, store, 1)
	appendEvents(t, store, 4)
	server.do("backup")
	appendEvents(t, store, 2)
	ended := make(chan error, 2)
	go func() { ended <- p.Run(ctx) }()
	waitFor(t, p, 6)
	seen := make(chan int64)
	go func() {
		for event, err := range store.SubscribeRaw(ctx, dcb.QueryAll()) {
			if err != nil {
				ended <- err
				return
			}
			seen <- event.Position
		}
	}()
	for want := range int64(6) {
		if got := <-seen; got != want+1 {
			t.Fatalf("event %d instead of %d", got, want+1)
		}
	}
	before := positions(t, db, "log_v1")

	// What runs on the open store ends, whatever the new history has at the position.
	server.do("restore")
	expectRewound(t, <-ended)
	expectRewound(t, <-ended)
	_, err := store.Head(ctx)
	expectRewound(t, err)
	check(t, store.Close())

	// And so does what a new process goes on with: there is no event at its position, or another one.
	other := server.open()
	for _, more := range []int{1, 4} {
		appendEvents(t, other, more)
		expectRewound(t, seats(t, db, other, 1).Run(ctx))
		if more == 1 {
			for _, err := range other.Subscribe(ctx, dcb.QueryAll(), dcb.FromPosition(6)) {
				expectRewound(t, err)
			}
		}
		if after := positions(t, db, "log_v1"); len(after) != len(before) {
			t.Fatalf("applied %v, and then %v", before, after)
		}
	}

	again := seats(t, db, other, 1)
	check(t, again.Reset(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM log_v1")
		return err
	}))
	stop := start(t, again)
	waitFor(t, again, 9)
	stop()
	checkApplied(t, db, other.Store, "log_v1")
}

// A projector and a subscription go on from a position that the standby, which they read, does not have yet.
func TestDriversAStandbyThatIsBehindIsNoRewoundHistory(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server := startServer(t)
	db := openFile(t, "sqlite", filepath.Join(t.TempDir(), "app.db"))
	store := server.open()
	appendEvents(t, store, 1)
	server.do("standby start")
	// Two of them: what one asks the primary for is known to it afterwards.
	behind, other := server.openBoth(), server.openBoth()
	server.do("standby pause")
	appendEvents(t, store, 3)
	first := seats(t, db, store, 1)
	stop := start(t, first)
	waitFor(t, first, 4)
	stop()

	if head, err := behind.Head(ctx); head != 1 || err != nil {
		t.Fatalf("the standby is not behind: %d, %v", head, err)
	}
	seen := make(chan any, 8)
	go func() {
		for event, err := range other.SubscribeRaw(ctx, dcb.QueryAll(), dcb.FromPosition(4)) {
			if err != nil {
				seen <- err
				return
			}
			seen <- event.Position
		}
	}()
	second := seats(t, db, behind, 1)
	start(t, second)
	select {
	case got := <-seen:
		t.Fatalf("the subscription ended: %v", got)
	case <-time.After(1500 * time.Millisecond): // longer than a look at the history takes to come
	}
	appendEvents(t, store, 2)
	server.do("standby resume")
	for want := int64(5); want <= 6; want++ {
		if got := <-seen; got != any(want) {
			t.Fatalf("%v instead of %d", got, want)
		}
	}
	waitFor(t, second, 6)
	checkApplied(t, db, store.Store, "log_v1")
}

// What follows a server goes on after it was down for longer than a look at its history takes.
func TestDriversProjectorOutlastsAServerThatIsDown(t *testing.T) {
	server := startServer(t)
	db := openFile(t, "sqlite", filepath.Join(t.TempDir(), "app.db"))
	store := server.open()
	p := seats(t, db, store, 1)
	start(t, p)
	appendEvents(t, store, 4)
	waitFor(t, p, 4)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	seen := make(chan any)
	go func() {
		for event, err := range store.SubscribeRaw(ctx, dcb.QueryAll()) {
			if err != nil {
				seen <- err
				return
			}
			seen <- event.Position
		}
	}()
	expect := func(want int64) {
		t.Helper()
		if got := <-seen; got != any(want) {
			t.Fatalf("%v instead of %d", got, want)
		}
	}
	for want := range int64(4) {
		expect(want + 1)
	}
	server.do("stop fast")
	time.Sleep(2500 * time.Millisecond)
	server.do("start")
	appendEvents(t, store, 2)
	expect(5)
	expect(6)
	waitFor(t, p, 6)
	checkApplied(t, db, store.Store, "log_v1")
}

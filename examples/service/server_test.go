package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/examples/service/courses"
)

// service is a service of the test's own process.
type service struct {
	t     testing.TB
	url   string
	store *store
	uri   string // of its database
}

func newService(t testing.TB) *service {
	ctx, cancel := context.WithCancel(context.Background())
	uri := newDatabase(t)
	store, err := openStore(ctx, uri)
	if err != nil {
		t.Fatal(err)
	}
	projected := make(chan error)
	go func() { projected <- store.readModel.Run(ctx) }()
	server := httptest.NewServer(newHandler(store, ctx))
	t.Cleanup(func() {
		cancel()
		server.Close()
		if err := <-projected; !errors.Is(err, context.Canceled) {
			t.Errorf("the projector ended with %v", err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &service{t, server.URL, store, uri}
}

// send sends a request with headers, given as names and values in turn, and returns the answer.
func (s *service) send(method, path, body string, headers ...string) (status int, answer string) {
	s.t.Helper()
	request, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Error(err)
	}
	return response.StatusCode, strings.TrimSpace(string(text))
}

// expect sends a request and checks the answer.
func (s *service) expect(method, path, body string, status int, answer string) {
	s.t.Helper()
	gotStatus, got := s.send(method, path, body)
	if gotStatus != status || got != answer {
		s.t.Errorf("%s %s: got %d %s, want %d %s", method, path, gotStatus, got, status, answer)
	}
}

func TestAPI(t *testing.T) {
	s := newService(t)
	s.expect("GET", "/courses", "", 200, `[]`)
	s.expect("POST", "/courses", `{"id":"c1","title":"Go","capacity":1}`, 200, `{"position":1}`)
	s.expect("POST", "/courses", `{"id":"c1","title":"Go","capacity":1}`, 409, `{"error":"the course exists already"}`)
	s.expect("POST", "/courses", `{"id":"c1","titel":"Go"}`, 400, `{"error":"the body: json: unknown field \"titel\""}`)
	s.expect("POST", "/courses/c1/students/s1", "", 200, `{"position":2}`)
	s.expect("POST", "/courses/c1/students/s2", "", 409, `{"error":"the course is full"}`)
	s.expect("POST", "/courses/c2/students/s2", "", 404, `{"error":"the course does not exist"}`)
	s.expect("PUT", "/courses/c1/capacity", `{"capacity":2}`, 200, `{"position":3}`)
	s.expect("PUT", "/courses/c1/capacity", `{"capacity":2}`, 200, `{"position":0}`)
	s.expect("POST", "/courses/c1/students/s2", "", 200, `{"position":4}`)
	s.expect("GET", "/courses?after=4", "", 200, `[{"id":"c1","title":"Go","capacity":2,"taken":2}]`)
	s.expect("GET", "/courses/c1", "", 200, `{"id":"c1","title":"Go","capacity":2,"taken":2}`)
	s.expect("GET", "/courses/c2", "", 404, `{"error":"the course does not exist"}`)
	s.expect("DELETE", "/courses/c1/students/s1", "", 200, `{"position":5}`)
	s.expect("DELETE", "/courses/c1/students/s1", "", 409, `{"error":"the student is not subscribed to the course"}`)
	s.expect("GET", "/students/s1/courses?after=5", "", 200, `[]`)
	s.expect("GET", "/students/s2/courses", "", 200, `[{"id":"c1","title":"Go","capacity":2,"taken":1}]`)
	s.expect("GET", "/courses?after=soon", "", 400, `{"error":"after: dcb: invalid argument"}`)
	s.expect("GET", "/healthz", "", 200, `{"head":5}`)

	_, metrics := s.send("GET", "/metrics", "")
	for _, line := range []string{
		"dcb_events_appended_total 5",
		"courses_read_model_lag_events 0",
		"courses_letters 2",
		`http_request_seconds_count{route="POST /courses/{course}/students/{student}",status="409"} 1`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("the metrics lack %s:\n%s", line, metrics)
		}
	}
}

// A client that sends a request again gets the answer of the first one, also if it does so at the same time.
func TestIdempotentClients(t *testing.T) {
	s := newService(t)
	s.expect("POST", "/courses", `{"id":"c1","title":"Go","capacity":9}`, 200, `{"position":1}`)
	var wg sync.WaitGroup
	answers := make([]string, 8)
	for i := range answers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, answers[i] = s.send("POST", "/courses/c1/students/s1", "", "Idempotency-Key", "k1")
		}()
	}
	wg.Wait()
	first := 0
	for _, answer := range answers {
		switch answer {
		case `{"position":2}`:
			first++
		case `{"position":2,"repeated":true}`:
		default:
			t.Errorf("got %s", answer)
		}
	}
	if first != 1 {
		t.Errorf("%d answers are not repeated", first)
	}
	status, answer := s.send("POST", "/courses/c1/students/s2", "", "Idempotency-Key", "k1")
	if status != 200 || answer != `{"position":3}` {
		t.Errorf("the same key for another student: %d %s", status, answer)
	}
}

func TestEventsNameTheirCause(t *testing.T) {
	s := newService(t)
	s.send("POST", "/courses", `{"id":"c1","title":"Go","capacity":9}`, "X-Correlation-ID", "from the test")
	events, _, err := s.store.events.Read(context.Background(), dcb.QueryAll())
	if err != nil || len(events) != 1 {
		t.Fatalf("got %v, %v", events, err)
	}
	if metadata := fmt.Sprint(events[0].Metadata); metadata != "map[correlation:from the test]" {
		t.Errorf("got %s", metadata)
	}
}

// If the letter cannot be stored, neither is the subscription.
func TestTheLetterIsPartOfTheSubscription(t *testing.T) {
	s := newService(t)
	s.expect("POST", "/courses", `{"id":"c1","title":"Go","capacity":9}`, 200, `{"position":1}`)
	if _, err := s.store.db.Exec("INSERT INTO letter (position, student, course) VALUES (2, '', '')"); err != nil {
		t.Fatal(err)
	}
	if status, answer := s.send("POST", "/courses/c1/students/s1", ""); status != 500 {
		t.Errorf("got %d %s", status, answer)
	}
	if count, err := s.store.events.Count(context.Background()); err != nil || count != 1 {
		t.Errorf("%d events, %v", count, err)
	}
}

// nextUpdate returns the id and the type of the next live update.
func nextUpdate(t *testing.T, lines *bufio.Scanner) (id, kind string) {
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id = text
		}
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var u update
			if err := json.Unmarshal([]byte(text), &u); err != nil {
				t.Error(err)
			}
			return id, u.Type
		}
	}
	return "", ""
}

func TestLiveUpdates(t *testing.T) {
	s := newService(t)
	s.expect("POST", "/courses", `{"id":"c1","title":"Go","capacity":9}`, 200, `{"position":1}`)
	s.expect("POST", "/courses", `{"id":"c2","title":"C","capacity":9}`, 200, `{"position":2}`)
	request, err := http.NewRequest("GET", s.url+"/courses/c1/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Last-Event-ID", "0")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	if id, kind := nextUpdate(t, lines); id != "1" || kind != courses.Defined.Name() {
		t.Errorf("got %s %s", id, kind)
	}
	s.expect("POST", "/courses/c2/students/s1", "", 200, `{"position":3}`)
	s.expect("POST", "/courses/c1/students/s1", "", 200, `{"position":4}`)
	if id, kind := nextUpdate(t, lines); id != "4" || kind != courses.Subscribed.Name() {
		t.Errorf("got %s %s", id, kind)
	}
}

// The service ends on SIGTERM, although a client follows live updates.
func TestShutdown(t *testing.T) {
	p := startProcess(t, filepath.Join(t.TempDir(), "courses.db"))
	response, err := http.Get("http://" + p.addr + "/courses/c1/live")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	begun := time.Now()
	p.terminate(t)
	t.Log("it took", time.Since(begun))
	if rest, err := io.ReadAll(response.Body); err != nil {
		t.Errorf("the updates ended with %v, after %q", err, rest)
	}
}

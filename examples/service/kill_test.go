package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	clients      = 64
	manyCourses  = 12
	manyStudents = 40
)

// load is what 64 clients do to a service that is killed.
type load struct {
	t    testing.TB
	addr atomic.Value // string: where the service listens
	http http.Client
	stop atomic.Bool // no new commands

	attempts, repeated atomic.Int64
	mu                 sync.Mutex
	answers            []answered
	live               map[string][]int64 // the positions of live updates, by course
}

// client sends commands until it is told to stop, each of them until it has an answer.
func (l *load) client(name string, random *rand.Rand) {
	var seats []answered // which the client has taken
	for i := 0; !l.stop.Load(); i++ {
		course := fmt.Sprint("c", random.IntN(manyCourses))
		student := fmt.Sprint("s", random.IntN(manyStudents))
		command, body := answered{key: fmt.Sprint(name, "-", i), course: course}, ""
		switch n := random.IntN(20); {
		case n < 1:
			command.method, command.path = "POST", "/courses"
			body = fmt.Sprintf(`{"id":%q,"title":"A course","capacity":%d}`, course, 2+random.IntN(4))
		case n < 3:
			command.method, command.path = "PUT", "/courses/"+course+"/capacity"
			body = fmt.Sprintf(`{"capacity":%d}`, 2+random.IntN(6))
		case n < 10 || len(seats) == 0:
			command.method, command.path = "POST", "/courses/"+course+"/students/"+student
		default:
			seat := seats[len(seats)-1]
			seats = seats[:len(seats)-1]
			command.method, command.path, command.course = "DELETE", seat.path, seat.course
		}
		for !l.send(&command, body) {
			time.Sleep(time.Duration(5+random.IntN(20)) * time.Millisecond)
		}
		if command.status == http.StatusOK && strings.Contains(command.path, "/students/") && command.method == "POST" {
			seats = append(seats, command)
		}
		l.mu.Lock()
		l.answers = append(l.answers, command)
		l.mu.Unlock()
	}
}

// send sends a command and reports whether the answer is final. The client cannot know otherwise whether the command
// was stored.
func (l *load) send(command *answered, body string) bool {
	l.attempts.Add(1)
	request, err := http.NewRequest(command.method, "http://"+l.addr.Load().(string)+command.path, strings.NewReader(body))
	if err != nil {
		l.t.Error(err)
		return true
	}
	request.Header.Set("Idempotency-Key", command.key)
	response, err := l.http.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	var answer outcome
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode >= 500 {
		return false
	}
	_, _ = io.Copy(io.Discard, response.Body)
	command.status, command.position = response.StatusCode, answer.Position
	if answer.Repeated {
		l.repeated.Add(1)
	}
	return true
}

// answered returns how many commands have an answer.
func (l *load) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.answers)
}

// follow notes the positions of the live updates of a course. It reconnects until the context ends.
func (l *load) follow(ctx context.Context, course string) {
	last := "0"
	for ctx.Err() == nil {
		request, err := http.NewRequestWithContext(ctx, "GET", "http://"+l.addr.Load().(string)+"/courses/"+course+"/live", nil)
		if err != nil {
			l.t.Error(err)
			return
		}
		request.Header.Set("Last-Event-ID", last)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		id := ""
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				id = text
			} else if lines.Text() == "" && id != "" { // only a whole update counts
				position, err := strconv.ParseInt(id, 10, 64)
				if err != nil {
					l.t.Error(err)
				}
				l.mu.Lock()
				l.live[course] = append(l.live[course], position)
				l.mu.Unlock()
				last, id = id, ""
			}
		}
		response.Body.Close()
	}
}

// unseen returns a command whose update the follower of its course has not got, or "" if there is none.
func (l *load) unseen() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for course, positions := range l.live {
		last := int64(0) // a command that did nothing has this position, too
		if n := len(positions); n > 0 {
			last = positions[n-1]
		}
		for _, a := range l.answers {
			if a.course == course && last < a.position {
				return fmt.Sprintf("%+v; seen are %v", a, positions)
			}
		}
	}
	return ""
}

// TestKills runs the service under load, kills it again and again, and checks all that it has said and stored.
func TestKills(t *testing.T) {
	kills := 5
	if os.Getenv(uriVariable) != "" {
		kills = 2 // a server takes longer
	}
	if os.Getenv("DCB_TEST_LONG") != "" {
		kills = 40
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	uri := newDatabase(t)
	l := &load{t: t, live: map[string][]int64{}, http: http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: clients}}}
	p := startProcess(t, uri)
	l.addr.Store(p.addr)

	var wg sync.WaitGroup
	for i := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			l.client(fmt.Sprint("client", i), rand.New(rand.NewPCG(seed, uint64(i))))
		}()
	}
	following, endFollowing := context.WithCancel(context.Background())
	defer endFollowing()
	var followers sync.WaitGroup
	for i := range 3 {
		course := fmt.Sprint("c", i)
		l.mu.Lock()
		l.live[course] = nil
		l.mu.Unlock()
		followers.Add(1)
		go func() {
			defer followers.Done()
			l.follow(following, course)
		}()
	}

	random := rand.New(rand.NewPCG(seed, clients))
	for i := range kills {
		// A random amount of work, and now and then as long as the projector needs to get its lease back.
		for enough := l.answered() + 50 + random.IntN(300); l.answered() < enough; {
			p.wait(t, time.After(time.Millisecond))
		}
		p.wait(t, time.After(time.Duration(random.IntN(1+2500*(i%2)))*time.Millisecond))
		p.kill(t)
		p = startProcess(t, uri)
		l.addr.Store(p.addr)
	}
	p.wait(t, time.After(time.Second))
	l.stop.Store(true)
	finished := make(chan time.Time)
	go func() {
		wg.Wait()
		close(finished)
	}()
	p.wait(t, finished)

	// The read model and the live updates reach the last event, and the service ends.
	head := int64(0)
	for _, a := range l.answers {
		head = max(head, a.position)
	}
	waitFor(t, "the read model", func() bool {
		response, err := http.Get(fmt.Sprintf("http://%s/courses?after=%d", p.addr, head))
		if err != nil {
			t.Fatalf("%v\n%s", err, p.output())
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	for end := time.Now().Add(time.Minute); l.unseen() != "" && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
	}
	if late := l.unseen(); late != "" { // the faults say whether that is all that is wrong
		t.Errorf("waited too long for a live update: %s\n%s", late, p.output())
	}
	endFollowing()
	followers.Wait()
	p.terminate(t)

	o := outcomes{answers: l.answers, live: l.live}
	o.load(t, uri)
	t.Logf("%d kills, %d commands in %d attempts, of which %d were answered as repeated, %d events",
		kills, len(o.answers), l.attempts.Load(), l.repeated.Load(), len(o.events))
	if len(o.events) < kills {
		t.Errorf("that is no load")
	}
	for _, fault := range o.faults() {
		t.Error(fault)
	}
}

// A course that nobody has defined has no updates, however many commands name it.
func TestOnlyUpdatesAreWaitedFor(t *testing.T) {
	l := &load{live: map[string][]int64{"c0": nil, "c1": {3}}, answers: []answered{
		{course: "c0", status: http.StatusNotFound}, {course: "c1", position: 3}, {course: "c2", position: 9},
	}}
	if missing := l.unseen(); missing != "" {
		t.Error(missing)
	}
	for _, course := range []string{"c0", "c1"} {
		l.answers = append(l.answers, answered{course: course, position: 4})
		if l.unseen() == "" {
			t.Errorf("the update of %s is not missing", course)
		}
		l.answers = l.answers[:3]
	}
}

// waitFor waits until the condition holds.
func waitFor(t testing.TB, what string, holds func() bool) {
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

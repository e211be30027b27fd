package main

import (
	"bufio"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test's own program is the service if this variable is set.
const serviceVariable = "COURSES_TEST_SERVICE"

// The tests use this database of PostgreSQL if the variable is set. Its schemas dcb and courses_test are dropped.
const uriVariable = "COURSES_TEST_URI"

// newDatabase returns the uri of an empty database.
func newDatabase(t testing.TB) string {
	uri := os.Getenv(uriVariable)
	if uri == "" {
		return filepath.Join(t.TempDir(), "courses.db")
	}
	uri += "&options=-c%20search_path%3Dcourses_test"
	db, err := sql.Open("pgx", uri)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("DROP SCHEMA IF EXISTS dcb, courses_test CASCADE; CREATE SCHEMA courses_test"); err != nil {
		t.Fatal(err)
	}
	return uri
}

func TestMain(m *testing.M) {
	if os.Getenv(serviceVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

var listening = regexp.MustCompile(`listening addr=(\S+)`)

// process is a service in a process of its own.
type process struct {
	addr string
	cmd  *exec.Cmd

	mu   sync.Mutex
	log  strings.Builder
	done chan error
}

// startProcess starts the service on a database and waits until it listens.
func startProcess(t testing.TB, uri string) *process {
	p := &process{cmd: exec.Command(os.Args[0], "-addr", "127.0.0.1:0", "-db", uri), done: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), serviceVariable+"=1")
	stderr, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	addr := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			p.mu.Lock()
			p.log.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
			if found := listening.FindStringSubmatch(lines.Text()); found != nil {
				addr <- found[1]
			}
		}
		p.done <- p.cmd.Wait()
	}()
	select {
	case p.addr = <-addr:
	case err := <-p.done:
		t.Fatalf("the service ended: %v\n%s", err, p.output())
	case <-time.After(time.Minute):
		t.Fatalf("the service does not listen:\n%s", p.output())
	}
	return p
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// wait waits for something that needs the service. The test fails if that ends by itself.
func (p *process) wait(t testing.TB, something <-chan time.Time) {
	select {
	case <-something:
	case err := <-p.done:
		t.Fatalf("the service ended by itself: %v\n%s", err, p.output())
	}
}

// kill kills the service.
func (p *process) kill(t testing.TB) {
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
}

// terminate asks the service to end and waits until it has.
func (p *process) terminate(t testing.TB) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			t.Errorf("the service ended with %v:\n%s", err, p.output())
		}
	case <-time.After(time.Minute):
		t.Errorf("the service does not end:\n%s", p.output())
	}
}

package dcb

import (
	"context"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// mutable is a Unix socket in front of a server's, through which nothing comes while it is mute.
type mutable struct {
	mu   sync.RWMutex // held by whoever passes something on
	from net.Listener
	to   string
}

func (m *mutable) serve() {
	for {
		client, err := m.from.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", m.to)
		if err != nil {
			client.Close()
			return
		}
		go m.pass(client, server)
		go m.pass(server, client)
	}
}

func (m *mutable) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		m.mu.RLock()
		_, failed := to.Write(buffer[:n])
		m.mu.RUnlock()
		if err != nil || failed != nil {
			return
		}
	}
}

// A server that does not answer, such as one whose machine is suspended, does not end a subscription that waits.
func TestSubscriptionsOutlastASilentServer(t *testing.T) {
	if postgresURI == "" {
		t.Skip("there is no PostgreSQL server")
	}
	uri, err := url.Parse(postgresURI)
	if err != nil {
		t.Fatal(err)
	}
	parameters := uri.Query()
	name := ".s.PGSQL." + parameters.Get("port")
	m := &mutable{to: filepath.Join(parameters.Get("host"), name)}
	folder := t.TempDir()
	if m.from, err = net.Listen("unix", filepath.Join(folder, name)); err != nil {
		t.Fatal(err)
	}
	defer m.from.Close()
	go m.serve()
	parameters.Set("host", folder)
	through := *uri
	through.RawQuery = strings.ReplaceAll(parameters.Encode(), "+", "%20")

	schema := Schema("dcb_go_silent")
	store, err := Open(through.String(), schema, AllowFsyncOff())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	direct, err := Open(postgresURI, schema, AllowFsyncOff())
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	mustAppend(t, store, Event{Type: "A"})

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() {
		untilWaiting(store, 1)
		m.mu.Lock()
		time.Sleep(12 * time.Second) // whoever asks gives up after ten
		m.mu.Unlock()
		if err := direct.Append(ctx, []Event{{Type: "A"}}); err != nil {
			t.Error(err)
		}
	}()
	for event, err := range store.SubscribeRaw(ctx, QueryAll(), FromPosition(1)) {
		if err != nil || event.Position != 2 {
			t.Errorf("got event %d, %v", event.Position, err)
		}
		break
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/examples/service/courses"
)

const (
	// keepAlive is how often something is sent, so that a proxy or a client does not give up.
	keepAlive = 15 * time.Second
	// writeTimeout is how long a client may leave unread what was sent to it.
	writeTimeout = 10 * time.Second
)

// update is what happened to a course.
type update struct {
	Type    string `json:"type"`
	Student string `json:"student,omitempty"`
	Data    any    `json:"data"`
}

// follow sends what happens to a course, as server-sent events whose ids are positions. A client that reconnects sends
// the last id that it has seen, as browsers do, and misses nothing. A new one begins with the present.
func (s *server) follow(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.live, cancel)()
	position, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		position, err = s.events.Head(ctx)
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	client := http.NewResponseController(w)
	query := dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{courses.CourseTag(r.PathValue("course"))}})
	for batch, err := range s.events.SubscribeBatches(ctx, query, keepAlive, dcb.FromPosition(position)) {
		if err != nil {
			return // the client comes back with its last id
		}
		_ = client.SetWriteDeadline(time.Now().Add(writeTimeout))
		for _, event := range batch.Events {
			_, student := courses.IDs(event)
			data, err := json.Marshal(update{event.Type, student, event.Data})
			if err != nil {
				return
			}
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", event.Position, data)
		}
		if len(batch.Events) == 0 {
			fmt.Fprint(w, ": nothing new\n\n")
		}
		if client.Flush() != nil {
			return
		}
	}
}

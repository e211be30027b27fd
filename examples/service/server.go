package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/examples/service/courses"
)

// timeout is how long a request may take, with all retries.
const timeout = 5 * time.Second

// server answers the requests of the API.
type server struct {
	*store
	live    context.Context // ends when the server shuts down
	metrics metrics
}

// newHandler returns the API. Its live updates end with the context.
func newHandler(store *store, live context.Context) http.Handler {
	s := &server{store: store, live: live}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /courses", s.define)
	mux.HandleFunc("PUT /courses/{course}/capacity", s.changeCapacity)
	mux.HandleFunc("POST /courses/{course}/students/{student}", s.subscribe)
	mux.HandleFunc("DELETE /courses/{course}/students/{student}", s.unsubscribe)
	mux.HandleFunc("GET /courses", s.courses)
	mux.HandleFunc("GET /courses/{course}", s.course)
	mux.HandleFunc("GET /courses/{course}/live", s.follow)
	mux.HandleFunc("GET /students/{student}/courses", s.coursesOf)
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /metrics", s.writeMetrics)
	return s.metrics.count(mux)
}

func (s *server) define(w http.ResponseWriter, r *http.Request) {
	var cmd courses.Define
	if readBody(w, r, &cmd) {
		handle(s, w, r, courses.Defining, cmd)
	}
}

func (s *server) changeCapacity(w http.ResponseWriter, r *http.Request) {
	var body courses.Capacity
	if readBody(w, r, &body) {
		handle(s, w, r, courses.ChangingCapacity, courses.ChangeCapacity{Course: r.PathValue("course"), Capacity: body.Capacity})
	}
}

func (s *server) subscribe(w http.ResponseWriter, r *http.Request) {
	cmd := courses.Subscribe{Course: r.PathValue("course"), Student: r.PathValue("student")}
	handle(s, w, r, courses.Subscribing, cmd, letter(r.Context(), cmd))
}

func (s *server) unsubscribe(w http.ResponseWriter, r *http.Request) {
	handle(s, w, r, courses.Unsubscribing, courses.Unsubscribe{Course: r.PathValue("course"), Student: r.PathValue("student")})
}

// handle decides about a command and answers with what happened. A client that got no answer sends the same request
// again, with the same Idempotency-Key: if the first one was stored, the answer is that of the first one.
func handle[S, C any](
	s *server, w http.ResponseWriter, r *http.Request, decider dcb.Decider[S, C], cmd C, opts ...dcb.DecideOption,
) {
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	correlation := r.Header.Get("X-Correlation-ID")
	if correlation == "" {
		correlation = rand.Text()
	}
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		// A key that is used again for something else is another request.
		opts = append(opts, dcb.WithRequestID(r.Method+" "+r.URL.EscapedPath()+" "+key))
	}
	handler := dcb.CommandHandler[S, C]{Decider: decider, Store: s.events}
	decision, err := handler.Run(correlate(ctx, correlation), cmd, opts...)
	if err != nil {
		refuse(w, r, err)
		return
	}
	answer(w, http.StatusOK, outcome{decision.Last, decision.Repeated})
}

// outcome is the answer to a command. A query with ?after=POSITION sees what the command did. The position is 0 if
// there was nothing to do.
type outcome struct {
	Position int64 `json:"position"`
	Repeated bool  `json:"repeated,omitempty"`
}

func (s *server) courses(w http.ResponseWriter, r *http.Request) {
	s.query(w, r, func(ctx context.Context) (any, error) {
		return s.courseRows(ctx, "TRUE")
	})
}

func (s *server) course(w http.ResponseWriter, r *http.Request) {
	s.query(w, r, func(ctx context.Context) (any, error) {
		rows, err := s.courseRows(ctx, "id = $1", r.PathValue("course"))
		if err == nil && len(rows) == 0 {
			err = courses.ErrUnknownCourse
		}
		if err != nil {
			return nil, err
		}
		return rows[0], nil
	})
}

func (s *server) coursesOf(w http.ResponseWriter, r *http.Request) {
	s.query(w, r, func(ctx context.Context) (any, error) {
		return s.courseRows(ctx, "id IN (SELECT course FROM enrolment WHERE student = $1)", r.PathValue("student"))
	})
}

// query answers with what run finds in the read model. With ?after=POSITION it first waits until the read model has come
// that far, so that a client reads its own writes.
func (s *server) query(w http.ResponseWriter, r *http.Request, run func(context.Context) (any, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	if after := r.FormValue("after"); after != "" {
		position, err := strconv.ParseInt(after, 10, 64)
		if err == nil {
			err = s.readModel.WaitFor(ctx, position)
		} else {
			err = fmt.Errorf("after: %w", dcb.ErrInvalidArgument)
		}
		if err != nil {
			refuse(w, r, err)
			return
		}
	}
	found, err := run(ctx)
	if err != nil {
		refuse(w, r, err)
		return
	}
	answer(w, http.StatusOK, found)
}

// health answers whether the service can read its events.
func (s *server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	head, err := s.events.Head(ctx)
	if err != nil {
		refuse(w, r, err)
		return
	}
	answer(w, http.StatusOK, map[string]int64{"head": head})
}

// refuse answers with an error. Of these, 503 is worth another attempt, and so is 500 with the same Idempotency-Key.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	var rejection courses.Rejection
	switch {
	case errors.Is(err, courses.ErrUnknownCourse):
		status = http.StatusNotFound
	case errors.Is(err, courses.ErrInvalid), errors.Is(err, dcb.ErrInvalidArgument), errors.Is(err, dcb.ErrTooLarge):
		status = http.StatusBadRequest
	case errors.As(err, &rejection):
		status = http.StatusConflict
	case errors.Is(err, dcb.ErrBusy), errors.Is(err, dcb.ErrAppendConditionFailed), errors.Is(err, context.DeadlineExceeded):
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	}
	if status == http.StatusInternalServerError && r.Context().Err() == nil {
		slog.ErrorContext(r.Context(), "a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	answer(w, status, map[string]string{"error": err.Error()})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever does not read it has gone
}

// readBody decodes the body of a request, or answers what is wrong with it.
func readBody(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "the body: " + err.Error()})
		return false
	}
	return true
}

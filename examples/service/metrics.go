package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// metrics counts requests. The zero metrics is ready to use.
type metrics struct {
	mu       sync.Mutex
	requests map[request]requestCount
}

// request is a kind of request: its route, such as "GET /courses/{course}", and the status of the answer.
type request struct {
	route  string
	status int
}

type requestCount struct {
	n    int64
	time time.Duration
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] reach the writer that can flush.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// count returns the handler with its requests counted.
func (m *metrics) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		writer := &statusWriter{w, http.StatusOK}
		next.ServeHTTP(writer, r)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.requests == nil {
			m.requests = map[request]requestCount{}
		}
		kind := request{r.Pattern, writer.status} // the mux has set the pattern
		count := m.requests[kind]
		m.requests[kind] = requestCount{count.n + 1, count.time + time.Since(start)}
	})
}

// writeMetrics answers with the metrics of the service as text that Prometheus reads.
func (s *server) writeMetrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	status, err := s.readModel.Status(ctx)
	if err != nil {
		refuse(w, r, err)
		return
	}
	var letters int64
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM letter").Scan(&letters); err != nil {
		refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	write := func(name, kind string, value any) {
		fmt.Fprintf(w, "# TYPE %s %s\n%s %v\n", name, kind, name, value)
	}
	write("dcb_appends_total", "counter", s.counters.Appends.Load())
	write("dcb_events_appended_total", "counter", s.counters.EventsAppended.Load())
	write("dcb_conflicts_total", "counter", s.counters.Conflicts.Load())
	write("dcb_retries_total", "counter", s.counters.Retries.Load())
	write("dcb_reads_total", "counter", s.counters.Reads.Load())
	write("dcb_events_read_total", "counter", s.counters.EventsRead.Load())
	write("dcb_failures_total", "counter", s.counters.Failures.Load())
	write("courses_read_model_lag_events", "gauge", status.Lag)
	write("courses_read_model_age_seconds", "gauge", status.Age.Seconds())
	write("courses_read_model_parked_events", "gauge", status.Parked)
	write("courses_letters", "gauge", letters)
	s.metrics.write(w)
}

func (m *metrics) write(w http.ResponseWriter) {
	m.mu.Lock()
	requests := maps.Clone(m.requests)
	m.mu.Unlock()
	kinds := slices.SortedFunc(maps.Keys(requests), func(a, b request) int {
		if a.route != b.route {
			return cmp.Compare(a.route, b.route)
		}
		return a.status - b.status
	})
	fmt.Fprint(w, "# TYPE http_request_seconds summary\n")
	for _, kind := range kinds {
		labels := fmt.Sprintf("{route=%q,status=\"%d\"}", kind.route, kind.status)
		fmt.Fprintf(w, "http_request_seconds_count%s %d\n", labels, requests[kind].n)
		fmt.Fprintf(w, "http_request_seconds_sum%s %v\n", labels, requests[kind].time.Seconds())
	}
}

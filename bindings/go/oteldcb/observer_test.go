package oteldcb_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	apitrace "go.opentelemetry.io/otel/trace"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/bindings/go/oteldcb"
)

// telemetry is an SDK that records everything.
type telemetry struct {
	spans  *tracetest.InMemoryExporter
	tracer apitrace.Tracer
	reader *metric.ManualReader
	opts   []oteldcb.Option
}

func newTelemetry(t *testing.T, opts ...oteldcb.Option) *telemetry {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	tracers := trace.NewTracerProvider(trace.WithSyncer(spans))
	reader := metric.NewManualReader()
	meters := metric.NewMeterProvider(metric.WithReader(reader))
	t.Cleanup(func() {
		if err := errors.Join(tracers.Shutdown(context.Background()), meters.Shutdown(context.Background())); err != nil {
			t.Error(err)
		}
	})
	return &telemetry{spans, tracers.Tracer("test"), reader,
		append(opts, oteldcb.WithTracerProvider(tracers), oteldcb.WithMeterProvider(meters))}
}

func (t *telemetry) open(test *testing.T) *dcb.Store {
	test.Helper()
	store, err := dcb.Open("sqlite:"+filepath.Join(test.TempDir(), "store.db"),
		dcb.WithObserver(oteldcb.NewObserver(t.opts...)))
	if err != nil {
		test.Fatal(err)
	}
	test.Cleanup(func() { _ = store.Close() })
	return store
}

// wanted describes a span. An attribute that is nil must be absent.
type wanted struct {
	name       string
	parent     string
	kind       apitrace.SpanKind
	status     codes.Code
	attributes map[attribute.Key]any
	events     int
}

func (t *telemetry) check(test *testing.T, want ...wanted) {
	test.Helper()
	got := t.spans.GetSpans()
	t.spans.Reset()
	if len(got) != len(want) {
		test.Errorf("%d spans, want %d", len(got), len(want))
	}
	names := map[apitrace.SpanID]string{}
	for _, span := range got {
		names[span.SpanContext.SpanID()] = span.Name
	}
	for i, span := range got[:min(len(got), len(want))] {
		w := want[i]
		if span.Name != w.name || names[span.Parent.SpanID()] != w.parent || span.SpanKind != w.kind || span.Status.Code != w.status {
			test.Errorf("span %d is %q in %q, kind %v, status %v; want %+v",
				i, span.Name, names[span.Parent.SpanID()], span.SpanKind, span.Status, w)
		}
		if span.EndTime.Before(span.StartTime) {
			test.Errorf("span %d ends before it begins", i)
		}
		if len(span.Events) != w.events {
			test.Errorf("span %d has the events %v, want %d", i, span.Events, w.events)
		}
		attributes := attribute.NewSet(span.Attributes...)
		for key, value := range w.attributes {
			found, ok := attributes.Value(key)
			if ok != (value != nil) || ok && found.AsInterface() != value {
				test.Errorf("span %d, %s: %v, want %v", i, key, found.AsInterface(), value)
			}
		}
	}
}

var (
	all   = dcb.QueryAll()
	count = dcb.Projection[int]{Evolve: func(n int, _ dcb.SequencedEvent) int { return n + 1 }}
)

func TestTraces(t *testing.T) {
	telemetry := newTelemetry(t, oteldcb.WithNamespace("courses"), oteldcb.WithAttributes(attribute.String("zone", "a")))
	store := telemetry.open(t)
	ctx := context.Background()

	ctx, root := telemetry.tracer.Start(ctx, "request")
	if err := store.Append(ctx, []dcb.Event{{Type: "A"}, {Type: "B"}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Read(ctx, all); err != nil {
		t.Fatal(err)
	}
	if err := store.Append(ctx, []dcb.Event{{Type: "A"}}, dcb.AppendCondition{FailIfEventsMatch: all}); !errors.Is(err, dcb.ErrAppendConditionFailed) {
		t.Fatal(err)
	}
	if err := store.Append(ctx, []dcb.Event{{Type: ""}}); !errors.Is(err, dcb.ErrInvalidArgument) {
		t.Fatal(err)
	}
	root.End()
	telemetry.check(t,
		wanted{
			name: "append courses", parent: "request", kind: apitrace.SpanKindClient,
			attributes: map[attribute.Key]any{
				"db.system.name": "libdcb", "db.namespace": "courses", "db.operation.name": "append", "zone": "a",
				"db.operation.batch.size": int64(2), "dcb.position": int64(2),
				"db.response.status_code": nil, "error.type": nil,
			},
		},
		wanted{
			name: "read courses", parent: "request", kind: apitrace.SpanKindClient,
			attributes: map[attribute.Key]any{
				"db.operation.name": "read", "db.response.returned_rows": int64(2), "dcb.position": int64(2),
			},
		},
		wanted{
			name: "append courses", parent: "request", kind: apitrace.SpanKindClient, status: codes.Unset,
			attributes: map[attribute.Key]any{"db.response.status_code": "condition_failed", "error.type": nil},
		},
		wanted{
			name: "append courses", parent: "request", kind: apitrace.SpanKindClient, status: codes.Error,
			attributes: map[attribute.Key]any{"db.response.status_code": "invalid_argument", "error.type": "invalid_argument"},
		},
		wanted{name: "request", kind: apitrace.SpanKindInternal},
	)
}

func TestTracesOfDecisions(t *testing.T) {
	telemetry := newTelemetry(t)
	store := telemetry.open(t)
	first := true
	_, err := dcb.Decide(context.Background(), store, count, func(int) ([]dcb.Event, error) {
		if first {
			first = false
			return []dcb.Event{{Type: "A"}}, store.Append(context.Background(), []dcb.Event{{Type: "rival"}})
		}
		return []dcb.Event{{Type: "A"}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const client, internal = apitrace.SpanKindClient, apitrace.SpanKindInternal
	telemetry.check(t,
		wanted{name: "read", parent: "decide", kind: client},
		wanted{name: "append", kind: client},
		wanted{name: "append", parent: "decide", kind: client, attributes: map[attribute.Key]any{
			"db.response.status_code": "condition_failed",
		}},
		wanted{name: "read", parent: "decide", kind: client},
		wanted{name: "append", parent: "decide", kind: client},
		wanted{name: "decide", kind: internal, events: 1, attributes: map[attribute.Key]any{
			"db.operation.name": "decide", "dcb.events": int64(1), "dcb.attempts": int64(2), "error.type": nil,
		}},
	)

	refusal := errors.New("no seat is left")
	_, err = dcb.Decide(context.Background(), store, count, func(int) ([]dcb.Event, error) { return nil, refusal })
	if err != refusal {
		t.Fatal(err)
	}
	telemetry.check(t,
		wanted{name: "read", parent: "decide", kind: client},
		wanted{name: "decide", kind: internal, status: codes.Unset, attributes: map[attribute.Key]any{
			"db.response.status_code": "refused", "error.type": nil,
		}},
	)
}

// An operation that its context ended is no failure, and a wait does not end the span of the decision around it.
func TestTracesOfEndedContexts(t *testing.T) {
	telemetry := newTelemetry(t)
	store := telemetry.open(t)
	ctx := context.Background()
	if err := store.Append(ctx, []dcb.Event{{Type: "A"}, {Type: "A"}}); err != nil {
		t.Fatal(err)
	}
	telemetry.spans.Reset()
	ended, cancel := context.WithCancel(ctx)
	for range store.Events(ended, all) {
		cancel()
	}
	telemetry.check(t, wanted{name: "read", kind: apitrace.SpanKindClient, status: codes.Unset})

	ctx, cancel = context.WithTimeout(ctx, time.Second)
	defer cancel()
	wait := func(int) ([]dcb.Event, error) {
		_, err := store.Wait(ctx, 2)
		return nil, err
	}
	if _, err := dcb.Decide(ctx, store, count, wait); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	telemetry.check(t,
		wanted{name: "read", parent: "decide", kind: apitrace.SpanKindClient},
		wanted{name: "decide", kind: apitrace.SpanKindInternal, status: codes.Unset},
	)
}

// Each of two observers ends its own spans only.
func TestTwoObservers(t *testing.T) {
	first, second := newTelemetry(t), newTelemetry(t)
	store, err := dcb.Open("memory:", dcb.WithObserver(dcb.Observers(
		oteldcb.NewObserver(first.opts...), oteldcb.NewObserver(second.opts...))))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if err := store.Append(context.Background(), []dcb.Event{{Type: "A"}}); err != nil {
		t.Fatal(err)
	}
	for i, telemetry := range []*telemetry{first, second} {
		if spans := telemetry.spans.GetSpans(); len(spans) != 1 || spans[0].EndTime.IsZero() {
			t.Errorf("the observer %d has told of %v", i, spans)
		}
	}
}

// measured returns the points of the metrics by their values of db.operation.name and db.response.status_code: the
// value of a sum, or the count of a histogram.
func (t *telemetry) measured(test *testing.T) map[string]int64 {
	test.Helper()
	var data metricdata.ResourceMetrics
	if err := t.reader.Collect(context.Background(), &data); err != nil {
		test.Fatal(err)
	}
	found := map[string]int64{}
	note := func(name string, attributes attribute.Set, count int64) {
		for _, key := range []attribute.Key{"db.operation.name", "db.response.status_code", "error.type"} {
			if value, ok := attributes.Value(key); ok {
				name += " " + value.AsString()
			}
		}
		if value, _ := attributes.Value("db.system.name"); value.AsString() != "libdcb" {
			test.Errorf("%s has the attributes %v", name, attributes)
		}
		found[name] += count
	}
	for _, scope := range data.ScopeMetrics {
		if scope.Scope.Version != dcb.Version() {
			test.Errorf("the scope is %v", scope.Scope)
		}
		for _, m := range scope.Metrics {
			switch points := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, point := range points.DataPoints {
					note(m.Name, point.Attributes, point.Value)
				}
			case metricdata.Histogram[int64]:
				for _, point := range points.DataPoints {
					note(m.Name, point.Attributes, int64(point.Count))
					note(m.Name+" sum", point.Attributes, point.Sum)
				}
			case metricdata.Histogram[float64]:
				for _, point := range points.DataPoints {
					note(m.Name, point.Attributes, int64(point.Count))
					if m.Unit != "s" || point.Sum <= 0 || point.Sum > 60 {
						test.Errorf("%s: %v %s", m.Name, point.Sum, m.Unit)
					}
				}
			default:
				test.Errorf("%s is a %T", m.Name, m.Data)
			}
		}
	}
	return found
}

func TestMetrics(t *testing.T) {
	telemetry := newTelemetry(t)
	store := telemetry.open(t)
	ctx := context.Background()

	if err := store.Append(ctx, []dcb.Event{{Type: "A"}, {Type: "B"}}); err != nil {
		t.Fatal(err)
	}
	_ = store.Append(ctx, []dcb.Event{{Type: ""}})
	first := true
	_, err := dcb.Decide(ctx, store, count, func(int) ([]dcb.Event, error) {
		if first {
			first = false
			return []dcb.Event{{Type: "A"}}, store.Append(ctx, []dcb.Event{{Type: "rival"}})
		}
		return []dcb.Event{{Type: "A"}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, err := range store.Subscribe(ended, all, dcb.FromPosition(4)) {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	want := map[string]int64{
		"db.client.operation.duration append":                                   3,
		"db.client.operation.duration append condition_failed":                  1,
		"db.client.operation.duration append invalid_argument invalid_argument": 1,
		"db.client.operation.duration read":                                     3,
		"db.client.operation.duration wait timeout":                             1,
		"db.client.operation.duration decide":                                   1,
		"db.client.response.returned_rows read":                                 3,
		"db.client.response.returned_rows sum read":                             2 + 3,
		"dcb.append.events append":                                              2 + 1 + 1,
		"dcb.append.conflicts append":                                           1,
		"dcb.decide.retries retry":                                              1,
	}
	got := telemetry.measured(t)
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s: %d, want %d", name, got[name], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
}

// Without an SDK, the observer reports nothing and does not fail.
func TestNoSDK(t *testing.T) {
	store, err := dcb.Open("memory:", dcb.WithObserver(oteldcb.NewObserver()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if err := store.Append(context.Background(), []dcb.Event{{Type: "A"}}); err != nil {
		t.Error(err)
	}
}

package oteldcb

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// scope is the name of the instrumentation.
const scope = "github.com/libdcb/libdcb/bindings/go/oteldcb"

// Observer makes spans and metrics of the operations of the stores that are opened with it. To tell several
// stores apart, give each an observer of its own, with [WithNamespace].
type Observer struct {
	tracer     trace.Tracer
	name       string // follows the kind of operation in the name of a span
	attributes []attribute.KeyValue

	duration  metric.Float64Histogram
	rows      metric.Int64Histogram
	appended  metric.Int64Counter
	conflicts metric.Int64Counter
	retries   metric.Int64Counter
}

var _ dcb.StartObserver = (*Observer)(nil)

// Option configures an [Observer].
type Option func(*options)

type options struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	namespace  string
	attributes []attribute.KeyValue
}

// WithTracerProvider uses the tracer of this provider instead of the global one.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(o *options) { o.tracers = provider }
}

// WithMeterProvider uses the meter of this provider instead of the global one.
func WithMeterProvider(provider metric.MeterProvider) Option {
	return func(o *options) { o.meters = provider }
}

// WithNamespace sets db.namespace to the name of the store, such as its file name or its purpose. There should
// be few such names.
func WithNamespace(name string) Option {
	return func(o *options) { o.namespace = name }
}

// WithAttributes adds attributes to all spans and metrics.
func WithAttributes(attributes ...attribute.KeyValue) Option {
	return func(o *options) { o.attributes = append(o.attributes, attributes...) }
}

// NewObserver returns an observer for [dcb.WithObserver]. It reports an instrument that OpenTelemetry rejects to
// OpenTelemetry's error handler.
func NewObserver(opts ...Option) *Observer {
	o := options{tracers: otel.GetTracerProvider(), meters: otel.GetMeterProvider()}
	for _, opt := range opts {
		opt(&o)
	}
	observer := &Observer{tracer: o.tracers.Tracer(scope, trace.WithInstrumentationVersion(dcb.Version()))}
	observer.attributes = append(observer.attributes, attribute.String("db.system.name", "libdcb"))
	if o.namespace != "" {
		observer.name = " " + o.namespace
		observer.attributes = append(observer.attributes, attribute.String("db.namespace", o.namespace))
	}
	observer.attributes = append(observer.attributes, o.attributes...)

	meter := o.meters.Meter(scope, metric.WithInstrumentationVersion(dcb.Version()))
	var failures [5]error
	observer.duration, failures[0] = meter.Float64Histogram("db.client.operation.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of appends, reads, waits and decisions."),
		// The buckets of the semantic conventions, and shorter ones for a store in the same process.
		metric.WithExplicitBucketBoundaries(
			0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10))
	observer.rows, failures[1] = meter.Int64Histogram("db.client.response.returned_rows",
		metric.WithUnit("{row}"), metric.WithDescription("Number of events that a read returned."),
		metric.WithExplicitBucketBoundaries(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000))
	observer.appended, failures[2] = meter.Int64Counter("dcb.append.events",
		metric.WithUnit("{event}"), metric.WithDescription("Number of events appended."))
	observer.conflicts, failures[3] = meter.Int64Counter("dcb.append.conflicts",
		metric.WithUnit("{append}"), metric.WithDescription("Number of appends whose condition failed."))
	observer.retries, failures[4] = meter.Int64Counter("dcb.decide.retries",
		metric.WithUnit("{retry}"), metric.WithDescription("Number of decisions made again after a failed condition."))
	if err := errors.Join(failures[:]...); err != nil {
		otel.Handle(err)
	}
	return observer
}

// spanKey is the key of an operation's span in its context. The context's current span may be one of another
// observer, or one that the caller has begun since.
type spanKey struct {
	observer *Observer
}

// ObserveStart begins a span, unless the operation is a wait.
func (o *Observer) ObserveStart(ctx context.Context, kind dcb.OperationKind) context.Context {
	spanKind := trace.SpanKindClient
	switch kind {
	case dcb.OperationAppend, dcb.OperationRead:
	case dcb.OperationDecide:
		spanKind = trace.SpanKindInternal
	default:
		return ctx
	}
	ctx, span := o.tracer.Start(ctx, string(kind)+o.name,
		trace.WithSpanKind(spanKind),
		trace.WithAttributes(o.attributes...),
		trace.WithAttributes(attribute.String("db.operation.name", string(kind))))
	return context.WithValue(ctx, spanKey{o}, span)
}

// Observe ends the span of the operation and records the metrics.
func (o *Observer) Observe(ctx context.Context, operation dcb.Operation) {
	if span, ok := ctx.Value(spanKey{o}).(trace.Span); ok {
		o.trace(ctx, span, operation)
	}
	o.measure(ctx, operation)
}

func (o *Observer) trace(ctx context.Context, span trace.Span, operation dcb.Operation) {
	switch operation.Kind {
	case dcb.OperationRetry:
		// The span is that of the decision.
		span.AddEvent("dcb.retry", trace.WithTimestamp(operation.Start), trace.WithAttributes(
			attribute.Int("dcb.attempts", operation.Attempt),
			attribute.Float64("dcb.delay", operation.Duration.Seconds())))
		return
	case dcb.OperationWait:
		// The span is that of an operation around it.
		return
	}
	defer span.End(trace.WithTimestamp(operation.Start.Add(operation.Duration)))
	if !span.IsRecording() {
		return
	}
	switch operation.Kind {
	case dcb.OperationAppend:
		// The conventions omit the size of a batch of one.
		if operation.Events > 1 {
			span.SetAttributes(attribute.Int("db.operation.batch.size", operation.Events))
		}
	case dcb.OperationRead:
		span.SetAttributes(attribute.Int("db.response.returned_rows", operation.Events))
	case dcb.OperationDecide:
		span.SetAttributes(
			attribute.Int("dcb.events", operation.Events), attribute.Int("dcb.attempts", operation.Attempt))
	}
	if operation.Position > 0 {
		span.SetAttributes(attribute.Int64("dcb.position", operation.Position))
	}
	span.SetAttributes(outcome(ctx, operation)...)
	if operation.Failed(ctx) {
		span.SetStatus(codes.Error, operation.Err.Error())
	}
}

func (o *Observer) measure(ctx context.Context, operation dcb.Operation) {
	kind := attribute.String("db.operation.name", string(operation.Kind))
	plain := metric.WithAttributes(append(o.attributes[:len(o.attributes):len(o.attributes)], kind)...)
	switch operation.Kind {
	case dcb.OperationRetry:
		o.retries.Add(ctx, 1, plain)
		return
	case dcb.OperationAppend:
		if errors.Is(operation.Err, dcb.ErrAppendConditionFailed) {
			o.conflicts.Add(ctx, 1, plain)
		} else if operation.Err == nil {
			o.appended.Add(ctx, int64(operation.Events), plain)
		}
	case dcb.OperationRead:
		if operation.Err == nil {
			o.rows.Record(ctx, int64(operation.Events), plain)
		}
	}
	o.duration.Record(ctx, operation.Duration.Seconds(), plain, metric.WithAttributes(outcome(ctx, operation)...))
}

// outcome returns the attributes of a failure. There are few values of them, so metrics have them too.
func outcome(ctx context.Context, operation dcb.Operation) []attribute.KeyValue {
	if operation.Err == nil {
		return nil
	}
	code := codeOf(operation)
	attributes := []attribute.KeyValue{attribute.String("db.response.status_code", code)}
	if operation.Failed(ctx) {
		attributes = append(attributes, attribute.String("error.type", code))
	}
	return attributes
}

// codeOf returns the status of a failure.
func codeOf(operation dcb.Operation) string {
	if operation.Refused {
		return "refused"
	}
	var failure *dcb.Error
	switch {
	case errors.As(operation.Err, &failure):
		return failure.Status.String()
	case errors.Is(operation.Err, context.Canceled):
		return dcb.StatusCancelled.String()
	case errors.Is(operation.Err, context.DeadlineExceeded):
		return dcb.StatusTimeout.String()
	}
	return fmt.Sprintf("%T", operation.Err)
}

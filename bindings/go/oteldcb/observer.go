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

// scope is the name by which OpenTelemetry knows who tells.
const scope = "github.com/libdcb/libdcb/bindings/go/oteldcb"

// Observer makes spans and metrics of what the stores do that are opened with it. It may be given
// to several, but then it cannot tell them apart: an observer for each can, by [WithNamespace].
type Observer struct {
	tracer     trace.Tracer
	name       string // behind an operation's in the name of a span
	attributes []attribute.KeyValue

	duration  metric.Float64Histogram
	rows      metric.Int64Histogram
	appended  metric.Int64Counter
	conflicts metric.Int64Counter
	retries   metric.Int64Counter
}

var _ dcb.StartObserver = (*Observer)(nil)

// Option is a choice about an [Observer].
type Option func(*options)

type options struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	namespace  string
	attributes []attribute.KeyValue
}

// WithTracerProvider takes the tracer from this provider in place of the global one.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(o *options) { o.tracers = provider }
}

// WithMeterProvider takes the meter from this provider in place of the global one.
func WithMeterProvider(provider metric.MeterProvider) Option {
	return func(o *options) { o.meters = provider }
}

// WithNamespace names the store, as db.namespace: the file's name, say, or what it is for. There
// should be few such names.
func WithNamespace(name string) Option {
	return func(o *options) { o.namespace = name }
}

// WithAttributes adds attributes to all spans and metrics.
func WithAttributes(attributes ...attribute.KeyValue) Option {
	return func(o *options) { o.attributes = append(o.attributes, attributes...) }
}

// NewObserver returns an observer for [dcb.WithObserver]. Whatever OpenTelemetry refuses of it is
// told to OpenTelemetry's own error handler.
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
		metric.WithUnit("s"), metric.WithDescription("How long appends, reads, waits and decisions took."),
		// Those of the semantic conventions, and below them what a store in the same process takes.
		metric.WithExplicitBucketBoundaries(
			0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10))
	observer.rows, failures[1] = meter.Int64Histogram("db.client.response.returned_rows",
		metric.WithUnit("{row}"), metric.WithDescription("How many events a read gave."),
		metric.WithExplicitBucketBoundaries(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000))
	observer.appended, failures[2] = meter.Int64Counter("dcb.append.events",
		metric.WithUnit("{event}"), metric.WithDescription("Events that were appended."))
	observer.conflicts, failures[3] = meter.Int64Counter("dcb.append.conflicts",
		metric.WithUnit("{append}"), metric.WithDescription("Appends whose condition failed."))
	observer.retries, failures[4] = meter.Int64Counter("dcb.decide.retries",
		metric.WithUnit("{retry}"), metric.WithDescription("Decisions made again after a failed condition."))
	if err := errors.Join(failures[:]...); err != nil {
		otel.Handle(err)
	}
	return observer
}

// spanKey is where the span of an operation is in its context. That of a context may also be
// another observer's, or one that the caller has begun in the meantime.
type spanKey struct {
	observer *Observer
}

// ObserveStart begins a span.
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

// Observe ends the span, and measures.
func (o *Observer) Observe(ctx context.Context, operation dcb.Operation) {
	if span, ok := ctx.Value(spanKey{o}).(trace.Span); ok {
		o.trace(ctx, span, operation)
	}
	o.measure(ctx, operation)
}

func (o *Observer) trace(ctx context.Context, span trace.Span, operation dcb.Operation) {
	switch operation.Kind {
	case dcb.OperationRetry:
		// The context is that of the decision.
		span.AddEvent("dcb.retry", trace.WithTimestamp(operation.Start), trace.WithAttributes(
			attribute.Int("dcb.attempts", operation.Attempt),
			attribute.Float64("dcb.pause", operation.Duration.Seconds())))
		return
	case dcb.OperationWait:
		// That of whatever it is within.
		return
	}
	defer span.End(trace.WithTimestamp(operation.Start.Add(operation.Duration)))
	if !span.IsRecording() {
		return
	}
	switch operation.Kind {
	case dcb.OperationAppend:
		// The conventions leave out a batch of one.
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

// outcome is how it failed, nothing if it did not: of few kinds, so that metrics may have it.
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

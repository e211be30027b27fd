package oteldcb_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/bindings/go/oteldcb"
)

func Example() {
	// A program sets this up once, with an exporter of its own. If it makes the provider the global one,
	// NewObserver needs no option.
	exporter := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(exporter))

	store, err := dcb.Open("memory:", dcb.WithObserver(oteldcb.NewObserver(
		oteldcb.WithTracerProvider(provider), oteldcb.WithNamespace("courses"))))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }()

	count := dcb.Projection[int]{Evolve: func(n int, _ dcb.SequencedEvent) int { return n + 1 }}
	_, err = dcb.Decide(context.Background(), store, count, func(taken int) ([]dcb.Event, error) {
		return []dcb.Event{{Type: "SeatTaken", Data: taken + 1}}, nil
	})
	if err != nil {
		fmt.Println(err)
	}

	for _, span := range exporter.GetSpans() {
		fmt.Println(span.SpanKind, span.Name)
	}
	// Output:
	// client read courses
	// client append courses
	// internal decide courses
}

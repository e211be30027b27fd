package dcbtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// Scenario is a test of a decider: given events, when a command is handled, then these events follow, or this error.
type Scenario[S, C any] struct {
	t       testing.TB
	decider dcb.Decider[S, C]
	opts    []dcb.Option
	given   []given
	at      time.Time
}

// given is an event of the history, and when it was appended.
type given struct {
	event dcb.Event
	at    time.Time
}

// For returns a scenario without events for the decider. The options are those of the store that the decider is for,
// such as [dcb.WithRegistry], so that it is given the Data that it would be given there.
func For[S, C any](t testing.TB, decider dcb.Decider[S, C], opts ...dcb.Option) Scenario[S, C] {
	return Scenario[S, C]{t: t, decider: decider, opts: opts, at: time.Now()}
}

// At returns the scenario with another time: the events that are given from now on have it as their Timestamp. The time
// at which the command is handled belongs into the command, if the decider depends on it.
func (s Scenario[S, C]) At(at time.Time) Scenario[S, C] {
	s.at = at
	return s
}

// Given returns the scenario with these events appended to its history. Those that the decider's query does not select
// are not shown to it, as a store would not.
func (s Scenario[S, C]) Given(events ...dcb.Event) Scenario[S, C] {
	s.given = slices.Clip(s.given)
	for _, event := range events {
		s.given = append(s.given, given{event, s.at})
	}
	return s
}

// When decides about the command and returns the outcome. The test fails at once if the history is not valid.
func (s Scenario[S, C]) When(cmd C) Outcome {
	s.t.Helper()
	store := NewClockStore(s.at, s.opts...)
	defer store.Close()
	ctx := context.Background()
	for i, given := range s.given {
		store.SetTime(given.at)
		if err := store.Append(ctx, []dcb.Event{given.event}); err != nil {
			s.t.Fatalf("the given events: the one at %d: %v", i, err)
		}
	}
	handler := dcb.CommandHandler[S, C]{Decider: s.decider, Store: store}
	_, err := handler.Run(ctx, cmd)
	decided, _, readErr := store.ReadRaw(ctx, dcb.QueryAll(), dcb.FromPosition(int64(len(s.given))))
	if readErr != nil {
		s.t.Fatalf("the decided events: %v", readErr)
	}
	return Outcome{t: s.t, events: decided, err: err}
}

// Outcome is what a decider answered to a command.
type Outcome struct {
	t      testing.TB
	events []dcb.RawEvent
	err    error
}

// Then fails the test unless the decider decided on exactly these events, in this order; without events, unless it
// accepted the command and decided on none. Events are compared as a store compares them: by their type, their tags,
// their id, and the JSON of their data and metadata.
func (o Outcome) Then(want ...dcb.Event) {
	o.t.Helper()
	if o.err != nil {
		o.t.Errorf("the command failed: %v", o.err)
		return
	}
	var expected []dcb.RawEvent
	if len(want) > 0 {
		ctx := context.Background()
		store := dcb.NewMemoryStore()
		defer store.Close()
		err := store.Append(ctx, want)
		if err == nil {
			expected, _, err = store.ReadRaw(ctx, dcb.QueryAll())
		}
		if err != nil {
			o.t.Fatalf("the wanted events: %v", err)
		}
	}
	if !slices.EqualFunc(o.events, expected, equal) {
		o.t.Errorf("got\n%swant\n%s", listed(o.events), listed(expected))
	}
}

// ThenError fails the test unless the decider rejected the command with an error that [errors.Is] takes for want.
func (o Outcome) ThenError(want error) {
	o.t.Helper()
	switch {
	case o.err == nil:
		o.t.Errorf("got\n%swant the error: %v", listed(o.events), want)
	case !errors.Is(o.err, want):
		o.t.Errorf("got the error: %v\nwant: %v", o.err, want)
	}
}

func equal(a, b dcb.RawEvent) bool {
	return a.Type == b.Type && a.ID == b.ID && slices.Equal(a.Tags, b.Tags) &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Metadata, b.Metadata)
}

// listed returns the events, one a line.
func listed(events []dcb.RawEvent) string {
	if len(events) == 0 {
		return "\tno events\n"
	}
	var b strings.Builder
	for _, event := range events {
		fmt.Fprintf(&b, "\t%s %v %s", event.Type, event.Tags, event.Data)
		if event.ID != "" {
			fmt.Fprintf(&b, " id %s", event.ID)
		}
		if event.Metadata != nil {
			fmt.Fprintf(&b, " metadata %s", event.Metadata)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

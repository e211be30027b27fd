package dcb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// The corpus of tests that run on every store in every language. Its README defines the format. It is part of
// the repository, not of this module.
const corpus = "../../tests/conformance"

type conformanceCase struct {
	Name    string `json:"name"`
	Options struct {
		Import bool `json:"import"`
	} `json:"options"`
	Steps []step `json:"steps"`
}

type step struct {
	Append     json.RawMessage `json:"append"`
	AppendText *string         `json:"append_text"`
	Read       json.RawMessage `json:"read"`
	ReadText   *string         `json:"read_text"`
	Find       *string         `json:"find"`
	Head       *struct{}       `json:"head"`
	Count      *struct{}       `json:"count"`
	Wait       *struct {
		After     int64 `json:"after"`
		TimeoutMS int64 `json:"timeout_ms"`
	} `json:"wait"`
	Reopen *struct{}   `json:"reopen"`
	Backup *struct{}   `json:"backup"`
	Expect expectation `json:"expect"`
}

type expectation struct {
	Status          string           `json:"status"`
	MessageContains string           `json:"message_contains"`
	Last            *int64           `json:"last"`
	Repeated        *bool            `json:"repeated"`
	Positions       *[]int64         `json:"positions"`
	Events          *[]expectedEvent `json:"events"`
	Position        *int64           `json:"position"`
	Condition       *int64           `json:"condition"`
	Head            *int64           `json:"head"`
	Count           *int64           `json:"count"`
}

type expectedEvent struct {
	Position     int64           `json:"position"`
	Type         string          `json:"type"`
	Tags         []string        `json:"tags"`
	Data         json.RawMessage `json:"data"`
	DataText     *string         `json:"data_text"`
	ID           string          `json:"id"`
	Metadata     json.RawMessage `json:"metadata"`
	MetadataText *string         `json:"metadata_text"`
	Timestamp    *time.Time      `json:"timestamp"`
}

func TestConformance(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus, "*.json"))
	if err != nil || len(files) == 0 {
		if _, err := os.Stat("../../Cargo.toml"); err == nil {
			t.Fatalf("no corpus in %s", corpus)
		}
		t.Skip("the corpus is not part of this module")
	}
	for _, kind := range storeKinds {
		t.Run(kind.name, func(t *testing.T) {
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				var cases []conformanceCase
				decoder := json.NewDecoder(bytes.NewReader(text))
				decoder.DisallowUnknownFields()
				if err := decoder.Decode(&cases); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
					for _, c := range cases {
						t.Run(c.Name, func(t *testing.T) { play(t, kind, c) })
					}
				})
			}
		})
	}
}

func play(t *testing.T, kind storeKind, c conformanceCase) {
	var opts []Option
	if c.Options.Import {
		opts = append(opts, Import())
	}
	uri := kind.uri(t)
	store := mustOpen(t, uri, opts...)
	for i, s := range c.Steps {
		var problem error
		switch {
		case s.Append != nil:
			problem = playAppend(kind, store, s.Append, s.Expect)
		case s.AppendText != nil:
			appended, err := kind.appendDocument(store, []byte(*s.AppendText))
			problem = s.Expect.append(appended, err)
		case s.Read != nil:
			problem = playRead(store, s.Read, true, s.Expect)
		case s.ReadText != nil:
			problem = playRead(store, []byte(*s.ReadText), false, s.Expect)
		case s.Find != nil:
			problem = playFind(store, *s.Find, s.Expect)
		case s.Head != nil:
			head, err := store.Head(context.Background())
			problem = errors.Join(s.Expect.outcome(err), differs("head", s.Expect.Head, head))
		case s.Count != nil:
			count, err := store.Count(context.Background())
			problem = errors.Join(s.Expect.outcome(err), differs("count", s.Expect.Count, count))
		case s.Wait != nil:
			problem = playWait(store, s)
		case s.Reopen != nil:
			if kind.persists {
				store.Close()
				store = mustOpen(t, uri, opts...)
			}
		case s.Backup != nil:
			var head int64
			var err error
			if !strings.HasPrefix(kind.name, "postgres") && kind.persists {
				copied := filepath.Join(t.TempDir(), "copy.db")
				if head, err = mustCopier(t, store, uri).Backup(context.Background(), copied); err == nil {
					store.Close()
					uri = "sqlite:" + copied
					store = mustOpen(t, uri, opts...)
				}
			} else {
				head, err = store.Head(context.Background())
			}
			problem = errors.Join(s.Expect.outcome(err), differs("head", s.Expect.Head, head))
		default:
			t.Fatalf("step %d is of no known kind", i)
		}
		if problem != nil {
			t.Fatalf("step %d: %v", i, problem)
		}
	}
}

// mustCopier returns the store that makes a backup of store. A store on the program's own connections makes
// none; one that opens the same file by its path does.
func mustCopier(t *testing.T, store *Store, uri string) *Store {
	if strings.HasPrefix(uri, "sqlite:") {
		return store
	}
	refused := filepath.Join(t.TempDir(), "refused.db")
	if _, err := store.Backup(context.Background(), refused); !errors.Is(err, ErrInvalidArgument) {
		t.Fatalf("a backup by a store on the program's connections: %v", err)
	}
	diagnosis, err := store.Diagnose(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, "sqlite:"+diagnosis.Path, ReadOnly())
}

// playAppend uses the types of the package if they can express the request.
func playAppend(kind storeKind, store *Store, document []byte, expect expectation) error {
	ctx := context.Background()
	var appended Appended
	var err error
	if events, conditions, ok := parseAppend(document); !ok || !expect.inGo() {
		appended, err = kind.appendDocument(store, document)
	} else if kind.append == nil {
		appended, err = store.AppendEvents(ctx, events, conditions...)
	} else {
		appended, err = kind.append(store, func(tx PostgresTx) (Appended, error) {
			return store.appendEventsBy(ctx, tx, events, conditions)
		})
	}
	return expect.append(appended, err)
}

// appendDocument appends what a document says.
func (k storeKind) appendDocument(store *Store, document []byte) (Appended, error) {
	// Without a document, an append in a transaction only takes the lock.
	if k.append == nil || len(document) == 0 {
		return store.h.append(context.Background(), document)
	}
	return k.append(store, func(tx PostgresTx) (Appended, error) {
		return store.h.appendWithin(context.Background(), tx, document)
	})
}

func playRead(store *Store, document []byte, isValue bool, expect expectation) error {
	for _, max := range []int{1, batch} {
		events, position, err := readDocument(store, document, max)
		if problem := expect.read(events, position, err); problem != nil {
			return fmt.Errorf("in batches of %d: %w", max, problem)
		}
	}
	query, options, ok := parseRead(document)
	if !isValue || !ok || !expect.inGo() {
		return nil
	}
	events, position, err := store.ReadRaw(context.Background(), query, options...)
	if problem := expect.read(events, position, err); problem != nil {
		return fmt.Errorf("ReadRaw: %w", problem)
	}
	events = nil
	for event, failure := range store.RawEvents(context.Background(), query, options...) {
		if err = failure; err == nil {
			events = append(events, event)
		}
	}
	if problem := expect.read(events, position, err); problem != nil {
		return fmt.Errorf("RawEvents: %w", problem)
	}
	return nil
}

func playFind(store *Store, id string, expect expectation) error {
	var events []RawEvent
	event, found, err := store.FindRaw(context.Background(), id)
	if found {
		events = append(events, event)
	}
	return expect.read(events, event.Position, err)
}

func readDocument(store *Store, document []byte, max int) (events []RawEvent, position int64, err error) {
	c, err := store.h.openCursor(context.Background(), document, store.h.busyTimeoutMS)
	if err != nil {
		return nil, 0, err
	}
	defer c.close()
	for {
		before := len(events)
		if events, position, err = c.next(events, max); err != nil || len(events) == before {
			return events, position, err
		}
	}
}

func playWait(store *Store, s step) error {
	// A context that is done before the call ends it before it looks. If the wait is to succeed, it may
	// take as long as a busy machine needs.
	limit := time.Minute
	if s.Expect.Status != "" {
		limit = time.Duration(s.Wait.TimeoutMS)*time.Millisecond + time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	head, err := store.Wait(ctx, s.Wait.After)
	if errors.Is(err, context.DeadlineExceeded) {
		err = &Error{Status: StatusTimeout, Message: err.Error()}
	}
	return errors.Join(s.Expect.outcome(err), differs("head", s.Expect.Head, head))
}

// inGo reports whether the expected outcome also applies to a request in Go's types, which cannot express an
// error in the form of a document.
func (e *expectation) inGo() bool {
	return slices.Contains([]string{"", "ok", "condition_failed", "duplicate_id"}, e.Status)
}

func (e *expectation) outcome(err error) error {
	status, failure := StatusOK, &Error{}
	if err != nil {
		if !errors.As(err, &failure) {
			return fmt.Errorf("an error that is no *Error: %w", err)
		}
		status = failure.Status
	}
	wanted := e.Status
	if wanted == "" {
		wanted = "ok"
	}
	if status.String() != wanted {
		return fmt.Errorf("expected status %s, got %s (%w)", wanted, status, err)
	}
	if !strings.Contains(failure.Message, e.MessageContains) {
		return fmt.Errorf("expected %q in the message %q", e.MessageContains, failure.Message)
	}
	if wanted != "ok" {
		return errors.Join(
			differs("position", e.Position, failure.Position),
			differs("condition", e.Condition, int64(failure.Condition)))
	}
	return nil
}

func (e *expectation) append(appended Appended, err error) error {
	problem := errors.Join(e.outcome(err), differs("last", e.Last, appended.Last))
	if e.Repeated != nil && *e.Repeated != appended.Repeated {
		problem = errors.Join(problem, fmt.Errorf("expected repeated %t, got %t", *e.Repeated, appended.Repeated))
	}
	return problem
}

func (e *expectation) read(events []RawEvent, position int64, err error) error {
	if problem := e.outcome(err); problem != nil || err != nil {
		return problem
	}
	if problem := differs("position", e.Position, position); problem != nil {
		return problem
	}
	if e.Positions != nil {
		positions := []int64{}
		for _, event := range events {
			positions = append(positions, event.Position)
		}
		if !slices.Equal(positions, *e.Positions) {
			return fmt.Errorf("expected positions %v, got %v", *e.Positions, positions)
		}
	}
	if e.Events == nil {
		return nil
	}
	if len(events) != len(*e.Events) {
		return fmt.Errorf("expected %d events, got %d", len(*e.Events), len(events))
	}
	for i, expected := range *e.Events {
		if problem := expected.differsFrom(events[i]); problem != nil {
			return fmt.Errorf("event %d: %w", i, problem)
		}
	}
	return nil
}

func (e *expectedEvent) differsFrom(event RawEvent) error {
	var tags []string
	for _, tag := range event.Tags {
		tags = append(tags, tag.String())
	}
	if event.Position != e.Position || event.Type != e.Type || event.ID != e.ID || !slices.Equal(tags, e.Tags) {
		return fmt.Errorf("expected %d %s %q %q, got %d %s %q %q",
			e.Position, e.Type, e.Tags, e.ID, event.Position, event.Type, tags, event.ID)
	}
	if e.Timestamp != nil && !event.Timestamp.Equal(*e.Timestamp) {
		return fmt.Errorf("expected timestamp %s, got %s", e.Timestamp, event.Timestamp)
	}
	data := e.Data
	if data == nil {
		data = json.RawMessage("null")
	}
	return errors.Join(
		jsonDiffers("data", data, e.DataText, event.Data),
		jsonDiffers("metadata", e.Metadata, e.MetadataText, event.Metadata))
}

func jsonDiffers(what string, expected json.RawMessage, text *string, got json.RawMessage) error {
	var a, b any
	switch {
	case text != nil && *text == string(got), text == nil && expected == nil && got == nil:
		return nil
	case text == nil && expected != nil && got != nil &&
		unmarshalNumbers(expected, &a) == nil && unmarshalNumbers(got, &b) == nil && reflect.DeepEqual(a, b):
		return nil
	case text != nil:
		expected = json.RawMessage(*text)
	}
	return fmt.Errorf("expected %s %s, got %s", what, expected, got)
}

func differs(what string, expected *int64, got int64) error {
	if expected != nil && *expected != got {
		return fmt.Errorf("expected %s %d, got %d", what, *expected, got)
	}
	return nil
}

// These functions convert requests to Go's types. They report false for what the types cannot express.

type queryDocument struct {
	Items []struct {
		Types []string `json:"types"`
		Tags  []string `json:"tags"`
	} `json:"items"`
}

func (d *queryDocument) query() (Query, bool) {
	if d == nil {
		return QueryAll(), true
	}
	items := []QueryItem{}
	for _, item := range d.Items {
		tags, ok := parseTags(item.Tags)
		if !ok {
			return Query{}, false
		}
		items = append(items, QueryItem{Types: item.Types, Tags: tags})
	}
	return NewQuery(items...), true
}

func parseTags(texts []string) (tags []Tag, ok bool) {
	for _, text := range texts {
		tag := ParseTag(text)
		if tag.String() != text {
			return nil, false
		}
		tags = append(tags, tag)
	}
	return tags, true
}

func parseAppend(document []byte) (events []Event, conditions []AppendCondition, ok bool) {
	var d struct {
		Events []struct {
			Type     string          `json:"type"`
			Tags     []string        `json:"tags"`
			Data     json.RawMessage `json:"data"`
			ID       string          `json:"id"`
			Metadata json.RawMessage `json:"metadata"`
			Time     time.Time       `json:"timestamp"`
		} `json:"events"`
		Condition json.RawMessage `json:"condition"`
	}
	if json.Unmarshal(document, &d) != nil {
		return nil, nil, false
	}
	for _, e := range d.Events {
		tags, ok := parseTags(e.Tags)
		if !ok {
			return nil, nil, false
		}
		event := Event{Type: e.Type, Tags: tags, Data: e.Data, ID: e.ID, Timestamp: e.Time}
		if e.Metadata != nil {
			event.Metadata = e.Metadata
		}
		events = append(events, event)
	}
	type condition struct {
		Query *queryDocument `json:"failIfEventsMatch"`
		After int64          `json:"after"`
	}
	var list []condition
	if bytes.HasPrefix(d.Condition, []byte("{")) {
		d.Condition = slices.Concat([]byte("["), d.Condition, []byte("]"))
	}
	if d.Condition != nil && json.Unmarshal(d.Condition, &list) != nil {
		return nil, nil, false
	}
	for _, c := range list {
		query, ok := c.Query.query()
		if !ok {
			return nil, nil, false
		}
		conditions = append(conditions, AppendCondition{FailIfEventsMatch: query, After: c.After})
	}
	return events, conditions, true
}

func parseRead(document []byte) (query Query, options []ReadOption, ok bool) {
	var d struct {
		Query     *queryDocument `json:"query"`
		After     int64          `json:"after"`
		Before    *int64         `json:"before"`
		Limit     *int           `json:"limit"`
		Backwards bool           `json:"backwards"`
	}
	if json.Unmarshal(document, &d) != nil {
		return Query{}, nil, false
	}
	options = append(options, FromPosition(d.After))
	if d.Before != nil {
		options = append(options, Before(*d.Before))
	}
	if d.Limit != nil {
		options = append(options, Limit(*d.Limit))
	}
	if d.Backwards {
		options = append(options, Backwards())
	}
	query, ok = d.Query.query()
	return query, options, ok
}

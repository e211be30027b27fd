package dcb

import (
	"context"
	"encoding/json"
	"iter"
	"runtime"
	"strings"
)

// EventStore is a store of events with append conditions. [Store], [MemoryStore] and
// [SQLiteStore] are; code that decides takes this interface, so that it can be given any.
type EventStore interface {
	// Read returns the events that the query matches and the highest position among them; an
	// empty slice and 0 if there is none.
	Read(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error)

	// Append stores all of the events or none. It fails with ErrAppendConditionFailed if one of
	// the conditions is not met.
	Append(ctx context.Context, events []Event, condition ...AppendCondition) error
}

// SnapshotReader is what a store implements that knows, beside the events, up to which position
// it has looked: the better After of a condition. The stores of this package do.
type SnapshotReader interface {
	// ReadSnapshot returns the events that the query matches and a position that is safe as the
	// After of a condition with the same query: every matching event above FromPosition and at
	// or below it has been returned. Where no Limit cut the read short it is the head of the
	// store at the moment of the read.
	ReadSnapshot(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error)
}

var (
	_ EventStore     = (*Store)(nil)
	_ EventStore     = (*MemoryStore)(nil)
	_ EventStore     = (*SQLiteStore)(nil)
	_ SnapshotReader = (*Store)(nil)
)

// Store is an open event store of any kind. Any number of goroutines may use it at once.
//
// A context that is done before a call makes it return the context's error, and nothing happens.
// A context's deadline is how long a call waits for a lock; without one, [BusyTimeout] is. At most
// 256 appends to a store run in the library at once, and as many reads, since each may keep a
// thread; further ones wait until one has ended, or their context has.
type Store struct {
	h         *handle
	registry  *Registry
	useNumber bool
	observer  Observer
}

// Open opens the store that the uri names:
//
//	memory:            in memory, a store of its own each time
//	sqlite:PATH        a file, which any number of processes may share
//	sqlite::memory:    a SQLite database in memory
//
// Close it in the end; the garbage collector closes a store that was forgotten.
func Open(uri string, opts ...Option) (*Store, error) {
	o := newOptions(opts)
	document, busyTimeoutMS, err := o.document()
	if err != nil {
		return nil, err
	}
	h, err := openHandle(uri, document, busyTimeoutMS)
	if err != nil {
		return nil, suggestScheme(err, uri)
	}
	return newStore(h, o), nil
}

// suggestScheme adds to the error of a uri that looks like a path which uri was probably meant.
func suggestScheme(err error, uri string) error {
	failure, ok := err.(*Error)
	scheme, _, found := strings.Cut(uri, ":")
	// A single letter before the colon is a drive of Windows.
	hasScheme := found && len(scheme) > 1 && !strings.ContainsAny(scheme, `/\.`)
	isPath := !hasScheme && uri != "" && len(uri) <= maxSuggestion && !strings.Contains(uri, "\x00")
	if ok && failure.Status == StatusInvalidArgument && isPath {
		failure.Message += "; did you mean sqlite:" + uri + "?"
	}
	return err
}

// maxSuggestion is the length up to which a uri is repeated in a message, in bytes.
const maxSuggestion = 200

func newStore(h *handle, o *options) *Store {
	s := &Store{h: h, registry: o.registry, useNumber: o.useNumber, observer: o.observer}
	// Closing waits for running calls: not on the goroutine of all cleanups.
	runtime.AddCleanup(s, func(h *handle) { go h.close() }, h)
	return s
}

// Close ends all waits and subscriptions, waits for the other calls that run, and closes the store. Any
// number of goroutines may call it, and call it again: each call returns once the store is closed.
// Every call on the store that begins after Close has begun fails with [ErrClosed].
func (s *Store) Close() error {
	if h := s.handle(); h != nil {
		h.close()
	}
	runtime.KeepAlive(s)
	return nil
}

// handle is nil for a Store that was not opened.
func (s *Store) handle() *handle {
	if s == nil {
		return nil
	}
	return s.h
}

// Append stores all of the events or none. It fails with [ErrAppendConditionFailed] if an event
// that a condition's query matches has a position greater than that condition's After; several
// conditions have all to be met. Once it returns nil, the events are durable.
//
// A condition never sees the append's own events. To append no events is an error.
func (s *Store) Append(ctx context.Context, events []Event, condition ...AppendCondition) error {
	_, err := s.AppendEvents(ctx, events, condition...)
	return err
}

// Appended tells where the events of an append are.
type Appended struct {
	// First and Last are the positions of the first and the last event; the others are between.
	First, Last int64
}

// AppendEvents is [Store.Append], and tells the positions of the events.
//
// Where all events have an ID, and are all stored already, next to each other and equal, it stores
// nothing and returns the positions that they have: who does not know whether an append came
// through just appends the same events again. Any other meeting with a stored id is
// [ErrDuplicateID].
func (s *Store) AppendEvents(ctx context.Context, events []Event, conditions ...AppendCondition) (Appended, error) {
	return s.appendBy(ctx, s.handle().append, events, conditions)
}

func (s *Store) appendBy(
	ctx context.Context, append func(context.Context, []byte) (int64, error),
	events []Event, conditions []AppendCondition,
) (Appended, error) {
	if err := ctx.Err(); err != nil {
		return Appended{}, err
	}
	request, err := appendRequest(make([]byte, 0, 512), events, conditions)
	if err != nil {
		return Appended{}, err
	}
	op := s.observe(ctx, OperationAppend)
	last, err := append(op.ctx, request)
	runtime.KeepAlive(s)
	if err != nil {
		op.end(0, 0, err)
		return Appended{}, err
	}
	op.end(len(events), last, nil)
	return Appended{First: last - int64(len(events)) + 1, Last: last}, nil
}

// Read returns the events that the query matches, in the order of their positions, and the
// highest position among them; an empty slice and 0 if there is none. A read sees the store as it
// is when the read begins.
//
// For a decision, [Store.ReadSnapshot] gives the better position; [CommandHandler] uses it.
func (s *Store) Read(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	events, _, err := s.ReadSnapshot(ctx, query, opts...)
	if err != nil || len(events) == 0 {
		return events, 0, err
	}
	return events, max(events[0].Position, events[len(events)-1].Position), nil
}

// ReadSnapshot is Read with the position that the documentation of [SnapshotReader] describes.
func (s *Store) ReadSnapshot(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	events := []SequencedEvent{}
	var failure error
	position, err := s.read(ctx, query, newReadOptions(opts), s.handle().defaultTimeoutMS(), func(raw *RawEvent) bool {
		var event SequencedEvent
		if event, failure = s.decode(raw); failure == nil {
			events = append(events, event)
		}
		return failure == nil
	})
	if err == nil {
		err = failure
	}
	if err != nil {
		return nil, 0, err
	}
	return events, position, nil
}

// ReadRaw is ReadSnapshot without decoding.
func (s *Store) ReadRaw(ctx context.Context, query Query, opts ...ReadOption) ([]RawEvent, int64, error) {
	events := []RawEvent{}
	position, err := s.read(ctx, query, newReadOptions(opts), s.handle().defaultTimeoutMS(), func(raw *RawEvent) bool {
		events = append(events, *raw)
		return true
	})
	if err != nil {
		return nil, 0, err
	}
	return events, position, nil
}

// Events gives what Read returns while it is read, a batch at a time: for what does not fit in
// memory, or is left before its end. An error is the last that it gives. The events are those of
// one moment; [Store.Subscribe] goes on.
//
// Between two events no lock is held and no transaction is open.
func (s *Store) Events(ctx context.Context, query Query, opts ...ReadOption) iter.Seq2[SequencedEvent, error] {
	return s.decoded(s.RawEvents(ctx, query, opts...))
}

// RawEvents is Events without decoding.
func (s *Store) RawEvents(ctx context.Context, query Query, opts ...ReadOption) iter.Seq2[RawEvent, error] {
	return func(yield func(RawEvent, error) bool) {
		_, err := s.read(ctx, query, newReadOptions(opts), s.handle().defaultTimeoutMS(), func(raw *RawEvent) bool {
			return yield(*raw, nil)
		})
		if err != nil {
			yield(RawEvent{}, err)
		}
	}
}

// read gives take each event, until that refuses one, and returns the read's position at its end.
func (s *Store) read(
	ctx context.Context, query Query, options readOptions, timeoutMS int64, take func(*RawEvent) bool,
) (position int64, err error) {
	defer runtime.KeepAlive(s)
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	request, err := readRequest(make([]byte, 0, 512), query, &options)
	if err != nil {
		return 0, err
	}
	op := s.observe(ctx, OperationRead)
	taken := 0
	defer func() { op.end(taken, position, err) }()
	c, err := s.handle().openCursor(op.ctx, request, timeoutMS)
	if err != nil {
		return 0, err
	}
	defer c.close()
	var events []RawEvent
	for {
		events, position, err = c.next(events[:0], batch)
		if err != nil || len(events) == 0 {
			return position, err
		}
		for i := range events {
			taken++
			if !take(&events[i]) {
				return 0, nil
			}
		}
	}
}

func (s *Store) decoded(events iter.Seq2[RawEvent, error]) iter.Seq2[SequencedEvent, error] {
	return func(yield func(SequencedEvent, error) bool) {
		for raw, err := range events {
			var event SequencedEvent
			if err == nil {
				event, err = s.decode(&raw)
			}
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// Head returns the position of the newest event, 0 in an empty store.
func (s *Store) Head(ctx context.Context) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(s)
	h := s.handle()
	return h.head(ctx, h.defaultTimeoutMS())
}

// Count returns how many events are stored.
func (s *Store) Count(ctx context.Context) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(s)
	return s.handle().count(ctx)
}

func (s *Store) decode(raw *RawEvent) (SequencedEvent, error) {
	event := SequencedEvent{
		Position:  raw.Position,
		Type:      raw.Type,
		Tags:      raw.Tags,
		Timestamp: raw.Timestamp,
		ID:        raw.ID,
	}
	var err error
	if decode := s.registry.decoder(raw.Type); decode != nil {
		event.Data, err = decode(raw.Data)
	} else {
		event.Data, err = s.generic(raw.Data)
	}
	if err == nil && raw.Metadata != nil {
		event.Metadata, err = s.generic(raw.Metadata)
	}
	if err != nil {
		return SequencedEvent{}, &DecodeError{Event: *raw, Err: err}
	}
	return event, nil
}

// observing is who is told of the store's operations, nil for nobody.
func (s *Store) observing() Observer {
	if s == nil {
		return nil
	}
	return s.observer
}

func (s *Store) observe(ctx context.Context, kind OperationKind) observation {
	return observe(ctx, s.observing(), kind)
}

func (s *Store) generic(data json.RawMessage) (any, error) {
	var value any
	if !s.useNumber {
		return value, json.Unmarshal(data, &value)
	}
	return value, unmarshalNumbers(data, &value)
}

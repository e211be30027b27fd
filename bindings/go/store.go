package dcb

import (
	"context"
	"encoding/json"
	"iter"
	"runtime"
	"slices"
)

// EventStore is a store of events with append conditions. [Store], [MemoryStore] and [SQLiteStore]
// implement it. Code that makes decisions takes this interface, so that it works with any of them.
//
// A type that wraps a store and embeds this interface, to log calls for instance, has the methods Read
// and Append and no others. [CommandHandler] and [Decide] accept it, but the store's [Observer] is told of
// the decisions, and those that lost go in turn (see [RetryPolicy]), only if the wrapper has a method that
// returns the store that it wraps:
//
//	func (w wrapper) Unwrap() dcb.EventStore { return w.EventStore }
//
// They read with ReadSnapshot only if the wrapper itself is a [SnapshotReader], and return positions only if
// it is an [EventAppender].
type EventStore interface {
	// Read returns the events that the query matches, and the highest position among them. If there
	// is none, it returns an empty slice and 0.
	Read(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error)

	// Append stores all of the events or none. It fails with ErrAppendConditionFailed if a condition
	// does not hold.
	Append(ctx context.Context, events []Event, condition ...AppendCondition) error
}

// SnapshotReader is implemented by stores that return, with the events of a read, the position up to
// which the read has looked. The stores of this package implement it.
type SnapshotReader interface {
	// ReadSnapshot returns the events that the query matches, and a position that is safe as the
	// After of a condition with the same query.
	//
	// A forward read returns the head of the store at the moment of the read, or the position below
	// Before if that is lower: every matching event above FromPosition and up to that position was
	// returned. If the read returned as many events as Limit allows, the position is that of the last
	// one.
	//
	// A backward read returns the same position whether or not Limit cut it short. With a Limit,
	// older matching events may be missing from the result, but none that is newer than those
	// returned.
	//
	// The position is never below that of FromPosition. With a Limit of 0, it is that position.
	ReadSnapshot(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error)
}

var (
	_ EventStore     = (*Store)(nil)
	_ EventStore     = (*MemoryStore)(nil)
	_ EventStore     = (*SQLiteStore)(nil)
	_ SnapshotReader = (*Store)(nil)
	_ EventAppender  = (*Store)(nil)
)

// Store is an open event store of any kind. Any number of goroutines may use it at the same time.
//
// If a context is done before a call, the call returns the context's error and does nothing else. A
// context's deadline limits how long a call waits for a lock; without a deadline, [BusyTimeout] does. At
// most 256 appends to a store run at the same time, and as many reads, since each may occupy a thread.
// Further calls wait until one of them has returned, or their context is done.
type Store struct {
	h         *handle
	registry  *Registry
	useNumber bool
	observer  Observer
	metadata  func(context.Context) map[string]any // may be nil
	turns     turns
}

// Open opens the store that the uri names:
//
//	memory:            a new store in memory
//	sqlite:PATH        a file, which any number of processes may have open
//	sqlite::memory:    a new SQLite database in memory
//	postgres://...     a schema of a PostgreSQL database, for any number of machines; see [NewPostgresStore]
//
// It creates the file if there is none, unless the option [MustExist] is given. Close the store when it
// is no longer needed; the garbage collector closes one that is no longer referenced.
func Open(uri string, opts ...Option) (*Store, error) {
	if err := checkLibrary(); err != nil {
		return nil, err
	}
	o := newOptions(opts)
	if o.txDB != nil && !isOfPostgres(uri) {
		return nil, invalid("TxDB: only for a store in PostgreSQL")
	}
	document, busyTimeoutMS, err := o.document()
	if err != nil {
		return nil, err
	}
	h, err := openHandle(uri, document, busyTimeoutMS)
	if err != nil {
		return nil, err
	}
	h.isInPostgres, h.txDB = isOfPostgres(uri), o.txDB
	return newStore(h, o), nil
}

func newStore(h *handle, o *options) *Store {
	s := &Store{h: h, registry: o.registry, useNumber: o.useNumber, observer: o.observer, metadata: o.metadata}
	// Closing waits for running calls, so it must not run on the goroutine that runs all cleanups.
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

// handle returns nil for a Store that was not opened.
func (s *Store) handle() *handle {
	if s == nil {
		return nil
	}
	return s.h
}

// Append stores all of the events or none. It fails with [ErrAppendConditionFailed] if an event that the
// query of a condition matches has a position greater than the After of that condition; of several
// conditions, all have to hold. A condition does not see the events of its own append.
//
// Once Append returns nil, the events are durable. Appending no events is an error.
func (s *Store) Append(ctx context.Context, events []Event, condition ...AppendCondition) error {
	_, err := s.AppendEvents(ctx, events, condition...)
	return err
}

// Appended is the outcome of an append.
type Appended struct {
	// First and Last are the positions of the first and the last event. The positions of the others
	// lie between them, without a gap.
	First, Last int64
	// Repeated reports that the events were stored already, by an earlier append with the same
	// ids: this append has stored nothing.
	Repeated bool
}

// AppendEvents is like [Store.Append] and also returns the positions of the events.
//
// If every event has an ID, the append can be repeated safely, for instance after an error that leaves
// its outcome unknown. If events with all of the IDs are stored already, next to each other and in the
// same order, and each is equal to the one given, AppendEvents stores nothing and returns their
// positions; the conditions are not checked again. Two events are equal if these are:
//
//   - the type;
//   - the tags, in the same order, not counting repeated ones;
//   - the data and the metadata, byte for byte as JSON, so 1.0 differs from 1, and an object whose keys
//     are in another order is a different one.
//
// Any other append that uses a stored ID fails with [ErrDuplicateID]. So a retry must append the same
// metadata as the first attempt: put nothing into it that differs between them, such as a trace id or
// the time of the attempt.
func (s *Store) AppendEvents(ctx context.Context, events []Event, conditions ...AppendCondition) (Appended, error) {
	return s.appendBy(ctx, s.handle().append, events, conditions)
}

func (s *Store) appendBy(
	ctx context.Context, append func(context.Context, []byte) (Appended, error),
	events []Event, conditions []AppendCondition,
) (Appended, error) {
	if err := ctx.Err(); err != nil {
		return Appended{}, err
	}
	events, err := s.addMetadata(ctx, events)
	if err != nil {
		return Appended{}, err
	}
	request, err := appendRequest(make([]byte, 0, 512), events, conditions)
	if err != nil {
		return Appended{}, err
	}
	op := s.observe(ctx, OperationAppend)
	appended, err := append(op.ctx, request)
	runtime.KeepAlive(s)
	if err != nil {
		op.end(0, 0, err)
		return Appended{}, err
	}
	op.end(len(events), appended.Last, nil)
	appended.First = appended.Last - int64(len(events)) + 1
	return appended, nil
}

// Read returns the events that the query matches, in the order of their positions, and the highest
// position among them. If there is none, it returns an empty slice and 0. It reads the store as it is when
// the read begins.
//
// For a decision, the position that [Store.ReadSnapshot] returns is the better one; [CommandHandler] uses
// it.
func (s *Store) Read(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	events, _, err := s.ReadSnapshot(ctx, query, opts...)
	if err != nil || len(events) == 0 {
		return events, 0, err
	}
	return events, max(events[0].Position, events[len(events)-1].Position), nil
}

// ReadSnapshot is like [Store.Read], but returns the position that [SnapshotReader] describes.
func (s *Store) ReadSnapshot(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	events := []SequencedEvent{}
	var failure error
	position, err := s.readPages(ctx, query, newReadOptions(opts), s.handle().defaultTimeoutMS(), func(page []RawEvent) (int, []RawEvent) {
		events = slices.Grow(events, len(page))
		for i := range page {
			var event SequencedEvent
			if event, failure = s.decode(&page[i]); failure != nil {
				return i + 1, nil
			}
			events = append(events, event)
		}
		return len(page), page[:0]
	})
	if err == nil {
		err = failure
	}
	if err != nil {
		return nil, 0, err
	}
	return events, position, nil
}

// ReadRaw is like [Store.ReadSnapshot], but does not decode the events.
func (s *Store) ReadRaw(ctx context.Context, query Query, opts ...ReadOption) ([]RawEvent, int64, error) {
	events := []RawEvent{}
	position, err := s.readPages(ctx, query, newReadOptions(opts), s.handle().defaultTimeoutMS(), func(read []RawEvent) (int, []RawEvent) {
		taken := len(read) - len(events)
		events = read
		return taken, read // so that the next page is appended to this one
	})
	if err != nil {
		return nil, 0, err
	}
	return events, position, nil
}

// Events returns an iterator over the events that Read would return. It reads them in batches, so it
// suits a result that does not fit into memory, or a loop that ends early. If the read fails, the error
// is the last element. All events come from one snapshot; [Store.Subscribe] continues after it.
//
// Between two events, the iterator holds no lock and no transaction.
func (s *Store) Events(ctx context.Context, query Query, opts ...ReadOption) iter.Seq2[SequencedEvent, error] {
	return s.decoded(s.RawEvents(ctx, query, opts...))
}

// RawEvents is like [Store.Events], but does not decode the events.
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

// read calls take with each event until take returns false. It returns the position of the read once
// that has come to its end.
func (s *Store) read(
	ctx context.Context, query Query, options readOptions, timeoutMS int64, take func(*RawEvent) bool,
) (position int64, err error) {
	return s.readPages(ctx, query, options, timeoutMS, func(page []RawEvent) (int, []RawEvent) {
		for i := range page {
			if !take(&page[i]) {
				return i + 1, nil
			}
		}
		return len(page), page[:0]
	})
}

// readPages calls take with each page of events. take returns how many of them it has taken, and what the next page
// is to be appended to, or nil to end the read. readPages returns the position of the read once that has come to its
// end.
func (s *Store) readPages(
	ctx context.Context, query Query, options readOptions, timeoutMS int64, take func([]RawEvent) (int, []RawEvent),
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
	events := []RawEvent{}
	for {
		before := len(events)
		events, position, err = c.next(events, batch)
		if err != nil || len(events) == before {
			return position, err
		}
		var n int
		n, events = take(events)
		taken += n
		if events == nil {
			return 0, nil
		}
	}
}

// Find returns the event with the ID, and whether there is one that [Store.Read] would return now. It is a
// look-up through the index, however many events there are: it tells, for instance, whether an append whose
// outcome is unknown has stored its events.
func (s *Store) Find(ctx context.Context, id string) (SequencedEvent, bool, error) {
	raw, found, err := s.FindRaw(ctx, id)
	if err != nil || !found {
		return SequencedEvent{}, false, err
	}
	event, err := s.decode(&raw)
	return event, err == nil, err
}

// FindRaw is like [Store.Find], but does not decode the event.
func (s *Store) FindRaw(ctx context.Context, id string) (RawEvent, bool, error) {
	defer runtime.KeepAlive(s)
	if err := ctx.Err(); err != nil {
		return RawEvent{}, false, err
	}
	op := s.observe(ctx, OperationRead)
	event, err := s.handle().find(op.ctx, id)
	if err != nil || event == nil {
		op.end(0, 0, err)
		return RawEvent{}, false, err
	}
	op.end(1, event.Position, nil)
	return *event, true, nil
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

// Head returns the position of the newest event, or 0 if the store is empty.
func (s *Store) Head(ctx context.Context) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(s)
	h := s.handle()
	return h.head(ctx, h.defaultTimeoutMS())
}

// Count returns the number of stored events.
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

// self returns the store, also through a type that embeds it.
func (s *Store) self() *Store {
	return s
}

// observing returns the observer of the store, or nil.
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

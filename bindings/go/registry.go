package dcb

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
)

// Registry holds the Go types of event types. A store that is opened with [WithRegistry] decodes the Data of
// these events into values of their Go types; the Data of other events is generic.
//
// The zero Registry is empty and ready to use. Types may be added while stores use it.
type Registry struct {
	// Strict makes reading an event fail with a [DecodeError] if its type is not registered. Set it before a
	// store uses the registry.
	Strict bool

	decoders sync.Map // string -> decoder
}

type decoder func([]byte) (any, error)

// errNotRegistered is the cause of the error of an event whose type a strict registry does not have.
var errNotRegistered = errors.New("the type is not registered, and the registry is strict")

// decoder returns how the data of an event of this type is decoded, or nil.
func (r *Registry) decoder(name string) decoder {
	if r == nil {
		return nil
	}
	found, ok := r.decoders.Load(name)
	switch {
	case ok:
		return found.(decoder)
	case r.Strict:
		return func([]byte) (any, error) { return nil, errNotRegistered }
	default:
		return nil
	}
}

func (r *Registry) add(name string, decode decoder) {
	if _, taken := r.decoders.LoadOrStore(name, decode); taken {
		panic("dcb: the event type " + name + " is registered twice")
	}
}

// EventType is an event type whose data is a T. [Register] makes it.
type EventType[T any] struct {
	name string
	*eventType[T]
}

// eventType is what is known of an event type.
type eventType[T any] struct {
	decode func(data []byte) (T, error)
	// old holds the types that are read as this one: a name, and how its data is decoded.
	mu  sync.RWMutex
	old []oldType[T]
}

type oldType[T any] struct {
	name   string
	decode func(data []byte) (T, error)
}

// Register adds an event type to the registry: its events are read with a T as Data. It panics if the
// registry has a type of this name already.
func Register[T any](r *Registry, name string) EventType[T] {
	return RegisterFunc(r, name, unmarshal[T])
}

// RegisterFunc is like [Register], for data that decode decodes, such as data that was written in several versions of
// one type. New events are encoded by [encoding/json] all the same.
func RegisterFunc[T any](r *Registry, name string, decode func(data []byte) (T, error)) EventType[T] {
	r.add(name, func(data []byte) (any, error) { return decode(data) })
	return EventType[T]{name, &eventType[T]{decode: decode}}
}

// RegisterOld adds an event type to the registry that is no longer written, and whose events are read as those of a
// newer type: upcast makes their Data of the old one. They keep their own Type. [EventType.Of] accepts them, and a query
// that is to find them lists [EventType.Names]. RegisterOld panics if the registry has a type of this name already.
func RegisterOld[Old, T any](r *Registry, name string, newer EventType[T], upcast func(Old) (T, error)) {
	decode := func(data []byte) (T, error) {
		old, err := unmarshal[Old](data)
		if err != nil {
			var none T
			return none, err
		}
		return upcast(old)
	}
	r.add(name, func(data []byte) (any, error) { return decode(data) })
	newer.mu.Lock()
	defer newer.mu.Unlock()
	newer.old = append(newer.old, oldType[T]{name, decode})
}

func unmarshal[T any](data []byte) (value T, err error) {
	err = json.Unmarshal(data, &value)
	return value, err
}

// Name returns the name of the type.
func (t EventType[T]) Name() string {
	return t.name
}

// New returns an event of this type, to be appended.
func (t EventType[T]) New(data T, tags ...Tag) Event {
	return Event{Type: t.name, Data: data, Tags: tags}
}

// Names returns the name of the type, and those that [RegisterOld] has added: the Types of a query for its events.
func (t EventType[T]) Names() []string {
	names := []string{t.name}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, old := range t.old {
		names = append(names, old.name)
	}
	return names
}

// decoderOf returns how the data of an event of the type with this name is decoded, or nil if that is another type.
func (t EventType[T]) decoderOf(name string) func([]byte) (T, error) {
	switch {
	case t.eventType == nil: // it was not made by Register
		return nil
	case name == t.name:
		return t.decode
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, old := range t.old {
		if old.name == name {
			return old.decode
		}
	}
	return nil
}

// Of returns the data of the event, and whether the event is of this type or of an old one that is read as this type.
//
// If the event is, and its Data is not a T, since the store was opened without the [Registry], Of decodes it. It panics
// with a [DecodeError] if it cannot: going on would mean to fold a history without its events. [EventType.Decode] returns
// that error.
func (t EventType[T]) Of(event SequencedEvent) (T, bool) {
	if t.decoderOf(event.Type) == nil {
		var none T
		return none, false
	}
	data, err := t.Decode(event)
	if err != nil {
		panic(err)
	}
	return data, true
}

// Decode returns the data of the event as a T. It returns a [DecodeError] if the event is of another type, if its Data
// does not fit T, and if its Data has a number that a float64 may have changed.
func (t EventType[T]) Decode(event SequencedEvent) (T, error) {
	decode := t.decoderOf(event.Type)
	if data, ok := event.Data.(T); ok && decode != nil {
		return data, nil
	}
	raw := RawEvent{
		Position: event.Position, Type: event.Type, Tags: event.Tags, Timestamp: event.Timestamp, ID: event.ID,
	}
	err := errOtherType
	if decode != nil {
		var data T
		if raw.Data, err = generically(event.Data); err == nil {
			data, err = decode(raw.Data)
		}
		if err == nil {
			return data, nil
		}
	}
	var none T
	return none, &DecodeError{Event: raw, Err: err}
}

var (
	errOtherType = errors.New("the event is of another type")
	errNumber    = errors.New("its data has a number that was rounded when it was read: open the store with the registry")
)

// generically encodes data that was decoded into an any again.
func generically(data any) ([]byte, error) {
	if isRounded(data) {
		return nil, errNumber
	}
	return json.Marshal(data)
}

// isRounded reports whether data has a float64 that may stand for another number than the one that was stored.
func isRounded(data any) bool {
	const exact = 1 << 53
	switch v := data.(type) {
	case float64:
		return v >= exact || v <= -exact
	case []any:
		return slices.ContainsFunc(v, isRounded)
	case map[string]any:
		for _, value := range v {
			if isRounded(value) {
				return true
			}
		}
	}
	return false
}

// Decode returns the data of the raw event as a T. It needs no registry. Its error is a [DecodeError].
func Decode[T any](event RawEvent) (T, error) {
	var value T
	if err := event.Unmarshal(&value); err != nil {
		return value, &DecodeError{Event: event, Err: err}
	}
	return value, nil
}

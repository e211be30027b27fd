package dcb

import (
	"encoding/json"
	"sync"
)

// Registry holds the Go types of event types. A store that is opened with [WithRegistry] decodes the Data of
// these events into values of their Go types; the Data of other events is generic.
//
// The zero Registry is empty and ready to use. Types may be added while stores use it.
type Registry struct {
	decoders sync.Map // string -> decoder
}

type decoder func([]byte) (any, error)

func (r *Registry) decoder(name string) decoder {
	if r == nil {
		return nil
	}
	found, ok := r.decoders.Load(name)
	if !ok {
		return nil
	}
	return found.(decoder)
}

// EventType is an event type whose data is a T. [Register] makes it.
type EventType[T any] struct {
	name string
}

// Register adds an event type to the registry: its events are read with a T as Data. It panics if the
// registry has a type of this name already.
func Register[T any](r *Registry, name string) EventType[T] {
	decode := decoder(func(data []byte) (any, error) {
		var value T
		err := json.Unmarshal(data, &value)
		return value, err
	})
	if _, taken := r.decoders.LoadOrStore(name, decode); taken {
		panic("dcb: the event type " + name + " is registered twice")
	}
	return EventType[T]{name}
}

// Name returns the name of the type.
func (t EventType[T]) Name() string {
	return t.name
}

// New returns an event of this type, to be appended.
func (t EventType[T]) New(data T, tags ...Tag) Event {
	return Event{Type: t.name, Data: data, Tags: tags}
}

// Of returns the data of the event, and whether the event is of this type.
func (t EventType[T]) Of(event SequencedEvent) (T, bool) {
	data, ok := event.Data.(T)
	return data, ok && event.Type == t.name
}

// Decode returns the data of the raw event as a T. It needs no registry. Its error is a [DecodeError].
func Decode[T any](event RawEvent) (T, error) {
	var value T
	if err := event.Unmarshal(&value); err != nil {
		return value, &DecodeError{Event: event, Err: err}
	}
	return value, nil
}

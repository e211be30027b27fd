package dcb

import (
	"encoding/json"
	"sync"
)

// Registry knows the Go types of events. Given to [Open] by [WithRegistry], it makes the Data of a
// [SequencedEvent] a value of the registered type; events of other types stay generic.
//
// The zero Registry is empty and ready. It may be added to while stores use it.
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

// EventType ties the name of an event type to the Go type of its data.
type EventType[T any] struct {
	name string
}

// Register makes events of this type come back with Data as a T. A name has one type: to register
// it twice panics.
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

// Name is the name of the type.
func (t EventType[T]) Name() string {
	return t.name
}

// New is an event of this type, to be appended.
func (t EventType[T]) New(data T, tags ...Tag) Event {
	return Event{Type: t.name, Data: data, Tags: tags}
}

// Of returns the event's data, and whether the event is of this type.
func (t EventType[T]) Of(event SequencedEvent) (T, bool) {
	data, ok := event.Data.(T)
	return data, ok && event.Type == t.name
}

// Decode returns the raw event's data, which needs no registry.
func Decode[T any](event RawEvent) (T, error) {
	var value T
	if err := event.Unmarshal(&value); err != nil {
		return value, &DecodeError{Event: event, Err: err}
	}
	return value, nil
}

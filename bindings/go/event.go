package dcb

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Event is an event to be appended.
type Event struct {
	// Type is the kind of event, such as "CourseDefined": 1 to 255 bytes of UTF-8.
	Type string

	// Data is the payload. It is encoded by [encoding/json]; a [json.RawMessage] is stored byte for byte,
	// and nil is stored as null.
	Data any

	// Tags say what the event is about. Queries and append conditions select events by them. Tags are a
	// set: a repeated tag counts once.
	Tags []Tag

	// ID is optional and unique in the store. An append whose events have IDs can be repeated safely if
	// its outcome is unknown: see [Store.AppendEvents].
	ID string

	// Metadata is optional: a JSON object of what belongs to the event but not to its payload, such as
	// who caused it. It may be any value that encodes as an object.
	Metadata any

	// Timestamp is the time that the event is stored with, in microseconds. Only a store that was opened
	// with [Import] accepts it; where it is zero, the store sets the time.
	Timestamp time.Time
}

// Tag is a label on an event, which a store holds as "key:value". It may also be a bare key: [BareTag]
// makes such a tag, and reading one returns an equal Tag.
//
// A key must not be empty and must not contain a colon. A value must not be empty: appending or querying
// such a Tag is an error, so that a value which was left out by mistake does not become a bare tag.
type Tag struct {
	Key, Value string
}

// bareValue is the Value of a bare tag. No store accepts a NUL in a tag, so it is not the value of
// any other tag.
const bareValue = "\x00"

// BareTag returns the tag that consists of the key alone.
func BareTag(key string) Tag {
	return Tag{Key: key, Value: bareValue}
}

// IsBare reports whether the tag consists of the key alone. The Value of such a tag is a marker that is not the
// value of any other tag.
func (t Tag) IsBare() bool {
	return t.Value == bareValue
}

// String returns the tag as a store holds it: "key:value", or "key" if it is bare.
func (t Tag) String() string {
	if t.IsBare() {
		return t.Key
	}
	return t.Key + ":" + t.Value
}

// ParseTag returns the tag that a store holds as text. It splits text at its first colon; without a
// colon, the tag is bare.
func ParseTag(text string) Tag {
	key, value, found := strings.Cut(text, ":")
	switch {
	case !found:
		return BareTag(key)
	case value == bareValue: // no tag, and not the bare key either
		return Tag{Key: text}
	default:
		return Tag{Key: key, Value: value}
	}
}

// problem returns what is wrong with the tag, or "". The store checks what it does not.
func (t Tag) problem() string {
	switch {
	case t.Key == "":
		return "a key must not be empty"
	case strings.IndexByte(t.Key, ':') >= 0:
		return "a key must not contain a colon"
	case t.Value == "":
		return "a value must not be empty (BareTag makes a tag without a value)"
	default:
		return ""
	}
}

// SequencedEvent is a stored event.
type SequencedEvent struct {
	// Position is the place of the event in the store. The first event has position 1, each further event
	// the next number, and no number is used twice.
	Position int64

	// Type is the kind of event.
	Type string

	// Data is the decoded payload: what [json.Unmarshal] into an any returns, unless the store was opened
	// with a [Registry] that has the type, or with [UseNumber].
	Data any

	// Tags are the tags of the event, in the order in which they were given.
	Tags []Tag

	// Timestamp is when the store accepted the event, in UTC with microseconds. Events are ordered by
	// Position, not by Timestamp.
	Timestamp time.Time

	// ID is the ID of the event, or empty if it has none.
	ID string

	// Metadata is the decoded metadata, or nil if the event has none.
	Metadata any
}

// HasTag reports whether the event has the tag with this key and value. An empty value means the bare
// tag. No event has a tag whose key is empty or contains a colon.
func (e SequencedEvent) HasTag(key, value string) bool {
	return hasTag(e.Tags, key, value)
}

func hasTag(tags []Tag, key, value string) bool {
	if value == "" {
		bare := BareTag(key)
		// An event that no store returned, such as one of a test, may have the literal.
		return bare.problem() == "" && (slices.Contains(tags, bare) || slices.Contains(tags, Tag{Key: key}))
	}
	tag := Tag{Key: key, Value: value}
	return tag.problem() == "" && slices.Contains(tags, tag)
}

// RawEvent is a stored event with its payload as it was given, byte for byte. Reading raw events decodes
// nothing, so it is fastest.
//
// An event and its slices belong to the program, and stay as they are when the store is read further or closed. Events
// that were read together share blocks of memory: one that is kept may keep 4 KiB of its neighbours.
type RawEvent struct {
	Position  int64
	Type      string
	Data      json.RawMessage
	Tags      []Tag
	Timestamp time.Time
	ID        string
	Metadata  json.RawMessage // nil if the event has none
}

// Unmarshal decodes the payload into v by [json.Unmarshal].
func (e RawEvent) Unmarshal(v any) error {
	return json.Unmarshal(e.Data, v)
}

// HasTag reports whether the event has the tag, as [SequencedEvent.HasTag] does.
func (e RawEvent) HasTag(key, value string) bool {
	return hasTag(e.Tags, key, value)
}

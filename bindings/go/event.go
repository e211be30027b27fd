package dcb

import (
	"encoding/json"
	"strings"
	"time"
)

// Event is an event that is not stored yet.
type Event struct {
	// Type identifies the kind of event, such as "CourseDefined": 1 to 255 bytes of UTF-8.
	Type string

	// Data is the payload, encoded as [encoding/json] does it. A [json.RawMessage] is stored
	// byte for byte as it is, and nil as null.
	Data any

	// Tags say what the event is about; queries and append conditions select by them.
	// They are a set: a tag that is given twice counts once.
	Tags []Tag

	// ID is optional, and unique in the store. Events with ids can be appended again without
	// harm where the answer to the first append was lost: see [Store.AppendEvents].
	ID string

	// Metadata is optional: a JSON object of what belongs to the event but not to its payload,
	// such as who caused it. Anything that encodes as an object is taken.
	Metadata any
}

// Tag is a label on an event, "key:value" in the store. A tag without a value is the bare key.
//
// A key is not empty and has no colon; a value may have some.
type Tag struct {
	Key, Value string
}

// String returns the tag as the store has it: "key:value", or "key" alone.
func (t Tag) String() string {
	if t.Value == "" {
		return t.Key
	}
	return t.Key + ":" + t.Value
}

// ParseTag splits text at its first colon, as the store does.
func ParseTag(text string) Tag {
	key, value, _ := strings.Cut(text, ":")
	return Tag{Key: key, Value: value}
}

func (t Tag) valid() bool {
	return t.Key != "" && strings.IndexByte(t.Key, ':') < 0
}

// SequencedEvent is a stored event, at its place in the sequence.
type SequencedEvent struct {
	// Position is the event's place: 1 for the first one, rising by one, never reused.
	Position int64

	// Type identifies the kind of event.
	Type string

	// Data is the decoded payload: what [json.Unmarshal] into an any gives, unless the store
	// was opened with a [Registry] that knows the type, or with [UseNumber].
	Data any

	// Tags are the event's tags in the order they were given.
	Tags []Tag

	// Timestamp is when the store accepted the event, in UTC and to the microsecond.
	// It orders nothing: positions do.
	Timestamp time.Time

	// ID is the event's id, empty if it was given none.
	ID string

	// Metadata is the decoded metadata, nil if it was given none.
	Metadata any
}

// HasTag reports whether the event has the tag with this key and value; an empty value asks for
// the bare key. An empty key, or one with a colon, is on no event.
func (e SequencedEvent) HasTag(key, value string) bool {
	return hasTag(e.Tags, Tag{key, value})
}

func hasTag(tags []Tag, wanted Tag) bool {
	if !wanted.valid() {
		return false
	}
	for _, tag := range tags {
		if tag == wanted {
			return true
		}
	}
	return false
}

// RawEvent is a stored event with its payload as it was given, byte for byte. Reading raw events
// is the fast way, and the exact one: nothing is decoded.
type RawEvent struct {
	Position  int64
	Type      string
	Data      json.RawMessage
	Tags      []Tag
	Timestamp time.Time
	ID        string
	Metadata  json.RawMessage // nil if it was given none
}

// Unmarshal decodes the payload into v, as [json.Unmarshal] does.
func (e RawEvent) Unmarshal(v any) error {
	return json.Unmarshal(e.Data, v)
}

// HasTag is [SequencedEvent.HasTag].
func (e RawEvent) HasTag(key, value string) bool {
	return hasTag(e.Tags, Tag{key, value})
}

package dcb

import (
	"encoding/json"
	"slices"
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

// IsBare reports whether the tag consists of the key alone. The Value of such a tag means nothing else.
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
	return hasTag(e.Tags, key, value)
}

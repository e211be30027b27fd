package dcb

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// requestKey is the key of the tag that names the request of an event.
	requestKey = "dcb_request"
	// hashPrefix begins the value of such a tag if it is a hash of the request's id.
	hashPrefix = "sha256:"
	// valueKey is the key in the metadata of a decision's first event that holds its value: a string with
	// the JSON of the value, since a number in it would lose digits wherever metadata is decoded.
	valueKey = "dcb_value"
	// maxTag is the greatest length of a tag, in bytes.
	maxTag = 255
)

// WithRequestID makes a decision that can be retried, whatever happened to the first attempt: it is made once
// for each id. If the events of the request are stored already, the decision is Repeated: it has the positions
// of those events and, with [DecideValue], the value that was returned then. Nothing is decided again and
// nothing stored, even if the decider would now come to another result. Two decisions that race with one id
// store the events of one of them.
//
// The id must be unique to the request among all requests to the store: begin it with the user or the client if
// that is who chooses it. The same id with another command returns the result of the first one.
//
// Each event of the decision gets the tag dcb_request:ID, which [RequestTag] returns, and the append is
// conditional on no other event having it. The read before the decision looks for the tag too. That costs one
// look-up in the index and no read of its own. It adds one item and one tag to what the query may have at most,
// and one tag to each event.
//
// A request without an event leaves no trace: if the command is rejected, or there is nothing to do, a retry
// decides again.
func WithRequestID(id string) DecideOption {
	return func(d *decision) {
		tag := RequestTag(id)
		d.request = &tag
	}
}

// RequestTag returns the tag that [WithRequestID] puts on the events of a request. Its key is dcb_request. Its
// value is the id if that is valid in a tag and at most 243 bytes long; otherwise, and if it begins with
// "sha256:", it is "sha256:" and the hash of the id in hexadecimal. For an empty id the tag is not valid, and
// using it is an error.
func RequestTag(id string) Tag {
	fits := len(requestKey)+1+len(id) <= maxTag && utf8.ValidString(id) && strings.IndexByte(id, 0) < 0
	if fits && !strings.HasPrefix(id, hashPrefix) {
		return Tag{Key: requestKey, Value: id}
	}
	hash := sha256.Sum256([]byte(id))
	return Tag{Key: requestKey, Value: hashPrefix + hex.EncodeToString(hash[:])}
}

// requestQuery returns the query for the events of the request.
func (d *decision) requestQuery() Query {
	return NewQuery(QueryItem{Tags: []Tag{*d.request}})
}

// checkRequest returns what is wrong with the request's id.
func (d *decision) checkRequest() error {
	if d.request != nil && d.request.Value == "" {
		return invalid("WithRequestID: the id must not be empty")
	}
	return nil
}

// markRequest returns the events with the tag of the request, and with the value of the decision, if any, in
// the metadata of the first one.
func (d *decision) markRequest(events []Event) ([]Event, error) {
	marked := slices.Clone(events)
	for i := range marked {
		event := &marked[i]
		for _, tag := range event.Tags {
			if tag.Key == requestKey {
				return nil, invalid(place(i, "tags") + ": the key " + requestKey + " is that of WithRequestID")
			}
		}
		event.Tags = append(slices.Clip(event.Tags), *d.request)
	}
	if d.encodeValue == nil {
		return marked, nil
	}
	value, err := d.encodeValue()
	if err == nil {
		marked[0].Metadata, err = withValue(marked[0].Metadata, value)
	}
	return marked, err
}

// withValue returns the metadata of a decision's first event with the value of the decision added.
func withValue(metadata any, value []byte) (json.RawMessage, error) {
	merged, taken, err := withKeys(metadata, map[string]any{valueKey: string(value)}, 0)
	if err == nil && len(taken) > 0 {
		err = invalid(place(0, "metadata") + ": the key " + valueKey + " is that of the decision's value")
	}
	return merged, err
}

// repeat returns the decision that stored these events of the request.
func (d *decision) repeat(stored []SequencedEvent, attempts int) (Decision, error) {
	first, last := stored[0], stored[0]
	for _, event := range stored {
		if event.Position < first.Position {
			first = event
		}
		if event.Position > last.Position {
			last = event
		}
	}
	decision := Decision{First: first.Position, Last: last.Position, Attempts: attempts, Repeated: true}
	if d.decodeValue == nil {
		return decision, nil
	}
	metadata, _ := first.Metadata.(map[string]any)
	value, ok := metadata[valueKey].(string)
	if !ok {
		return decision, nil // it was made by Decide
	}
	return decision, d.decodeValue([]byte(value))
}

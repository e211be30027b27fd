package dcb

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// DecodeError is returned when the data of a stored event cannot be decoded: it does not fit the Go type that
// is registered for the event type, or it has a number that does not fit a float64 (see [UseNumber]).
type DecodeError struct {
	// Event is the stored event.
	Event RawEvent
	// Err is the error of encoding/json.
	Err error
}

// Error returns a message that names the position and the type of the event.
func (e *DecodeError) Error() string {
	return "dcb: event " + strconv.FormatInt(e.Event.Position, 10) +
		" of type " + strconv.Quote(e.Event.Type) + ": " + e.Err.Error()
}

// Unwrap returns the error of encoding/json.
func (e *DecodeError) Unwrap() error {
	return e.Err
}

// unmarshalNumbers is like json.Unmarshal, but decodes numbers into json.Number.
func unmarshalNumbers(data []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return decoder.Decode(v)
}

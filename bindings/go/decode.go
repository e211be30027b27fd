package dcb

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// DecodeError is why a stored event could not be given as a [SequencedEvent]: its Data is no value
// of the type registered for it, or has a number that no float64 holds ([UseNumber] takes it).
type DecodeError struct {
	// Event is the event as it is stored.
	Event RawEvent
	// Err is encoding/json's error.
	Err error
}

// Error names the event's position and type.
func (e *DecodeError) Error() string {
	return "dcb: event " + strconv.FormatInt(e.Event.Position, 10) +
		" of type " + strconv.Quote(e.Event.Type) + ": " + e.Err.Error()
}

// Unwrap returns encoding/json's error.
func (e *DecodeError) Unwrap() error {
	return e.Err
}

// unmarshalNumbers is json.Unmarshal with numbers as json.Number.
func unmarshalNumbers(data []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return decoder.Decode(v)
}

package dcb

import (
	"encoding/json"
	"strconv"
)

// The requests are written by hand: their few keys are fixed, and data that the caller has encoded passes
// through unchanged.

// appendRequest appends the JSON request of an append to b.
func appendRequest(b []byte, events []Event, conditions []AppendCondition) ([]byte, error) {
	var err error
	b = append(b, `{"events":[`...)
	for i := range events {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendEvent(b, &events[i], i); err != nil {
			return nil, err
		}
	}
	b = append(b, ']')
	if len(conditions) > 0 {
		b = append(b, `,"condition":[`...)
		for i, condition := range conditions {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"failIfEventsMatch":`...)
			if b, err = appendQuery(b, condition.FailIfEventsMatch); err != nil {
				return nil, at(err, "condition["+strconv.Itoa(i)+"].failIfEventsMatch.")
			}
			b = append(b, `,"after":`...)
			b = strconv.AppendInt(b, condition.After, 10)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	return append(b, '}'), nil
}

func appendEvent(b []byte, event *Event, index int) ([]byte, error) {
	var err error
	b = append(b, `{"type":`...)
	b = appendString(b, event.Type)
	b = append(b, `,"tags":`...)
	if b, err = appendTags(b, event.Tags); err != nil {
		return nil, at(err, place(index, ""))
	}
	b = append(b, `,"data":`...)
	data, err := encode(event.Data)
	if err != nil {
		return nil, notEncoded(place(index, "data"), err)
	}
	b = append(b, data...)
	if event.ID != "" {
		b = append(b, `,"id":`...)
		b = appendString(b, event.ID)
	}
	if event.Metadata != nil {
		metadata, err := encode(event.Metadata)
		if err != nil {
			return nil, notEncoded(place(index, "metadata"), err)
		}
		b = append(b, `,"metadata":`...)
		b = append(b, metadata...)
	}
	if !event.Timestamp.IsZero() {
		b = event.Timestamp.UTC().AppendFormat(b, `,"timestamp":"2006-01-02T15:04:05.000000Z"`)
	}
	return append(b, '}'), nil
}

// encode is like json.Marshal, but keeps every byte of a json.RawMessage.
func encode(v any) ([]byte, error) {
	raw, ok := v.(json.RawMessage)
	if !ok || raw == nil {
		return json.Marshal(v)
	}
	// Unchecked, it could end the event around it and add keys of its own.
	if !json.Valid(raw) {
		var ignored any
		if err := json.Unmarshal(raw, &ignored); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

// readRequest appends the JSON request of a read to b.
func readRequest(b []byte, query Query, options *readOptions) ([]byte, error) {
	b = append(b, `{"query":`...)
	b, err := appendQuery(b, query)
	if err != nil {
		return nil, at(err, "query.")
	}
	b = append(b, `,"after":`...)
	b = strconv.AppendInt(b, options.after, 10)
	if options.before != nil {
		b = append(b, `,"before":`...)
		b = strconv.AppendInt(b, *options.before, 10)
	}
	if options.limit != nil {
		b = append(b, `,"limit":`...)
		b = strconv.AppendInt(b, *options.limit, 10)
	}
	if options.backwards {
		b = append(b, `,"backwards":true`...)
	}
	return append(b, '}'), nil
}

func appendQuery(b []byte, query Query) ([]byte, error) {
	if query.items == nil {
		return append(b, "null"...), nil
	}
	if query.isEmpty() {
		return nil, invalid("items: must not be empty (a query for every event is QueryAll)")
	}
	b = append(b, `{"items":[`...)
	for i, item := range query.items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"types":[`...)
		for j, name := range item.Types {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendString(b, name)
		}
		b = append(b, `],"tags":`...)
		var err error
		if b, err = appendTags(b, item.Tags); err != nil {
			return nil, at(err, "items["+strconv.Itoa(i)+"].")
		}
		b = append(b, '}')
	}
	return append(b, `]}`...), nil
}

func appendTags(b []byte, tags []Tag) ([]byte, error) {
	b = append(b, '[')
	for i, tag := range tags {
		if problem := tag.problem(); problem != "" {
			return nil, invalid("tags[" + strconv.Itoa(i) + "]: " + problem)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = appendEscaped(b, tag.Key)
		if !tag.IsBare() {
			b = append(b, ':')
			b = appendEscaped(b, tag.Value)
		}
		b = append(b, '"')
	}
	return append(b, ']'), nil
}

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	b = appendEscaped(b, s)
	return append(b, '"')
}

// appendEscaped does not change bytes that are not UTF-8, which the library then rejects. encoding/json would
// replace them, and so make different names equal.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		if c < ' ' {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			b = append(b, '\\', c)
		}
		start = i + 1
	}
	return append(b, s[start:]...)
}

func place(event int, field string) string {
	return "events[" + strconv.Itoa(event) + "]." + field
}

// at puts the place before the message of an *Error.
func at(err error, place string) error {
	if failure, ok := err.(*Error); ok {
		failure.Message = place + failure.Message
	}
	return err
}

func notEncoded(place string, err error) error {
	return &Error{Status: StatusInvalidArgument, Message: place + ": " + err.Error(), cause: err}
}

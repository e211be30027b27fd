package dcb

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
)

// WithMetadata adds metadata from the context to every event that is appended to the store, such as the request that
// caused it: the keys that metadata returns for the context of the append and that the event does not have. A nil map
// adds nothing.
//
// An append that is repeated by the IDs of its events must have the same metadata each time, so metadata must return the
// same for each attempt of a request: its id, and not the time or the span of the attempt. See [Store.AppendEvents].
func WithMetadata(metadata func(ctx context.Context) map[string]any) Option {
	return func(o *options) { o.metadata = metadata }
}

// addMetadata returns the events with the metadata of the context.
func (s *Store) addMetadata(ctx context.Context, events []Event) ([]Event, error) {
	if s.metadata == nil {
		return events, nil
	}
	added := s.metadata(ctx)
	if len(added) == 0 {
		return events, nil
	}
	events = slices.Clone(events)
	for i := range events {
		merged, _, err := withKeys(events[i].Metadata, added, i)
		if err != nil {
			return nil, err
		}
		events[i].Metadata = merged
	}
	return events, nil
}

// withKeys returns the metadata of an event with keys added, and which of the keys it has already: these it keeps.
func withKeys(metadata any, added map[string]any, event int) (merged json.RawMessage, taken []string, err error) {
	given := json.RawMessage("{}")
	if metadata != nil {
		if given, err = encode(metadata); err != nil {
			return nil, nil, notEncoded(place(event, "metadata"), err)
		}
	}
	given = bytes.TrimSpace(given)
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(given, &keys); err != nil || keys == nil {
		return nil, nil, invalid(place(event, "metadata") + ": must be an object")
	}
	merged = append(merged, '{')
	for _, key := range slices.Sorted(maps.Keys(added)) {
		if _, ok := keys[key]; ok {
			taken = append(taken, key)
			continue
		}
		one, err := json.Marshal(map[string]any{key: added[key]})
		if err != nil {
			return nil, nil, notEncoded(place(event, "metadata"), err)
		}
		merged = append(append(merged, one[1:len(one)-1]...), ',')
	}
	if len(keys) == 0 && len(merged) > 1 {
		merged = merged[:len(merged)-1] // no comma before the end
	}
	return append(merged, given[1:]...), taken, nil // with the bytes of the rest of the object
}

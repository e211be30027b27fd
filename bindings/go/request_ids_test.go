package dcb_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"testing"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// The file is shared with the C++ headers: each recognises the other's requests. It is part of the repository, not
// of this module.
func TestRequestsAreStoredAsInOtherLanguages(t *testing.T) {
	text, err := os.ReadFile("../../tests/request_ids.json")
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat("../../Cargo.toml"); err != nil {
			t.Skip("the file is not part of this module")
		}
	}
	var vectors struct {
		Tags []struct {
			ID  string `json:"id_hex"`
			Tag string `json:"tag"`
		} `json:"tags"`
		Values []struct{ Metadata, Value string } `json:"values"`
	}
	if err := errors.Join(err, json.Unmarshal(text, &vectors)); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Tags) < 10 || len(vectors.Values) < 3 {
		t.Errorf("%d tags and %d values", len(vectors.Tags), len(vectors.Values))
	}
	for _, vector := range vectors.Tags {
		id, err := hex.DecodeString(vector.ID)
		if tag := dcb.RequestTag(string(id)); tag.String() != vector.Tag || err != nil {
			t.Errorf("%q: %v, want %v, %v", id, tag, vector.Tag, err)
		}
	}
	for _, vector := range vectors.Values {
		store := dcb.NewMemoryStore()
		// What another program has stored is read.
		appendTo(t, store, dcb.Event{
			Type: "A", Tags: []dcb.Tag{dcb.RequestTag("1")}, Metadata: json.RawMessage(vector.Metadata),
		})
		decide := func(int) ([]dcb.Event, string, error) { return []dcb.Event{{Type: "A"}}, vector.Value, nil }
		value, decision, err := dcb.DecideValue(ctx, store, counted, decide, dcb.WithRequestID("1"))
		if value != vector.Value || !decision.Repeated || err != nil {
			t.Errorf("%s: %q, %+v, %v", vector.Metadata, value, decision, err)
		}
		// What this one stores has the same content.
		if _, _, err := dcb.DecideValue(ctx, store, counted, decide, dcb.WithRequestID("2")); err != nil {
			t.Error(err)
		}
		events, _, err := store.Read(ctx, dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{dcb.RequestTag("2")}}))
		if err != nil || len(events) != 1 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		var stored string
		encoded, _ := events[0].Metadata.(map[string]any)["dcb_value"].(string)
		if err := json.Unmarshal([]byte(encoded), &stored); stored != vector.Value || err != nil {
			t.Errorf("%s: stored %q, %v", vector.Metadata, stored, err)
		}
	}
}

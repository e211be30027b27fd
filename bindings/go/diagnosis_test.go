package dcb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestDiagnose(t *testing.T) {
	onEach(t, func(t *testing.T, store *Store) {
		ctx := context.Background()
		mustAppend(t, store, Event{Type: "A"}, Event{Type: "A"})
		got, err := store.Diagnose(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got.Version != Version() || got.Head != 2 || got.ReadOnly || got.Failure != "" {
			t.Errorf("got %+v", got)
		}
		if (got.Store == "sqlite") != (got.SQLite != "") {
			t.Errorf("a %q store with SQLite %q", got.Store, got.SQLite)
		}
		if isPostgres := got.Store == "postgres"; isPostgres != (got.Server != "") || isPostgres != (got.Schema != "") {
			t.Errorf("a %q store in the schema %q of a server %q", got.Store, got.Schema, got.Server)
		}
		if got.Standby || got.LagMilliseconds != nil {
			t.Errorf("a store without standbys: %+v", got)
		}
		if inFile := got.Path != ""; inFile != (got.Durable == 2) || inFile != (got.Locks != "") {
			t.Errorf("got %+v", got)
		}

		// Diagnosis has a field for every key.
		document, err := store.h.diagnose(ctx)
		if err != nil {
			t.Fatal(err)
		}
		strict := json.NewDecoder(bytes.NewReader(document))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&got); err != nil {
			t.Error(err)
		}

		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := store.Diagnose(ended); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Diagnose(ctx); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

func TestDiagnoseAFile(t *testing.T) {
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "events.db")
	store := mustOpen(t, "sqlite:"+path)
	got, err := store.Diagnose(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if got.Path != path || got.Format != 2 || got.LogBytes == nil {
		t.Errorf("got %+v", got)
	}
	if got.OtherSQLite != nil && *got.OtherSQLite {
		t.Error("there is no other SQLite")
	}
}

// However a Diagnosis is printed, it shows values and no addresses.
func TestADiagnosisIsPrinted(t *testing.T) {
	bytes, other := int64(4096), false
	whole := Diagnosis{Store: "sqlite", Head: 3, Path: "/a b", LogBytes: &bytes, OtherSQLite: &other, Failure: "x"}
	for _, diagnosis := range []Diagnosis{whole, {}} {
		for _, text := range []string{
			diagnosis.String(), fmt.Sprint(diagnosis), fmt.Sprintf("%+v", diagnosis), fmt.Sprintf("%s", &diagnosis),
		} {
			var got Diagnosis
			if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, diagnosis) || strings.Contains(text, "\n") {
				t.Errorf("%s: %+v, %v", text, got, err)
			}
		}
	}
	if text := whole.String(); !strings.Contains(text, `"log_bytes":4096,`) || !strings.Contains(text, `"other_sqlite":false,`) {
		t.Error(text)
	}
}

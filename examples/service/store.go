package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/bindings/go/projector"
	"github.com/libdcb/libdcb/examples/service/courses"

	_ "modernc.org/sqlite"
)

// store is the database of the service: the events, the read model, and the letters to be sent.
type store struct {
	events    *dcb.SQLiteStore
	db        *sql.DB
	readModel *projector.Projector
	counters  *dcb.Counters
}

// schema has the tables of the service beside those of the events. A service with a history of schemas has migrations
// in its place.
const schema = `
CREATE TABLE IF NOT EXISTS course (
	id TEXT PRIMARY KEY, title TEXT NOT NULL, capacity INTEGER NOT NULL, taken INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS enrolment (
	student TEXT NOT NULL, course TEXT NOT NULL, PRIMARY KEY (student, course)
);
CREATE TABLE IF NOT EXISTS letter (
	position INTEGER PRIMARY KEY, student TEXT NOT NULL, course TEXT NOT NULL
);`

// openStore opens the database and creates what is missing in it.
func openStore(ctx context.Context, path string) (*store, error) {
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(16)
	counters := &dcb.Counters{}
	events, err := dcb.OpenDB(db,
		dcb.WithRegistry(courses.Registry), dcb.WithMetadata(correlated), dcb.WithObserver(counters))
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &store{events, db, newReadModel(db, events), counters}
	if _, err = db.ExecContext(ctx, schema); err == nil {
		err = s.readModel.CreateTables(ctx)
	}
	if err != nil {
		events.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Close closes the database.
func (s *store) Close() error {
	return s.events.Close() // and db with it
}

type correlationKey struct{}

// correlate returns a context whose events have the correlation id in their metadata.
func correlate(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, correlationKey{}, id)
}

// correlated returns the metadata of the events that are appended with the context.
func correlated(ctx context.Context) map[string]any {
	id, ok := ctx.Value(correlationKey{}).(string)
	if !ok {
		return nil
	}
	return map[string]any{"correlation": id}
}

// letter returns the option by which a subscription also stores that the student is to be told, in one transaction: if
// the student has a seat, there is a letter, and the other way round. Whoever sends the letters deletes them.
func letter(ctx context.Context, cmd courses.Subscribe) dcb.DecideOption {
	return dcb.WithTx(func(tx *sql.Tx, decision dcb.Decision) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO letter (position, student, course) VALUES (?, ?, ?)",
			decision.First, cmd.Student, cmd.Course)
		return err
	})
}

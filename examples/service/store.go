package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/bindings/go/projector"
	"github.com/libdcb/libdcb/examples/service/courses"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// store is the database of the service: the events, the read model, and the letters to be sent.
type store struct {
	events    *dcb.Store
	db        *sql.DB
	readModel *projector.Projector
	counters  *dcb.Counters
}

// schema has the tables of the service beside those of the events. A service with a history of schemas has migrations
// in its place. Like all of its SQL, both databases understand it.
const schema = `
CREATE TABLE IF NOT EXISTS course (
	id TEXT PRIMARY KEY, title TEXT NOT NULL, capacity INTEGER NOT NULL, taken INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS enrolment (
	student TEXT NOT NULL, course TEXT NOT NULL, PRIMARY KEY (student, course)
);
CREATE TABLE IF NOT EXISTS letter (
	position BIGINT PRIMARY KEY, student TEXT NOT NULL, course TEXT NOT NULL
);`

// openStore opens the database that the uri names, and creates what is missing in it: a file of SQLite, or a database of
// PostgreSQL.
func openStore(ctx context.Context, uri string) (*store, error) {
	open, dialect := openSQLite, projector.SQLite
	if strings.HasPrefix(uri, "postgres://") {
		open, dialect = openPostgres, projector.Postgres
	}
	counters := &dcb.Counters{}
	db, events, err := open(uri,
		dcb.WithRegistry(courses.Registry), dcb.WithMetadata(correlated), dcb.WithObserver(counters))
	if err != nil {
		return nil, err
	}
	s := &store{events, db, newReadModel(db, dialect, events), counters}
	if _, err = db.ExecContext(ctx, schema); err == nil {
		err = s.readModel.CreateTables(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openSQLite opens the events in a file, and the file for the rest.
func openSQLite(path string, opts ...dcb.Option) (*sql.DB, *dcb.Store, error) {
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(16)
	events, err := dcb.OpenDB(db, opts...)
	if err != nil {
		db.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return db, events.Store, nil
}

// openPostgres opens the events in a database of PostgreSQL, and the database for the rest.
func openPostgres(uri string, opts ...dcb.Option) (*sql.DB, *dcb.Store, error) {
	db, err := sql.Open("pgx", uri)
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(16)
	events, err := dcb.Open(uri, append(opts, dcb.TxDB(db))...)
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	return db, events, nil
}

// Close closes the database.
func (s *store) Close() error {
	return errors.Join(s.events.Close(), s.db.Close())
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
		_, err := tx.ExecContext(ctx, "INSERT INTO letter (position, student, course) VALUES ($1, $2, $3)",
			decision.First, cmd.Student, cmd.Course)
		return err
	})
}

package dcb

import (
	"context"
	"database/sql"
	"strings"
)

// SQLiteStore is a store in a SQLite database file, which any number of goroutines and processes
// on one machine may use at once. The methods of [Store] are its own too.
type SQLiteStore struct {
	*Store
	// db is nil where the library has the file open itself.
	db *sql.DB
}

// NewSQLiteStore opens the store that the dsn names, and creates it if there is none: a path,
// ":memory:", "file:..." with mode as its only parameter, or a uri as [Open] takes.
// To give it options, use [Open].
func NewSQLiteStore(dsn string) (*SQLiteStore, error) {
	store, err := Open(uriOf(dsn))
	if err != nil {
		return nil, err
	}
	return &SQLiteStore{Store: store}, nil
}

// NewSQLiteStoreFromDB opens the store in a database that the program has open already, with
// modernc.org/sqlite or github.com/mattn/go-sqlite3, and creates it if there is none. Other tables
// in it stay as they are; the store's are named dcb_... To give it options, use [OpenDB].
//
// It runs its SQL on the pool's connections and never opens the file, so it can be :memory:, and
// connections are what the program has tuned. Everything else is as with [NewSQLiteStore], which
// may have the same file open, in this process and in others: the promises, the file, the rules.
//
//   - With a connection that is given back everything is as it was. While the store writes on it,
//     its busy_timeout is 0: the store itself waits, as long as the context allows.
//   - An event is durable before anybody is told of it: the store raises PRAGMA synchronous where
//     it is OFF, for what it writes. OFF still voids that, for all who use the file, on whatever
//     connection writes something else: the program's own, in [SQLiteStore.AppendTx] too.
//   - The pool needs one connection. A database in memory must have no more, and keep it:
//     db.SetMaxOpenConns(1), db.SetConnMaxLifetime(0), db.SetConnMaxIdleTime(0). A shared one
//     (cache=shared) may have more; but modernc.org/sqlite then waits for the other connections'
//     transactions by itself, without end, whatever the context says.
//   - Who holds the only connection, in a transaction or in rows not yet closed, and calls the
//     store, waits for himself: that ends with [ErrBusy].
//   - Nothing works in the background. Now and then an append writes or merges a bit of the index.
//
// [SQLiteStore.AppendTx] appends in a transaction of the program's own. Close closes db.
func NewSQLiteStoreFromDB(db *sql.DB) (*SQLiteStore, error) {
	return OpenDB(db)
}

// OpenDB is [NewSQLiteStoreFromDB] with options. [ReadOnly] and [Immutable] are not among them;
// [Adopt] is what it does anyway.
func OpenDB(db *sql.DB, opts ...Option) (*SQLiteStore, error) {
	if err := checkLibrary(); err != nil {
		return nil, err
	}
	if db == nil {
		return nil, invalid("db: must not be nil")
	}
	o := newOptions(opts)
	document, busyTimeoutMS, err := o.document()
	if err != nil {
		return nil, err
	}
	h, err := openHosted(db, document, busyTimeoutMS)
	if err != nil {
		return nil, err
	}
	return &SQLiteStore{Store: newStore(h, o), db: db}, nil
}

func uriOf(dsn string) string {
	for _, scheme := range []string{"memory:", "sqlite:", "file:", "postgres:"} {
		if strings.HasPrefix(dsn, scheme) {
			return dsn
		}
	}
	return "sqlite:" + dsn
}

// Append stores all of the events or none; see [Store.Append].
func (s *SQLiteStore) Append(ctx context.Context, events []Event, condition ...AppendCondition) error {
	return s.Store.Append(ctx, events, condition...)
}

// AppendTx appends in tx, a transaction of the database that the store was opened with by
// [NewSQLiteStoreFromDB]: the events and what else the transaction writes are stored together, when
// it is committed, or not at all. Conditions and ids are judged on everything that is stored, and
// on what was appended in tx before.
//
// A nil error says that the events are in the transaction. They are stored once tx.Commit returns
// nil, and only as durable as that is: of the driver's defaults, modernc.org/sqlite's is durable,
// that of github.com/mattn/go-sqlite3 in WAL mode is not, until PRAGMA synchronous is FULL.
// Positions are final with the commit.
//
// From AppendTx on, tx is the one that writes: keep it short. Appends outside of it wait, and one
// on the same goroutine waits in vain. [ErrBusy] says that tx cannot write: another writer did not
// end in time, or tx has read, and others have written since. Then roll tx back and run all of it
// again. After any other error nothing of the append is in tx, which may go on, unless the database
// has ended it, or the store where nothing less would undo the append: then its commit fails. An [ErrAppendConditionFailed] is one such: mostly tx is to be rolled back then.
func (s *SQLiteStore) AppendTx(ctx context.Context, tx *sql.Tx, events []Event, conditions ...AppendCondition) error {
	_, err := s.AppendEventsTx(ctx, tx, events, conditions...)
	return err
}

// AppendEventsTx is [SQLiteStore.AppendTx], and tells the positions that the events have once tx is
// committed.
func (s *SQLiteStore) AppendEventsTx(ctx context.Context, tx *sql.Tx, events []Event, conditions ...AppendCondition) (Appended, error) {
	if s.db == nil {
		return Appended{}, invalid("AppendTx: the store was not opened by NewSQLiteStoreFromDB")
	}
	if tx == nil {
		return Appended{}, invalid("tx: must not be nil")
	}
	h := s.handle()
	return s.appendBy(ctx, func(ctx context.Context, request []byte) (int64, error) {
		return h.appendTx(ctx, tx, request)
	}, events, conditions)
}

// Read returns the events that the query matches and the highest position among them; see
// [Store.Read].
func (s *SQLiteStore) Read(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	return s.Store.Read(ctx, query, opts...)
}

// Close closes the database, as [Store.Close] does; so the *sql.DB that the store was opened with.
func (s *SQLiteStore) Close() error {
	err := s.Store.Close()
	if s.db != nil {
		err = s.db.Close()
	}
	return err
}

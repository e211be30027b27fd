package dcb

import (
	"context"
	"database/sql"
	"strings"
)

// SQLiteStore is a store in a SQLite database file, which any number of goroutines and processes on one
// machine may use at the same time. It also has the methods of [Store].
type SQLiteStore struct {
	*Store
	// db is nil if the library has opened the file itself.
	db *sql.DB
}

// NewSQLiteStore opens the store that the dsn names and creates it if there is none. The dsn is a path,
// ":memory:", "file:..." with mode as its only parameter, or a uri as [Open] takes it.
func NewSQLiteStore(dsn string, opts ...Option) (*SQLiteStore, error) {
	store, err := Open(uriOf(dsn), opts...)
	if err != nil {
		return nil, err
	}
	return &SQLiteStore{Store: store}, nil
}

// NewSQLiteStoreFromDB opens the store in a database that the program has open, with modernc.org/sqlite or
// github.com/mattn/go-sqlite3, and creates it if there is none. The names of its tables begin with dcb_;
// it leaves other tables alone. Use [OpenDB] to open a store with options, and [SQLiteStore.AppendTx] to
// append in a transaction of the program's own. Close also closes db.
//
// The store runs its statements on the pool's connections and never opens the file, so the database may be
// in memory. It keeps the same promises as a store of [NewSQLiteStore], which may have the same file open
// at the same time, in this process and in others. These points are particular to it:
//
//   - It returns each connection in the state in which the pool lent it. While it writes on one, the
//     connection's busy_timeout is 0: the store itself waits for locks, as long as the context allows. In
//     a transaction of the program's it changes no setting.
//   - Concurrent appends are committed together, on one connection, and share one sync. That sync is the
//     store's own: in WAL mode, it commits with PRAGMA synchronous at NORMAL and then syncs the file before
//     an append returns; without a WAL, at FULL or above where the connection has it OFF. If any other
//     connection commits with OFF, in [SQLiteStore.AppendTx] too, no event is safe from a power failure.
//   - The pool needs at least one connection. A private database in memory needs exactly one, kept
//     forever: db.SetMaxOpenConns(1), db.SetConnMaxLifetime(0), db.SetConnMaxIdleTime(0). A shared one
//     (cache=shared) may have more, but then modernc.org/sqlite itself waits without limit for the
//     transactions of other connections, whatever the context says.
//   - A goroutine that holds the pool's only connection, through a transaction or open rows, and calls the
//     store waits for itself. The call ends with [ErrBusy].
//   - It has no background thread. From time to time an append also writes or merges a part of the index.
//   - A driver may fail and panic, but not end the goroutine by [runtime.Goexit] within a call of the store: then the
//     call panics, and the store can neither be used nor closed any more.
func NewSQLiteStoreFromDB(db *sql.DB) (*SQLiteStore, error) {
	return OpenDB(db)
}

// OpenDB is like [NewSQLiteStoreFromDB], with options. [ReadOnly], [Immutable], [MaxReaders] and [CacheBytes] are errors,
// and [Adopt] changes nothing, since the program has chosen the database.
func OpenDB(db *sql.DB, opts ...Option) (*SQLiteStore, error) {
	if err := checkLibrary(); err != nil {
		return nil, err
	}
	if db == nil {
		return nil, missing("db")
	}
	o := newOptions(opts)
	if o.txDB != nil {
		return nil, invalid("TxDB: only for a store in PostgreSQL")
	}
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
	for _, scheme := range []string{"memory:", "sqlite:", "file:"} {
		if strings.HasPrefix(dsn, scheme) {
			return dsn
		}
	}
	if isOfPostgres(dsn) {
		return dsn
	}
	return "sqlite:" + dsn
}

func isOfPostgres(uri string) bool {
	return strings.HasPrefix(uri, "postgres:") || strings.HasPrefix(uri, "postgresql:")
}

// Append stores all of the events or none; see [Store.Append].
func (s *SQLiteStore) Append(ctx context.Context, events []Event, condition ...AppendCondition) error {
	return s.Store.Append(ctx, events, condition...)
}

// AppendTx appends the events in tx, a transaction on the database that the store was opened with by
// [NewSQLiteStoreFromDB]. The events are stored together with everything else that tx writes once it is
// committed, and not at all if it is not. Conditions and IDs are checked against all stored events and
// those appended in tx before.
//
// A nil error means that the events are in the transaction. They are stored once tx.Commit returns nil,
// and as durable as that commit: with the default settings, a commit of modernc.org/sqlite is durable, and
// one of github.com/mattn/go-sqlite3 in WAL mode is not, unless PRAGMA synchronous is FULL.
//
// From AppendTx on, tx holds the write lock. Keep it short: other appends wait for it, and an append on the
// same goroutine outside of tx waits in vain. [SQLiteStore.InTx] begins such a transaction, runs it again where
// that helps, and commits it; [WithTx] does so with a decision.
//
// After an error, none of the events are in the transaction:
//
//	error                      the transaction         what to do
//	ErrAppendConditionFailed   can go on               roll back, and decide again in a new one
//	ErrDuplicateID             can go on               roll back; the ID belongs to another event
//	ErrInvalidArgument,        can go on, unless it    correct the call; the message says if tx has
//	ErrTooLarge                has ended               ended or belongs to another database
//	ErrCancelled, or that of   can go on, unless it    roll back
//	ctx                        was begun with ctx
//	ErrBusy                    cannot write: another   roll back, and run all of it again
//	                           transaction did not end
//	                           in time, or has written
//	                           since tx first read
//	ErrClosed                  can go on               roll back
//	any other                  is in doubt             roll back
//
// In doubt, roll back: if undoing the append needed the rollback of the whole transaction, its Commit
// fails.
func (s *SQLiteStore) AppendTx(ctx context.Context, tx *sql.Tx, events []Event, conditions ...AppendCondition) error {
	_, err := s.AppendEventsTx(ctx, tx, events, conditions...)
	return err
}

// AppendEventsTx is like [SQLiteStore.AppendTx] and also returns the positions that the events have once
// tx is committed.
//
// If Repeated is set, an earlier append with the same IDs has stored the events, and what its transaction
// wrote besides was committed with them: do not run your own statements again. Append first, and run them
// only for a new append:
//
//	appended, err := store.AppendEventsTx(ctx, tx, events)
//	if err == nil && !appended.Repeated {
//		_, err = tx.ExecContext(ctx, "UPDATE seats SET taken = taken + 1")
//	}
func (s *SQLiteStore) AppendEventsTx(ctx context.Context, tx *sql.Tx, events []Event, conditions ...AppendCondition) (Appended, error) {
	if s.db == nil {
		return Appended{}, invalid("AppendTx: the store was not opened by NewSQLiteStoreFromDB")
	}
	if tx == nil {
		return Appended{}, missing("tx")
	}
	return s.appendEventsTx(ctx, tx, events, conditions)
}

func (s *Store) appendEventsTx(ctx context.Context, tx *sql.Tx, events []Event, conditions []AppendCondition) (Appended, error) {
	h := s.handle()
	return s.appendBy(ctx, func(ctx context.Context, request []byte) (Appended, error) {
		return h.appendTx(ctx, tx, request)
	}, events, conditions)
}

// Read returns the events that the query matches and the highest position among them; see
// [Store.Read].
func (s *SQLiteStore) Read(ctx context.Context, query Query, opts ...ReadOption) ([]SequencedEvent, int64, error) {
	return s.Store.Read(ctx, query, opts...)
}

// Close closes the store, as [Store.Close] does, and the *sql.DB that it was opened with, if any.
func (s *SQLiteStore) Close() error {
	err := s.Store.Close()
	if s.db != nil {
		err = s.db.Close()
	}
	return err
}

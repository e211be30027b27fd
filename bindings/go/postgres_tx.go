package dcb

// #include "driver.h"
import "C"

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"runtime/cgo"
	"strconv"
	"unsafe"
)

// PostgresTx is a transaction of the program's on a PostgreSQL server, by whatever driver. It is for drivers that
// do not use database/sql; package pgxdcb has it for pgx.
type PostgresTx interface {
	// QueryText runs a statement with parameters that are texts, and returns the one column of its one row, or
	// nil if that is NULL. An error of the server has a method SQLState() string.
	QueryText(ctx context.Context, statement string, args []string) (*string, error)
	// Commit commits the transaction.
	Commit(ctx context.Context) error
	// Rollback rolls the transaction back. It does nothing after Commit.
	Rollback(ctx context.Context) error
}

// PostgresBegin begins a transaction at the isolation level READ COMMITTED.
type PostgresBegin func(ctx context.Context) (PostgresTx, error)

// TxDB names the *sql.DB whose transactions [PostgresStore.InTx] and [WithTx] begin: a pool of connections to the
// database of the store, by github.com/jackc/pgx/v5/stdlib or github.com/lib/pq. It is for stores in PostgreSQL
// alone, which do not use it otherwise, and do not close it. A program that uses pgx itself has package pgxdcb.
func TxDB(db *sql.DB) Option {
	return func(o *options) { o.txDB = db }
}

// sqlTx is a PostgresTx by database/sql.
type sqlTx struct{ *sql.Tx }

func (tx sqlTx) QueryText(ctx context.Context, statement string, args []string) (text *string, err error) {
	values := make([]any, len(args))
	for i, arg := range args {
		values[i] = arg
	}
	err = tx.QueryRowContext(ctx, statement, values...).Scan(&text)
	return text, err
}

func (tx sqlTx) Commit(context.Context) error { return tx.Tx.Commit() }

func (tx sqlTx) Rollback(context.Context) error { return tx.Tx.Rollback() }

// beginsSQL returns a function that begins transactions on db.
func beginsSQL(db *sql.DB) PostgresBegin {
	return func(ctx context.Context) (PostgresTx, error) {
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if err != nil {
			return nil, err
		}
		return sqlTx{tx}, nil
	}
}

// AppendTx appends the events in tx, a transaction on the database of the store, with the driver pgx or lib/pq. The
// events are stored together with everything else that tx writes once it is committed, and not at all if it is
// not. Nobody sees them before, and waits and subscriptions learn of them then. Conditions and IDs are checked
// against all stored events and those appended in tx before.
//
// A nil error means that the events are in the transaction. They are stored once tx.Commit returns nil.
//
// From AppendTx on, tx holds the lock that all appends take, and keeps it until it ends: positions are those of
// the commits, in order and without a gap. Keep it short: other appends wait for it, and an append on the same
// goroutine outside of tx waits in vain. [PostgresStore.InTx] begins such a transaction, runs it again where that
// helps, and commits it; [WithTx] does so with a decision.
//
// Tx must have the isolation level READ COMMITTED, which is the server's default: at another level a condition
// would not see what was stored since tx began. Its client_encoding is UTF8, as these drivers set it. Its role needs
// the rights of a program that appends.
//
// After an error, none of the events are in the transaction:
//
//	error                      the transaction         what to do
//	ErrAppendConditionFailed   can go on               roll back, and decide again in a new one
//	ErrDuplicateID             can go on               roll back; the ID belongs to another event
//	ErrBusy                    has failed              roll back, and run all of it again
//	any other                  has failed, unless the  roll back
//	                           request was refused
//	                           before it was sent
func (s *PostgresStore) AppendTx(ctx context.Context, tx *sql.Tx, events []Event, conditions ...AppendCondition) error {
	_, err := s.AppendEventsTx(ctx, tx, events, conditions...)
	return err
}

// AppendEventsTx is like [PostgresStore.AppendTx] and also returns the positions that the events have once tx is
// committed.
//
// If Repeated is set, an earlier append with the same IDs has stored the events, and what its transaction wrote
// besides was committed with them: do not run your own statements again. Append first, and run them only for a
// new append, as with [SQLiteStore.AppendEventsTx].
func (s *PostgresStore) AppendEventsTx(ctx context.Context, tx *sql.Tx, events []Event, conditions ...AppendCondition) (Appended, error) {
	if tx == nil {
		return Appended{}, missing("tx")
	}
	return s.AppendEventsBy(ctx, sqlTx{tx}, events, conditions...)
}

// AppendEventsBy is [PostgresStore.AppendEventsTx] for any driver.
func (s *PostgresStore) AppendEventsBy(ctx context.Context, tx PostgresTx, events []Event, conditions ...AppendCondition) (Appended, error) {
	if tx == nil {
		return Appended{}, missing("tx")
	}
	return s.Store.appendEventsBy(ctx, tx, events, conditions)
}

func (s *Store) appendEventsBy(ctx context.Context, tx PostgresTx, events []Event, conditions []AppendCondition) (Appended, error) {
	h := s.handle()
	return s.appendBy(ctx, func(ctx context.Context, request []byte) (Appended, error) {
		return h.appendWithin(ctx, tx, request)
	}, events, conditions)
}

// InTx runs a function in a transaction of the database that [TxDB] names, and commits it. In it, append with
// [PostgresStore.AppendTx]. If run returns an error, InTx rolls back and returns it. Run must not end the
// transaction itself, nor close the store: Close waits for it.
//
// The transaction has the lock of the appends from its beginning, so nobody else can append while it runs: what run
// reads and decides still holds when it appends. Transactions of InTx so never wait for each other in a circle.
// Keep the transaction short, since all others wait for it: every statement is a round trip to the server. A
// transaction that the program begins itself has the lock only from AppendTx on.
//
// If the transaction cannot have the lock in time, or the server ends it in favour of another one (a deadlock, for
// instance), InTx rolls back and runs all of it again, so run may be called several times. It retries until the
// deadline of ctx, or for 10 seconds if it has none, and then returns a [RetryError]. It returns an
// [ErrAppendConditionFailed] at once: the same run would fail again. [WithTx] decides again.
//
// If the commit itself fails with an error of the driver or of ctx, its outcome is unknown; after any other error,
// nothing was stored. A retry finds out by the IDs of the events, or by [WithRequestID].
func (s *PostgresStore) InTx(ctx context.Context, run func(tx *sql.Tx) error) error {
	if run == nil {
		return missing("run")
	}
	begin, err := s.Store.beginsTx("InTx")
	if err != nil {
		return err
	}
	return s.InTxBy(ctx, begin, func(tx PostgresTx) error { return run(tx.(sqlTx).Tx) })
}

// InTxBy is [PostgresStore.InTx] for any driver: begin begins the transactions.
func (s *PostgresStore) InTxBy(ctx context.Context, begin PostgresBegin, run func(tx PostgresTx) error) error {
	switch {
	case begin == nil:
		return missing("begin")
	case run == nil:
		return missing("run")
	}
	h := s.Store.handle()
	return inTx(ctx, h, isBusyInPostgres, func() error {
		return h.postgresTransaction(ctx, begin, func(tx PostgresTx) error {
			if _, err := h.appendWithin(ctx, tx, nil); err != nil {
				return err
			}
			return run(tx)
		})
	})
}

// WithTxBy is [WithTx] for a store in PostgreSQL and any driver: begin begins the transactions.
func WithTxBy(begin PostgresBegin, rows func(tx PostgresTx, decision Decision) error) DecideOption {
	return func(d *decision) {
		d.appends = func(ctx context.Context, events []Event, conditions []AppendCondition) (Appended, error) {
			switch {
			case begin == nil:
				return Appended{}, missing("WithTxBy: begin")
			case rows == nil:
				return Appended{}, missing("WithTxBy: rows")
			}
			store := d.library()
			if store == nil {
				return Appended{}, invalid("WithTxBy: the store is not one of this package, nor a wrapper with Unwrap")
			}
			return d.appendWithRowsBy(ctx, store, begin, events, conditions, rows)
		}
	}
}

// appendWithRowsBy appends the events and calls rows in one transaction. The append takes the lock.
func (d *decision) appendWithRowsBy(
	ctx context.Context, store *Store, begin PostgresBegin, events []Event, conditions []AppendCondition,
	rows func(PostgresTx, Decision) error,
) (appended Appended, err error) {
	h := store.handle()
	err = inTx(ctx, h, isBusyInPostgres, func() error {
		return h.postgresTransaction(ctx, begin, func(tx PostgresTx) error {
			var err error
			if appended, err = store.appendEventsBy(ctx, tx, events, conditions); err != nil || appended.Repeated {
				return err
			}
			err = rows(tx, Decision{First: appended.First, Last: appended.Last, Attempts: d.attempt})
			d.isRefused = err != nil && !isBusyInPostgres(err)
			return err
		})
	})
	return appended, err
}

// beginsTx returns what begins the transactions of a function of this name.
func (s *Store) beginsTx(name string) (PostgresBegin, error) {
	h := s.handle()
	switch {
	case h == nil:
		return nil, closed()
	case h.txDB == nil:
		return nil, invalid(name + ": the store was opened without TxDB")
	}
	return beginsSQL(h.txDB), nil
}

// postgresTransaction runs the function in one transaction.
func (h *handle) postgresTransaction(ctx context.Context, begin PostgresBegin, run func(PostgresTx) error) error {
	if err := h.hold(); err != nil {
		return err
	}
	defer h.release()
	tx, err := begin(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return waited(ctx, "a connection of the program")
		}
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after Commit it does nothing
	if err := run(tx); err != nil {
		return rolledBack(ctx, err)
	}
	if err := tx.Commit(ctx); err != nil {
		if errors.Is(err, sql.ErrTxDone) {
			return rolledBack(ctx, err)
		}
		return err
	}
	return nil
}

// sqlState returns the SQLSTATE of an error of a driver, or "".
func sqlState(err error) string {
	var coded interface{ SQLState() string }
	if errors.As(err, &coded) {
		return coded.SQLState()
	}
	return ""
}

// isBusyInPostgres reports whether running the transaction again may help.
func isBusyInPostgres(err error) bool {
	switch sqlState(err) {
	case "40001", "40P01", "55P03": // a serialization failure, a deadlock, a lock that was not free
		return true
	}
	return errors.Is(err, ErrBusy)
}

// postgresCall is an append in a transaction of the program's. The library calls back with its handle.
type postgresCall struct {
	ctx    context.Context
	tx     PostgresTx
	err    error
	pinner runtime.Pinner
}

// appendWithin appends in a transaction of the program's, or only takes the lock if there is no request. It takes
// no slot, because the calls that have the slots may wait for this transaction.
func (h *handle) appendWithin(ctx context.Context, tx PostgresTx, request []byte) (Appended, error) {
	if h == nil {
		return Appended{}, closed()
	}
	if err := h.hold(); err != nil {
		return Appended{}, err
	}
	defer h.release()
	within := &postgresCall{ctx: ctx, tx: tx}
	defer within.pinner.Unpin()
	token := cgo.NewHandle(within)
	defer token.Delete()
	call := newCall(ctx, h.busyTimeoutMS)
	defer call.end()
	last, failure, options := new(C.int64_t), new(C.dcb_error), call.options()
	status := C.dcb_go_append_within_postgres(
		h.store, C.uintptr_t(token), charPointer(request), C.size_t(len(request)), &options, last, failure)
	if cause := ctx.Err(); status != 0 && within.err != nil && cause != nil {
		return Appended{}, &Error{
			Status:  contextStatus(cause),
			Message: "the transaction failed when its context ended: " + cause.Error(),
			cause:   cause,
		}
	}
	err := call.failure(status, failure)
	if failed, ok := err.(*Error); ok && failed.cause == nil {
		failed.cause = within.err
	}
	return Appended{Last: int64(*last), Repeated: status == 0 && failure.detail != 0}, err
}

//export dcbGoPostgresQuery
func dcbGoPostgresQuery(
	token C.uintptr_t, statement C.dcb_str, values *C.dcb_str, length C.size_t, reply *C.dcb_reply,
) (code C.int32_t) {
	within := cgo.Handle(token).Value().(*postgresCall)
	code = codeExited
	defer func() {
		p := recover()
		expectReturn(p, code != codeExited)
		if p != nil {
			within.err = fmt.Errorf("the driver panicked: %v", p)
			code = refuse(reply, codeNone, within.err.Error())
		}
	}()
	args := make([]string, length)
	for i, value := range unsafe.Slice(values, length) {
		args[i] = stringOf(value)
	}
	text, err := within.tx.QueryText(within.ctx, stringOf(statement), args)
	if err != nil {
		within.err = err
		code := C.int32_t(codeNone)
		if number, err := strconv.ParseInt(sqlState(err), 36, 32); err == nil && number > 0 {
			code = C.int32_t(number)
		}
		return refuse(reply, code, err.Error())
	}
	if text != nil {
		rows := append([]byte(*text), 0) // not empty, so that it can be pinned
		within.pinner.Pin(&rows[0])
		reply.rows = C.dcb_str{data: charPointer(rows), len: C.size_t(len(*text))}
	}
	return 0
}

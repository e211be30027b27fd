package dcb

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// codeLocked is SQLite's result code of a lock within a shared cache.
const codeLocked = 6

// WithTx makes the decision in a transaction of the program's own database, together with statements of its own:
// the events are appended and rows is called in one transaction, and both or neither are stored. The store must
// have been opened by [NewSQLiteStoreFromDB] or [OpenDB], or be in PostgreSQL and have been opened with [TxDB].
//
// rows is called after the append, with the positions of the events and the number of attempts so far. If it
// returns an error, everything is rolled back, and the decision returns that error. It is not called if the
// decision has no events, or is repeated: then the first one has called it. The decision itself reads before the
// transaction begins, which is as safe, because the append is conditional on it. So what may reject the command
// belongs into the events, or into rows.
//
// The transaction is one of [SQLiteStore.InTx] or [PostgresStore.InTx], and is retried if it is busy. If the
// append conflicts, all of it is retried: read, decide, append, rows. So rows may be called several times, and
// the statements of one call only are stored.
func WithTx(rows func(tx *sql.Tx, decision Decision) error) DecideOption {
	return func(d *decision) {
		d.appends = func(ctx context.Context, events []Event, conditions []AppendCondition) (Appended, error) {
			if rows == nil {
				return Appended{}, missing("WithTx: rows")
			}
			return d.appendWithRows(ctx, events, conditions, rows)
		}
	}
}

// appendWithRows appends the events and calls rows in one transaction.
func (d *decision) appendWithRows(
	ctx context.Context, events []Event, conditions []AppendCondition, rows func(*sql.Tx, Decision) error,
) (appended Appended, err error) {
	store := d.library()
	if store == nil {
		return Appended{}, invalid("WithTx: the store is not one of this package, nor a wrapper with Unwrap")
	}
	if h := store.handle(); h != nil && h.host == nil && h.isInPostgres {
		begin, err := store.beginsTx("WithTx")
		if err != nil {
			return Appended{}, err
		}
		return d.appendWithRowsBy(ctx, store, begin, events, conditions, func(tx PostgresTx, decision Decision) error {
			return rows(tx.(sqlTx).Tx, decision)
		})
	}
	err = store.inTx(ctx, "WithTx", func(tx *sql.Tx) error {
		var err error
		if appended, err = store.appendEventsTx(ctx, tx, events, conditions); err != nil || appended.Repeated {
			return err
		}
		err = rows(tx, Decision{First: appended.First, Last: appended.Last, Attempts: d.attempt})
		d.isRefused = err != nil && !isBusy(err)
		return err
	})
	return appended, err
}

// InTx runs a function in a transaction of the database that the store was opened with by
// [NewSQLiteStoreFromDB], and commits it. In it, append with [SQLiteStore.AppendTx]. If run returns an error,
// InTx rolls back and returns it. Run must not end the transaction itself, nor close the store: Close waits for it.
//
// The transaction queues with the appends and the other transactions of InTx of this store, in the order in
// which they come, and has the write lock from its beginning. A transaction that the program begins itself waits
// for that lock as SQLite does, which is not fair: beside many appends it may wait in vain. Keep the transaction
// short, since all others wait for it. In it, other appends to the store and other calls of InTx wait in vain, and
// reads of the store need a second connection of the pool.
//
// If the database is busy, InTx rolls back and runs all of it again, so run may be called several times. It retries
// until the deadline of ctx, or for 10 seconds if it has none, and then returns a [RetryError]. It returns an
// [ErrAppendConditionFailed] at once: nobody else can append during the transaction, so the same run would fail
// again. [WithTx] decides again.
//
// Once InTx returns nil, the transaction is as durable as a commit on its connection: see
// [SQLiteStore.AppendTx]. If it returns an error of the driver other than that it is busy, from the commit, the
// outcome is unknown; after any other error, nothing was stored.
func (s *SQLiteStore) InTx(ctx context.Context, run func(tx *sql.Tx) error) error {
	if run == nil {
		return missing("run")
	}
	return s.Store.inTx(ctx, "InTx", run)
}

// inTx is InTx, for a function of this name.
func (s *Store) inTx(ctx context.Context, name string, run func(*sql.Tx) error) error {
	h := s.handle()
	if h != nil && h.host == nil {
		return invalid(name + ": the store was not opened by NewSQLiteStoreFromDB")
	}
	return inTx(ctx, h, isBusy, func() error { return h.transaction(ctx, run) })
}

// inTx makes attempts at a transaction until one is not busy.
func inTx(ctx context.Context, h *handle, isBusy func(error) bool, try func() error) error {
	switch {
	case h == nil:
		return closed()
	case ctx.Err() != nil:
		return ctx.Err()
	}
	start := time.Now()
	policy := RetryPolicy{}.withDefaults(ctx)
	var last error
	for attempt := 1; ; attempt++ {
		err := try()
		if err == nil {
			return nil
		}
		if !isBusy(err) {
			return gaveUp(attempt-1, start, last, err)
		}
		if last = err; !errors.Is(err, ErrBusy) {
			last = &Error{Status: StatusBusy, Message: err.Error(), cause: err}
		}
		if cause := ctx.Err(); cause != nil {
			return &RetryError{Attempts: attempt, Elapsed: time.Since(start), Err: last, cause: cause}
		}
		delay := policy.delay(attempt)
		if elapsed := time.Since(start); !policy.allows(attempt, elapsed, delay) {
			return &RetryError{Attempts: attempt, Elapsed: elapsed, Err: last}
		}
		if err := pause(ctx, delay); err != nil {
			return gaveUp(attempt, start, last, err)
		}
	}
}

// isBusy reports whether the library or a driver says that the database is locked.
func isBusy(err error) bool {
	switch codeOf(err) & 0xff {
	case codeBusy, codeLocked:
		return true
	}
	return errors.Is(err, ErrBusy)
}

// bounded returns a context that also ends after the busy timeout, if it has no deadline.
func (h *handle) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || h.busyTimeoutMS < 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Duration(h.busyTimeoutMS)*time.Millisecond)
}

// waited returns the error of a wait for something that ended with the context, which may be that of bounded.
func waited(ctx context.Context, something string) error {
	if ctx.Err() == context.Canceled {
		return &Error{Status: StatusCancelled, Message: "stopped waiting for " + something, cause: ctx.Err()}
	}
	return &Error{Status: StatusBusy, Message: "timed out waiting for " + something, cause: ctx.Err()}
}

// transaction runs the function in one transaction, which holds the write lock.
func (h *handle) transaction(ctx context.Context, run func(*sql.Tx) error) error {
	if err := h.hold(); err != nil {
		return err
	}
	defer h.release()
	waiting, cancel := h.bounded(ctx)
	defer cancel()
	if err := h.host.gate.enter(waiting, true); err != nil {
		return waited(ctx, "the appends and transactions before")
	}
	defer h.host.gate.leave(true)
	conn, err := h.host.db.Conn(waiting)
	switch {
	case err == nil:
	case waiting.Err() != nil:
		return waited(ctx, "a free connection of the pool")
	default:
		return err
	}
	defer conn.Close()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	// It writes nothing, and takes the lock before anything is read that might be outdated then.
	if _, err := tx.ExecContext(ctx, "UPDATE main.dcb_meta SET value = value WHERE key IS NULL"); err != nil {
		if ctx.Err() != nil {
			return waited(ctx, "the write lock")
		}
		return err
	}
	if err := run(tx); err != nil {
		return rolledBack(ctx, err)
	}
	if err := tx.Commit(); err != nil {
		// SQLite keeps a transaction open whose COMMIT was busy, and database/sql takes it for ended.
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		if errors.Is(err, sql.ErrTxDone) {
			return rolledBack(ctx, err)
		}
		return err
	}
	return nil
}

// rolledBack returns the error of a transaction that was not committed. If database/sql has rolled it back
// because its context ended, and so made a call of the library fail, err does not say so.
func rolledBack(ctx context.Context, err error) error {
	cause := ctx.Err()
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	var failure *Error
	isFailure := errors.As(err, &failure) && (failure.Status == StatusIO || failure.Status == StatusUnavailable ||
		failure.Status == StatusInternal)
	if !isFailure && !errors.Is(err, sql.ErrTxDone) {
		return err
	}
	return &Error{
		Status:  contextStatus(cause),
		Message: "the transaction was rolled back when its context ended: " + cause.Error(),
		cause:   cause,
	}
}

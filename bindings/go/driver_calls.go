package dcb

// #include <stdlib.h>
// #include "driver.h"
import "C"

import (
	"context"
	"database/sql"
	"errors"
	"runtime/cgo"
	"strings"
	"sync"
	"unsafe"
)

// The calls of a store over a *sql.DB. The library calls back while they run, and a callback may move
// the goroutine's stack: so everything that the library is given lies on the heap.

// hostCall is one call of the library on a store over a *sql.DB. Callbacks find it by its token.
type hostCall struct {
	ctx   context.Context
	token cgo.Handle
	// opens is what the call opens a store on, or nil.
	opens *host
	// shares is what the call appends to, in a group with others, or nil.
	shares *host
	// err is the last error of the driver, or of database/sql.
	err error
}

func newHostCall(ctx context.Context) *hostCall {
	c := &hostCall{ctx: ctx}
	c.token = cgo.NewHandle(c)
	return c
}

// beginHostCall returns nil if the library has the database open itself.
func (h *handle) beginHostCall(ctx context.Context) *hostCall {
	if h.host == nil {
		return nil
	}
	return newHostCall(ctx)
}

// id returns what the library's callbacks find the call by.
func (c *hostCall) id() C.uintptr_t {
	if c == nil {
		return 0
	}
	return C.uintptr_t(c.token)
}

// end ends the call. If the driver caused err, the error that it returns wraps the driver's.
func (c *hostCall) end(err error) error {
	if c == nil {
		return err
	}
	c.token.Delete()
	failure, ok := err.(*Error)
	if !ok || failure.cause != nil {
		return err
	}
	if c.err == nil {
		c.err = c.ofGroup(failure)
	}
	if c.err == nil {
		return err
	}
	switch failure.Status {
	case StatusConditionFailed, StatusDuplicateID, StatusTooLarge:
	default:
		if isCauseOf(failure, codeOf(c.err)) {
			failure.cause = c.err
		}
	}
	return err
}

// ofGroup returns the error of the driver that another call has met which has run the statements of this one's
// group, or nil. The failure quotes it.
func (c *hostCall) ofGroup(failure *Error) error {
	if c.shares == nil {
		return nil
	}
	if last := c.shares.failed.Load(); last != nil && strings.Contains(failure.Message, (*last).Error()) {
		return *last
	}
	return nil
}

// isCauseOf reports whether an error of the driver with this code can have caused the failure. The last error
// of the driver may be a lock that the library waited for with success. And after a statement has failed, a
// call may still fail for another reason: what was committed before cannot be made durable, for example.
func isCauseOf(failure *Error, code C.int32_t) bool {
	const locked = 6
	if primary := code & 0xff; failure.Status == StatusBusy && (primary == codeBusy || primary == locked) {
		return true // the library reports the lock that it waited for in its own words
	}
	return failure.Detail == int(max(code, 0))
}

func openHosted(db *sql.DB, options string, busyTimeoutMS int64) (*handle, error) {
	optionsC := C.CString(options)
	defer C.free(unsafe.Pointer(optionsC))
	lender := &host{db: db}
	lender.self = cgo.NewHandle(lender)
	call := newHostCall(context.Background())
	call.opens = lender
	var store *C.dcb_store
	var failure C.dcb_error
	stressGC()
	status := C.dcb_go_open(call.id(), C.uintptr_t(lender.self), optionsC, &store, &failure)
	if status != 0 {
		lender.self.Delete()
		return nil, call.end(newError(status, &failure))
	}
	call.token.Delete()
	return newHandle(store, lender, busyTimeoutMS), nil
}

func (h *handle) appendHosted(call *call, request []byte) (Appended, error) {
	if !h.host.gate.tryEnter(false) {
		waiting, cancel := h.bounded(call.ctx)
		defer cancel()
		if err := h.host.gate.enter(waiting, false); err != nil {
			return Appended{}, waited(call.ctx, "a transaction of InTx")
		}
	}
	defer h.host.gate.leave(false)
	hostCall := newHostCall(call.ctx)
	hostCall.shares = h.host
	last, failure, options := new(C.int64_t), new(C.dcb_error), call.options()
	status := C.dcb_go_append(
		hostCall.id(), h.store, charPointer(request), C.size_t(len(request)), &options, last, failure)
	appended := Appended{Last: int64(*last), Repeated: status == 0 && failure.detail != 0}
	return appended, hostCall.end(call.failure(status, failure))
}

// txTurns holds the transactions that are being appended in. Any number of goroutines may use a
// *sql.Tx, but the statements of one append must not mix with those of another.
var txTurns struct {
	mu   sync.Mutex
	used map[*sql.Tx]*txTurn
}

// txTurn lets one append at a time run in a transaction.
type txTurn struct {
	wanted int           // appends that run or wait, guarded by txTurns.mu
	taken  chan struct{} // full while an append runs
}

// takeTurn waits until no other append runs in the transaction. The caller ends its turn with release.
func takeTurn(ctx context.Context, tx *sql.Tx) (release func(), err error) {
	txTurns.mu.Lock()
	turn := txTurns.used[tx]
	if turn == nil {
		turn = &txTurn{taken: make(chan struct{}, 1)}
		if txTurns.used == nil {
			txTurns.used = make(map[*sql.Tx]*txTurn)
		}
		txTurns.used[tx] = turn
	}
	turn.wanted++
	txTurns.mu.Unlock()
	forget := func() {
		txTurns.mu.Lock()
		defer txTurns.mu.Unlock()
		if turn.wanted--; turn.wanted == 0 {
			delete(txTurns.used, tx)
		}
	}
	select {
	case turn.taken <- struct{}{}:
		return func() {
			<-turn.taken
			forget()
		}, nil
	case <-ctx.Done():
		forget()
		return nil, gaveUpQueueing(ctx.Err())
	}
}

// appendTx appends in the caller's transaction. It takes no slot, because the calls that have the
// slots may wait for this transaction.
func (h *handle) appendTx(ctx context.Context, tx *sql.Tx, request []byte) (Appended, error) {
	if h == nil {
		return Appended{}, closed()
	}
	release, err := takeTurn(ctx, tx)
	if err != nil {
		return Appended{}, err
	}
	defer release()
	if err := h.hold(); err != nil {
		return Appended{}, err
	}
	defer h.release()
	hostCall, call := newHostCall(ctx), newCall(ctx, h.busyTimeoutMS)
	defer call.end()
	conn := newHostConn(hostCall, tx, nil)
	if h.host.isOfPool(tx) {
		conn.path = h.host.path
	}
	defer conn.closeRows()
	connToken := cgo.NewHandle(conn)
	defer connToken.Delete()
	last, failure, options := new(C.int64_t), new(C.dcb_error), call.options()
	status := C.dcb_go_append_within(
		hostCall.id(), h.store, C.uintptr_t(connToken),
		charPointer(request), C.size_t(len(request)), &options, last, failure)
	err = hostCall.end(call.failure(status, failure))
	if cause := ctx.Err(); cause != nil && errors.Is(err, sql.ErrTxDone) {
		// The transaction was begun with the same context, and database/sql has rolled it back.
		return Appended{}, &Error{
			Status:  contextStatus(cause),
			Message: "the transaction was rolled back when its context ended: " + cause.Error(),
			cause:   cause,
		}
	}
	return Appended{Last: int64(*last), Repeated: status == 0 && failure.detail != 0}, err
}

func (c *cursor) openHosted(request []byte) (*C.dcb_cursor, error) {
	hostCall := newHostCall(c.call.ctx)
	opened, failure, options := new(*C.dcb_cursor), new(C.dcb_error), c.call.options()
	status := C.dcb_go_cursor_open(
		hostCall.id(), c.h.store, charPointer(request), C.size_t(len(request)), &options, opened, failure)
	return *opened, hostCall.end(c.call.failure(status, failure))
}

// nextHosted returns the next events, in the library's memory.
func (c *cursor) nextHosted(max int) ([]C.dcb_event, error) {
	hostCall := newHostCall(c.call.ctx)
	first, length := new(*C.dcb_event), new(C.size_t)
	failure, options := new(C.dcb_error), c.call.options()
	status := C.dcb_go_cursor_next(hostCall.id(), c.c, C.size_t(max), &options, first, length, failure)
	return unsafe.Slice(*first, *length), hostCall.end(c.call.failure(status, failure))
}

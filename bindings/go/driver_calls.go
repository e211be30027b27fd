package dcb

// #include <stdlib.h>
// #include "driver.h"
import "C"

import (
	"context"
	"database/sql"
	"errors"
	"runtime/cgo"
	"sync"
	"unsafe"
)

// The calls of a store over a *sql.DB. They are the others', but that the library calls back: so
// what they are given is not to be on a stack, which may move meanwhile.

// hosted begins a call on such a store; end ends it.
type hosted struct {
	call   hostCall
	handle cgo.Handle
}

func newHosted(ctx context.Context) *hosted {
	k := &hosted{call: hostCall{ctx: ctx}}
	k.handle = cgo.NewHandle(&k.call)
	return k
}

func (k *hosted) own() C.uintptr_t { return C.uintptr_t(k.handle) }

// end gives the error its cause, where that is the driver's.
func (k *hosted) end(err error) error {
	k.handle.Delete()
	failure, ok := err.(*Error)
	if !ok || failure.cause != nil || k.call.err == nil {
		return err
	}
	switch failure.Status {
	case StatusConditionFailed, StatusDuplicateID, StatusTooLarge:
	default:
		failure.cause = k.call.err
	}
	return err
}

func openHosted(db *sql.DB, options string, patience int64) (*handle, error) {
	optionsC := C.CString(options)
	defer C.free(unsafe.Pointer(optionsC))
	own := &host{db: db}
	own.self = cgo.NewHandle(own)
	k := newHosted(context.Background())
	var c *C.dcb_store
	var failure C.dcb_error
	stressGC()
	status := C.dcb_go_open(k.own(), C.uintptr_t(own.self), optionsC, &c, &failure)
	if status != 0 {
		own.self.Delete()
		return nil, k.end(newError(status, &failure))
	}
	k.handle.Delete()
	return newHandle(c, own, patience), nil
}

func (h *handle) appendHosted(ctx context.Context, request []byte) (int64, error) {
	own, k := newHosted(ctx), newCall(ctx, h.patience)
	defer k.end()
	last, failure, options := new(C.int64_t), new(C.dcb_error), k.options()
	status := C.dcb_go_append(own.own(), h.c, characters(request), C.size_t(len(request)), &options, last, failure)
	return int64(*last), own.end(k.failure(status, failure))
}

// transactions are those that are being appended in, each by one goroutine at a time: a *sql.Tx is
// for any number of them, the statements of an append are not to be mixed with another's.
var transactions struct {
	mu   sync.Mutex
	used map[*sql.Tx]*turns
}

// turns are those of a transaction: how many want one, and whose it is.
type turns struct {
	wanted int
	taken  chan struct{}
}

// take waits for a turn in the transaction; give ends it.
func take(ctx context.Context, tx *sql.Tx) (give func(), err error) {
	transactions.mu.Lock()
	own := transactions.used[tx]
	if own == nil {
		own = &turns{taken: make(chan struct{}, 1)}
		if transactions.used == nil {
			transactions.used = make(map[*sql.Tx]*turns)
		}
		transactions.used[tx] = own
	}
	own.wanted++
	transactions.mu.Unlock()
	forget := func() {
		transactions.mu.Lock()
		defer transactions.mu.Unlock()
		if own.wanted--; own.wanted == 0 {
			delete(transactions.used, tx)
		}
	}
	select {
	case own.taken <- struct{}{}:
		return func() {
			<-own.taken
			forget()
		}, nil
	case <-ctx.Done():
		forget()
		return nil, crowdedOut(ctx.Err())
	}
}

// appendTx appends in the caller's transaction. It takes no slot: those who have them may wait for
// this very transaction.
func (h *handle) appendTx(ctx context.Context, tx *sql.Tx, request []byte) (int64, error) {
	if h == nil {
		return 0, closed()
	}
	give, err := take(ctx, tx)
	if err != nil {
		return 0, err
	}
	defer give()
	if err := h.hold(); err != nil {
		return 0, err
	}
	defer h.release()
	own, k := newHosted(ctx), newCall(ctx, h.patience)
	defer k.end()
	connection := newHostConn(&own.call, tx, nil)
	defer connection.drop()
	within := cgo.NewHandle(connection)
	defer within.Delete()
	last, failure, options := new(C.int64_t), new(C.dcb_error), k.options()
	status := C.dcb_go_append_within(own.own(), h.c, C.uintptr_t(within), characters(request), C.size_t(len(request)), &options, last, failure)
	err = own.end(k.failure(status, failure))
	if cause := ctx.Err(); cause != nil && errors.Is(err, sql.ErrTxDone) {
		// The transaction was begun with the same context, and database/sql has ended it first.
		return 0, &Error{Status: statusOf(cause), Message: "the transaction has ended: " + cause.Error(), cause: cause}
	}
	return int64(*last), err
}

func (h *handle) headHosted(ctx context.Context) (int64, error) {
	own, k := newHosted(ctx), newCall(ctx, h.patience)
	defer k.end()
	head, failure, options := new(C.int64_t), new(C.dcb_error), k.options()
	status := C.dcb_go_head(own.own(), h.c, &options, head, failure)
	return int64(*head), own.end(k.failure(status, failure))
}

func (h *handle) countHosted(ctx context.Context) (int64, error) {
	own, k := newHosted(ctx), newCall(ctx, h.patience)
	defer k.end()
	count, failure, options := new(C.int64_t), new(C.dcb_error), k.options()
	status := C.dcb_go_count(own.own(), h.c, &options, count, failure)
	return int64(*count), own.end(k.failure(status, failure))
}

func (h *handle) diagnoseHosted(ctx context.Context) ([]byte, error) {
	own, k := newHosted(ctx), newCall(ctx, h.patience)
	defer k.end()
	result, failure, options := new(C.dcb_buf), new(C.dcb_error), k.options()
	status := C.dcb_go_diagnose(own.own(), h.c, &options, result, failure)
	defer C.dcb_buf_free(result)
	return C.GoBytes(unsafe.Pointer(result.data), C.int(result.len)), own.end(k.failure(status, failure))
}

func (h *handle) waitHosted(after int64, k *call) (int64, error) {
	own := newHosted(k.ctx)
	head, failure, options := new(C.int64_t), new(C.dcb_error), k.options()
	status := C.dcb_go_wait(own.own(), h.c, C.int64_t(after), &options, head, failure)
	return int64(*head), own.end(k.failure(status, failure))
}

func (c *cursor) openHosted(request []byte) (*C.dcb_cursor, error) {
	own := newHosted(c.call.ctx)
	opened, failure, options := new(*C.dcb_cursor), new(C.dcb_error), c.call.options()
	status := C.dcb_go_cursor_open(own.own(), c.h.c, characters(request), C.size_t(len(request)), &options, opened, failure)
	return *opened, own.end(c.call.failure(status, failure))
}

// nextHosted gives the next events, in the library's memory.
func (c *cursor) nextHosted(max int) ([]C.dcb_event, error) {
	own := newHosted(c.call.ctx)
	first, length := new(*C.dcb_event), new(C.size_t)
	failure, options := new(C.dcb_error), c.call.options()
	status := C.dcb_go_cursor_next(own.own(), c.c, C.size_t(max), &options, first, length, failure)
	return unsafe.Slice(*first, *length), own.end(c.call.failure(status, failure))
}

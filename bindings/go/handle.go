package dcb

// #include <stdlib.h>
// #include "driver.h"
// #cgo noescape dcb_open
// #cgo nocallback dcb_open
// #cgo noescape dcb_append
// #cgo nocallback dcb_append
import "C"

import (
	"context"
	"database/sql"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// handle guards a dcb_store, which nobody may use while it is closed. It counts the calls that run, so
// that close can wait for them; only close waits, and nobody waits for close.
type handle struct {
	store *C.dcb_store

	mu      sync.Mutex
	running int       // calls that hold the store
	idle    sync.Cond // on mu: running is 0
	// freeing is set while dcb_close runs. Cursors that are closed meanwhile become leftovers.
	freeing   bool
	leftovers []*C.dcb_cursor
	// closing is set under mu: no call begins after it.
	closing   atomic.Bool
	closeOnce sync.Once

	// busyTimeoutMS is how long a call waits for a lock if its context has no deadline, in
	// milliseconds; a negative value means no limit.
	busyTimeoutMS int64
	watch         watch
	followers     followers
	names         names
	// slots limits the calls that run in the library. Appends and reads have slots of their own,
	// since an append may wait for a lock and a read must not wait for that append.
	slots [2]chan struct{}
	// closingCtx is done once the store begins to close.
	closingCtx    context.Context
	beginsClosing context.CancelFunc
	// host is nil if the library opened the database itself.
	host *host
	// isInPostgres is set for a store in PostgreSQL, and txDB, if not nil, has its program's transactions.
	isInPostgres bool
	txDB         *sql.DB
}

// The kinds of calls, each with slots of its own.
const (
	appending = iota
	reading
)

// maxCalls is how many calls of a kind run in the library at once; further ones wait in Go. A call
// that waits for a lock or for the disk occupies a thread, and Go aborts a program with 10,000 threads.
const maxCalls = 256

func newHandle(store *C.dcb_store, host *host, busyTimeoutMS int64) *handle {
	h := &handle{store: store, host: host, busyTimeoutMS: busyTimeoutMS}
	h.idle.L = &h.mu
	for kind := range h.slots {
		h.slots[kind] = make(chan struct{}, maxCalls)
	}
	h.closingCtx, h.beginsClosing = context.WithCancel(context.Background())
	return h
}

func openHandle(uri, options string, busyTimeoutMS int64) (*handle, error) {
	if strings.IndexByte(uri, 0) >= 0 {
		return nil, invalid("uri: must not contain a NUL")
	}
	uriC, optionsC := C.CString(uri), C.CString(options)
	defer C.free(unsafe.Pointer(uriC))
	defer C.free(unsafe.Pointer(optionsC))
	var store *C.dcb_store
	var failure C.dcb_error
	stressGC()
	status := C.dcb_open(uriC, optionsC, &store, &failure)
	if status != 0 {
		return nil, newError(status, &failure)
	}
	return newHandle(store, nil, busyTimeoutMS), nil
}

// enter begins a call on the store and takes a slot for it. The caller ends it with leave.
func (h *handle) enter(ctx context.Context, kind int) error {
	if h == nil || h.closing.Load() {
		return closed()
	}
	select {
	case h.slots[kind] <- struct{}{}:
	default:
		select {
		case h.slots[kind] <- struct{}{}:
		case <-ctx.Done():
			return gaveUpQueueing(ctx.Err())
		}
	}
	if err := h.hold(); err != nil {
		<-h.slots[kind]
		return err
	}
	return nil
}

func (h *handle) leave(kind int) {
	h.release()
	<-h.slots[kind]
}

// hold keeps the store open until release.
func (h *handle) hold() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing.Load() {
		return closed()
	}
	h.running++
	stressGC()
	return nil
}

func (h *handle) release() {
	stressGC()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running--; h.running == 0 {
		h.idle.Broadcast()
	}
}

// closeCursor closes a cursor of the store, at any time. No call on a cursor may run during dcb_close,
// so then the cursor is left to close.
func (h *handle) closeCursor(c *C.dcb_cursor) {
	h.mu.Lock()
	if h.freeing {
		h.leftovers = append(h.leftovers, c)
		h.mu.Unlock()
		return
	}
	h.running++
	h.mu.Unlock()
	C.dcb_cursor_close(c)
	h.release()
}

// contextStatus returns the status of a call that its context ended.
func contextStatus(cause error) Status {
	if cause == context.Canceled {
		return StatusCancelled
	}
	return StatusBusy
}

// gaveUpQueueing returns the error of a call whose context ended before it reached the library.
func gaveUpQueueing(cause error) error {
	return &Error{
		Status:  contextStatus(cause),
		Message: "stopped waiting for earlier calls to finish (" + cause.Error() + ")",
		cause:   cause,
	}
}

// close ends the waits, waits for the other calls that run, and closes the store.
func (h *handle) close() {
	h.closeOnce.Do(func() {
		h.mu.Lock()
		h.closing.Store(true)
		h.mu.Unlock()
		h.beginsClosing()
		h.watch.stop()

		h.mu.Lock()
		for h.running > 0 {
			h.idle.Wait()
		}
		h.freeing = true
		h.mu.Unlock()
		C.dcb_close(h.store)

		h.mu.Lock()
		h.freeing = false
		leftovers := h.leftovers
		h.leftovers = nil
		h.mu.Unlock()
		for _, c := range leftovers {
			C.dcb_cursor_close(c)
		}
		if h.host != nil {
			h.host.self.Delete()
		}
	})
}

// append leaves First to the caller, who knows how many events there are.
func (h *handle) append(ctx context.Context, request []byte) (Appended, error) {
	if err := h.enter(ctx, appending); err != nil {
		return Appended{}, err
	}
	defer h.leave(appending)
	call := newCall(ctx, h.busyTimeoutMS)
	defer call.end()
	if h.host != nil {
		return h.appendHosted(&call, request)
	}
	var last C.int64_t
	var failure C.dcb_error
	options := call.options()
	status := C.dcb_append(h.store, charPointer(request), C.size_t(len(request)), &options, &last, &failure)
	return Appended{Last: int64(last), Repeated: status == 0 && failure.detail != 0}, call.failure(status, &failure)
}

// read makes a call of the library that reads one value from the store and takes a slot for it.
func read[T any](ctx context.Context, h *handle, timeoutMS int64, function libraryFunc[T]) (value T, err error) {
	if err := h.enter(ctx, reading); err != nil {
		return value, err
	}
	defer h.leave(reading)
	call := newCall(ctx, timeoutMS)
	defer call.end()
	return function.call(h, &call)
}

// libraryFunc calls a function of the library that writes a T to value. The token is that of the hostCall.
type libraryFunc[T any] func(token C.uintptr_t, options *C.dcb_call, value *T, failure *C.dcb_error) C.dcb_status

// call calls the function, on the stores of both kinds.
func (f libraryFunc[T]) call(h *handle, call *call) (T, error) {
	hostCall := h.beginHostCall(call.ctx)
	value, failure, options := new(T), new(C.dcb_error), call.options()
	status := f(hostCall.id(), &options, value, failure)
	return *value, hostCall.end(call.failure(status, failure))
}

func (h *handle) head(ctx context.Context, timeoutMS int64) (int64, error) {
	head, err := read(ctx, h, timeoutMS, func(
		token C.uintptr_t, options *C.dcb_call, head *C.int64_t, failure *C.dcb_error,
	) C.dcb_status {
		return C.dcb_go_head(token, h.store, options, head, failure)
	})
	return int64(head), err
}

func (h *handle) count(ctx context.Context) (int64, error) {
	count, err := read(ctx, h, h.defaultTimeoutMS(), func(
		token C.uintptr_t, options *C.dcb_call, count *C.int64_t, failure *C.dcb_error,
	) C.dcb_status {
		return C.dcb_go_count(token, h.store, options, count, failure)
	})
	return int64(count), err
}

// find returns the event with the id, or nil if there is none.
func (h *handle) find(ctx context.Context, id string) (*RawEvent, error) {
	return read(ctx, h, h.defaultTimeoutMS(), func(
		token C.uintptr_t, options *C.dcb_call, found **RawEvent, failure *C.dcb_error,
	) C.dcb_status {
		var opened *C.dcb_cursor
		text := (*C.char)(unsafe.Pointer(unsafe.StringData(id)))
		status := C.dcb_go_find(token, h.store, text, C.size_t(len(id)), options, &opened, failure)
		if status != C.DCB_OK {
			return status
		}
		defer C.dcb_cursor_close(opened)
		var first *C.dcb_event
		var length C.size_t
		status = C.dcb_go_cursor_next(token, opened, 1, options, &first, &length, failure)
		if status == C.DCB_OK && length == 1 {
			*found = &h.names.copyEvents(nil, unsafe.Slice(first, length))[0]
		}
		return status
	})
}

// diagnose returns the library's JSON document about the store.
func (h *handle) diagnose(ctx context.Context) ([]byte, error) {
	return read(ctx, h, h.defaultTimeoutMS(), func(
		token C.uintptr_t, options *C.dcb_call, document *[]byte, failure *C.dcb_error,
	) C.dcb_status {
		var result C.dcb_buf
		status := C.dcb_go_diagnose(token, h.store, options, &result, failure)
		*document = C.GoBytes(unsafe.Pointer(result.data), C.int(result.len))
		C.dcb_buf_free(&result)
		return status
	})
}

// wait blocks a thread until the head is above after, or cancel is triggered.
func (h *handle) wait(after int64, cancel *cancel) (int64, error) {
	if err := h.hold(); err != nil {
		return 0, err
	}
	defer h.release()
	call := call{ctx: context.Background(), timeoutMS: -1, cancel: cancel}
	wait := libraryFunc[C.int64_t](func(
		token C.uintptr_t, options *C.dcb_call, head *C.int64_t, failure *C.dcb_error,
	) C.dcb_status {
		return C.dcb_go_wait(token, h.store, C.int64_t(after), options, head, failure)
	})
	head, err := wait.call(h, &call)
	runtime.KeepAlive(cancel)
	return int64(head), err
}

// defaultTimeoutMS returns how long a call waits for a lock if its context has no deadline.
func (h *handle) defaultTimeoutMS() int64 {
	if h == nil {
		return 0
	}
	return h.busyTimeoutMS
}

// charPointer returns the memory of the slice, which the library borrows for one call.
func charPointer(b []byte) *C.char {
	return (*C.char)(unsafe.Pointer(unsafe.SliceData(b)))
}

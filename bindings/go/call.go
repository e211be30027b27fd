package dcb

// #include <dcb.h>
// #cgo noescape dcb_cancel_trigger
// #cgo nocallback dcb_cancel_trigger
import "C"

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// call carries a context into the library for one call, or for all calls of one cursor.
type call struct {
	ctx      context.Context
	patience int64
	cancel   *cancel // nil where the context never ends
	stop     func() bool
}

// newCall begins a call that waits for locks until the context's deadline, or for patience
// (milliseconds; below 0 without end) where it has none. The caller ends it.
func newCall(ctx context.Context, patience int64) call {
	k := call{ctx: ctx, patience: patience}
	if ctx.Done() != nil {
		k.cancel = cancels.Get().(*cancel)
		k.stop = context.AfterFunc(ctx, k.cancel.trigger)
	}
	return k
}

// end gives the cancel back, unless it was triggered: that is for ever.
func (k *call) end() {
	if k.stop != nil && k.stop() {
		cancels.Put(k.cancel)
	}
}

// options is what the library's next call is given.
func (k *call) options() C.dcb_call {
	options := C.dcb_call{timeout_ms: C.int64_t(k.patience)}
	options.size = C.size_t(unsafe.Sizeof(options))
	if deadline, ok := k.ctx.Deadline(); ok {
		options.timeout_ms = C.int64_t(milliseconds(max(0, time.Until(deadline))))
	}
	if k.cancel != nil {
		options.cancel = k.cancel.c
	}
	return options
}

// failure is the error that the library reported, nil for none. Where the context is why the call
// ended, it is the context's error too.
func (k *call) failure(status C.dcb_status, e *C.dcb_error) error {
	if status == 0 {
		return nil
	}
	failure := newError(status, e)
	switch failure.Status {
	case StatusBusy, StatusTimeout, StatusCancelled:
		failure.cause = k.ctx.Err()
		// The library's clock may be ahead of the context's timer.
		if deadline, ok := k.ctx.Deadline(); ok && failure.cause == nil && !time.Now().Before(deadline) {
			failure.cause = context.DeadlineExceeded
		}
		if failure.cause != nil {
			failure.Message += " (" + failure.cause.Error() + ")"
		}
	}
	return failure
}

func newError(status C.dcb_status, e *C.dcb_error) *Error {
	message := unsafe.Slice((*byte)(unsafe.Pointer(&e.message[0])), len(e.message))
	if end := bytes.IndexByte(message, 0); end >= 0 {
		message = message[:end]
	}
	return &Error{
		Status:   Status(status),
		Detail:   int(e.detail),
		Position: int64(e.position),
		Message:  string(message),
	}
}

// cancel is a dcb_cancel, freed with the last reference to it. One that was not triggered is used
// again.
type cancel struct {
	c *C.dcb_cancel
	// trigger is c's, bound once: it keeps c alive while it runs.
	trigger func()
}

var cancels = sync.Pool{New: func() any { return newCancel() }}

func newCancel() *cancel {
	k := &cancel{c: C.dcb_cancel_new()}
	k.trigger = func() {
		C.dcb_cancel_trigger(k.c)
		runtime.KeepAlive(k)
	}
	runtime.AddCleanup(k, func(c *C.dcb_cancel) { C.dcb_cancel_free(c) }, k.c)
	return k
}

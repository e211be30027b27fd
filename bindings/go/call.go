package dcb

// #include "library.h"
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

// call carries a context into the library, for one call or for all calls of one cursor.
type call struct {
	ctx context.Context
	// timeoutMS bounds the wait for a lock if ctx has no deadline.
	timeoutMS int64
	cancel    *cancel // nil if ctx cannot end
	stop      func() bool
}

// newCall begins a call that waits for locks until the context's deadline, or if it has none, for
// timeoutMS milliseconds; a negative timeoutMS means no limit. The caller ends it with end.
func newCall(ctx context.Context, timeoutMS int64) call {
	c := call{ctx: ctx, timeoutMS: timeoutMS}
	if ctx.Done() != nil {
		c.cancel = cancels.Get().(*cancel)
		c.stop = context.AfterFunc(ctx, c.cancel.trigger)
	}
	return c
}

// end returns the cancel to the pool, unless it was triggered: a triggered one stays so.
func (c *call) end() {
	if c.stop != nil && c.stop() {
		cancels.Put(c.cancel)
	}
}

// options returns the dcb_call for the next call of the library.
func (c *call) options() C.dcb_call {
	options := C.dcb_call{timeout_ms: C.int64_t(c.timeoutMS)}
	options.size = C.size_t(unsafe.Sizeof(options))
	if deadline, ok := c.ctx.Deadline(); ok {
		options.timeout_ms = C.int64_t(milliseconds(max(0, time.Until(deadline))))
	}
	if c.cancel != nil {
		options.cancel = c.cancel.c
	}
	return options
}

// failure returns the error that the library reported, or nil. If the context ended the call, the
// error wraps the context's.
func (c *call) failure(status C.dcb_status, e *C.dcb_error) error {
	if status == 0 {
		return nil
	}
	failure := newError(status, e)
	switch failure.Status {
	case StatusBusy, StatusTimeout, StatusCancelled:
		failure.cause = c.ctx.Err()
		// The library's clock may be ahead of the context's timer.
		if deadline, ok := c.ctx.Deadline(); ok && failure.cause == nil && !time.Now().Before(deadline) {
			failure.cause = context.DeadlineExceeded
		}
		if failure.cause != nil {
			failure.Message += " (" + failure.cause.Error() + ")"
		}
	}
	return failure
}

// detailRewound is the detail of the error of a store on a PostgreSQL server whose history was rewound: DCB03,
// as a number with the base 36.
const detailRewound = 22_409_139

func newError(status C.dcb_status, e *C.dcb_error) *Error {
	message := unsafe.Slice((*byte)(unsafe.Pointer(&e.message[0])), len(e.message))
	if end := bytes.IndexByte(message, 0); end >= 0 {
		message = message[:end]
	}
	failure := &Error{
		Status:   Status(status),
		Detail:   int(e.detail),
		Position: int64(e.position),
		Message:  string(message),
	}
	if failure.Status == StatusConditionFailed {
		failure.Condition, failure.Detail = failure.Detail, 0
	}
	if failure.Status == StatusCorrupt && failure.Detail == detailRewound {
		failure.cause = ErrHistoryRewound
	}
	return failure
}

// cancel is a dcb_cancel, which is freed with the last reference to it. One that was never triggered
// is used again.
type cancel struct {
	c *C.dcb_cancel
	// trigger triggers c. It is bound once, and keeps c alive while it runs.
	trigger func()
}

var cancels = sync.Pool{New: func() any { return newCancel() }}

func newCancel() *cancel {
	made := &cancel{c: C.dcb_cancel_new()}
	made.trigger = func() {
		C.dcb_cancel_trigger(made.c)
		runtime.KeepAlive(made)
	}
	runtime.AddCleanup(made, func(c *C.dcb_cancel) { C.dcb_cancel_free(c) }, made.c)
	return made
}

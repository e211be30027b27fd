package dcb

// #include "library.h"
// #cgo noescape dcb_cursor_open
// #cgo nocallback dcb_cursor_open
// #cgo noescape dcb_cursor_next
// #cgo nocallback dcb_cursor_next
import "C"

import (
	"context"
	"unsafe"
)

// batch is how many events one call of the library returns at most.
const batch = 256

// cursor is a dcb_cursor, a read of one snapshot. One goroutine uses it at a time.
type cursor struct {
	h    *handle
	c    *C.dcb_cursor
	call call
}

// openCursor takes the snapshot. The caller closes the cursor.
func (h *handle) openCursor(ctx context.Context, request []byte, timeoutMS int64) (*cursor, error) {
	if err := h.enter(ctx, reading); err != nil {
		return nil, err
	}
	defer h.leave(reading)
	c := &cursor{h: h, call: newCall(ctx, timeoutMS)}
	if h.host != nil {
		opened, err := c.openHosted(request)
		if err != nil {
			c.call.end()
			return nil, err
		}
		c.c = opened
		return c, nil
	}
	var opened *C.dcb_cursor
	var failure C.dcb_error
	options := c.call.options()
	status := C.dcb_cursor_open(
		h.store, charPointer(request), C.size_t(len(request)), &options, &opened, &failure)
	if err := c.call.failure(status, &failure); err != nil {
		c.call.end()
		return nil, err
	}
	c.c = opened
	return c, nil
}

// next appends copies of the next events to dst, at most max. If it appends none, the read has come
// to its end, at position.
func (c *cursor) next(dst []RawEvent, max int) (events []RawEvent, position int64, err error) {
	if err := c.call.ctx.Err(); err != nil {
		return dst, 0, err
	}
	if err := c.h.enter(c.call.ctx, reading); err != nil {
		return dst, 0, err
	}
	defer c.h.leave(reading)
	views, err := c.views(max)
	if err != nil {
		return dst, 0, err
	}
	if len(views) == 0 {
		return dst, int64(C.dcb_cursor_position(c.c)), nil
	}
	return c.h.names.copyEvents(dst, views), 0, nil
}

// views returns the next events in the library's memory, where they stay until the next call.
func (c *cursor) views(max int) ([]C.dcb_event, error) {
	if c.h.host != nil {
		return c.nextHosted(max)
	}
	var first *C.dcb_event
	var length C.size_t
	var failure C.dcb_error
	options := c.call.options()
	status := C.dcb_cursor_next(c.c, C.size_t(max), &options, &first, &length, &failure)
	if err := c.call.failure(status, &failure); err != nil {
		return nil, err
	}
	return unsafe.Slice(first, length), nil
}

// close may be called after the store was closed.
func (c *cursor) close() {
	c.h.closeCursor(c.c)
	c.call.end()
}

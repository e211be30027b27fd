package dcb

// #include "library.h"
// #cgo noescape dcb_cursor_open
// #cgo nocallback dcb_cursor_open
// #cgo noescape dcb_cursor_next
// #cgo nocallback dcb_cursor_next
import "C"

import (
	"bytes"
	"context"
	"encoding/json"
	"time"
	"unsafe"
)

// batch is how many events one call of the library returns at most.
const batch = 256

// cursor is a dcb_cursor, a read of one snapshot. One goroutine uses it at a time.
type cursor struct {
	h    *handle
	c    *C.dcb_cursor
	call call
	// names holds the event types read so far: there are few, and each occurs often.
	names map[string]string
}

// openCursor takes the snapshot. The caller closes the cursor.
func (h *handle) openCursor(ctx context.Context, request []byte, timeoutMS int64) (*cursor, error) {
	if err := h.enter(ctx, reading); err != nil {
		return nil, err
	}
	defer h.leave(reading)
	c := &cursor{h: h, call: newCall(ctx, timeoutMS), names: map[string]string{}}
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
	for i := range views {
		dst = append(dst, c.copy(&views[i]))
	}
	return dst, 0, nil
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

// copy copies an event out of the library's memory. The data, the texts and the tags are one
// allocation each, so a caller that keeps a tag keeps neither the payload nor other events alive.
func (c *cursor) copy(view *C.dcb_event) RawEvent {
	event := RawEvent{
		Position:  int64(view.position),
		Type:      c.name(bytesOf(view._type)),
		Data:      json.RawMessage(bytes.Clone(bytesOf(view.data))),
		Timestamp: time.UnixMicro(int64(view.timestamp_us)).UTC(),
	}
	if view.metadata.data != nil {
		event.Metadata = json.RawMessage(bytes.Clone(bytesOf(view.metadata)))
	}
	tags := unsafe.Slice(view.tags, view.tags_len)
	size := int(view.id.len)
	for _, tag := range tags {
		size += int(tag.len)
	}
	if size == 0 {
		return event
	}
	block := append(make([]byte, 0, size), bytesOf(view.id)...)
	for _, tag := range tags {
		block = append(block, bytesOf(tag)...)
	}
	text := unsafe.String(unsafe.SliceData(block), size)
	event.ID, text = text[:view.id.len], text[view.id.len:]
	if len(tags) > 0 {
		event.Tags = make([]Tag, len(tags))
	}
	for i, tag := range tags {
		event.Tags[i] = ParseTag(text[:tag.len])
		text = text[tag.len:]
	}
	return event
}

// name returns text as a string, the same one for all equal texts.
func (c *cursor) name(text []byte) string {
	name, ok := c.names[string(text)]
	if !ok {
		name = string(text)
		c.names[name] = name
	}
	return name
}

// bytesOf returns the bytes of the view in place, without copying them.
func bytesOf(view C.dcb_str) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(view.data)), view.len)
}

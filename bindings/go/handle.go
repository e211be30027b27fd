package dcb

// #include <stdlib.h>
// #include <dcb.h>
// #cgo noescape dcb_open
// #cgo nocallback dcb_open
// #cgo noescape dcb_append
// #cgo nocallback dcb_append
// #cgo noescape dcb_head
// #cgo nocallback dcb_head
// #cgo noescape dcb_count
// #cgo nocallback dcb_count
// #cgo noescape dcb_diagnose
// #cgo nocallback dcb_diagnose
// #cgo noescape dcb_wait
// #cgo nocallback dcb_wait
import "C"

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// handle guards a dcb_store: every call holds mu for reading, so that close waits for those that
// run, and none begins after it.
type handle struct {
	mu      sync.RWMutex
	c       *C.dcb_store // nil once closed
	closing atomic.Bool
	closed  sync.Once
	// patience is how long a call waits for a lock by default, in milliseconds.
	patience int64
	watch    watch
	// slots are taken by the calls that run: those that append, which may wait for a lock, and those
	// that read, which are not to wait for them.
	slots [2]chan struct{}
	// ends is done when the store is closing.
	ends context.Context
	end  context.CancelFunc
	// host is nil where the library has the database open itself.
	host *host
}

// The kinds of calls that take a slot.
const (
	appending = iota
	reading
)

// maxCalls is how many calls of a kind run in the library at once; the others wait in Go. Each that
// waits for a lock or the disk keeps a thread, and Go ends a program that has 10,000 of them.
const maxCalls = 256

func newHandle(c *C.dcb_store, host *host, patience int64) *handle {
	h := &handle{c: c, host: host, patience: patience}
	for kind := range h.slots {
		h.slots[kind] = make(chan struct{}, maxCalls)
	}
	h.ends, h.end = context.WithCancel(context.Background())
	return h
}

func openHandle(uri, options string, patience int64) (*handle, error) {
	if strings.IndexByte(uri, 0) >= 0 {
		return nil, invalid("uri: must not hold a NUL")
	}
	uriC, optionsC := C.CString(uri), C.CString(options)
	defer C.free(unsafe.Pointer(uriC))
	defer C.free(unsafe.Pointer(optionsC))
	var c *C.dcb_store
	var failure C.dcb_error
	stressGC()
	status := C.dcb_open(uriC, optionsC, &c, &failure)
	if status != 0 {
		return nil, newError(status, &failure)
	}
	return newHandle(c, nil, patience), nil
}

// enter begins a call on the store; leave ends it.
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
			return crowdedOut(ctx.Err())
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

// hold keeps the store from being closed until release.
func (h *handle) hold() error {
	// Not behind a close that waits for a slow call.
	if h.closing.Load() {
		return closed()
	}
	h.mu.RLock()
	if h.c == nil {
		h.mu.RUnlock()
		return closed()
	}
	stressGC()
	return nil
}

func (h *handle) release() {
	stressGC()
	h.mu.RUnlock()
}

// statusOf is that of a call which its context has ended.
func statusOf(cause error) Status {
	if cause == context.Canceled {
		return StatusCancelled
	}
	return StatusBusy
}

func crowdedOut(cause error) error {
	return &Error{
		Status:  statusOf(cause),
		Message: "other calls were before this one for longer than the time given (" + cause.Error() + ")",
		cause:   cause,
	}
}

func (h *handle) close() {
	h.closed.Do(func() {
		h.closing.Store(true)
		h.end()
		h.watch.stop()
		h.mu.Lock()
		defer h.mu.Unlock()
		C.dcb_close(h.c)
		h.c = nil
		if h.host != nil {
			h.host.self.Delete()
		}
	})
}

func (h *handle) append(ctx context.Context, request []byte) (int64, error) {
	if err := h.enter(ctx, appending); err != nil {
		return 0, err
	}
	defer h.leave(appending)
	if h.host != nil {
		return h.appendHosted(ctx, request)
	}
	k := newCall(ctx, h.patience)
	defer k.end()
	var last C.int64_t
	var failure C.dcb_error
	options := k.options()
	status := C.dcb_append(h.c, characters(request), C.size_t(len(request)), &options, &last, &failure)
	return int64(last), k.failure(status, &failure)
}

func (h *handle) head(ctx context.Context) (int64, error) {
	if err := h.enter(ctx, reading); err != nil {
		return 0, err
	}
	defer h.leave(reading)
	if h.host != nil {
		return h.headHosted(ctx)
	}
	k := newCall(ctx, h.patience)
	defer k.end()
	var head C.int64_t
	var failure C.dcb_error
	options := k.options()
	status := C.dcb_head(h.c, &options, &head, &failure)
	return int64(head), k.failure(status, &failure)
}

func (h *handle) count(ctx context.Context) (int64, error) {
	if err := h.enter(ctx, reading); err != nil {
		return 0, err
	}
	defer h.leave(reading)
	if h.host != nil {
		return h.countHosted(ctx)
	}
	k := newCall(ctx, h.patience)
	defer k.end()
	var count C.int64_t
	var failure C.dcb_error
	options := k.options()
	status := C.dcb_count(h.c, &options, &count, &failure)
	return int64(count), k.failure(status, &failure)
}

// diagnose gives the library's document.
func (h *handle) diagnose(ctx context.Context) ([]byte, error) {
	if err := h.enter(ctx, reading); err != nil {
		return nil, err
	}
	defer h.leave(reading)
	if h.host != nil {
		return h.diagnoseHosted(ctx)
	}
	k := newCall(ctx, h.patience)
	defer k.end()
	var result C.dcb_buf
	var failure C.dcb_error
	options := k.options()
	status := C.dcb_diagnose(h.c, &options, &result, &failure)
	defer C.dcb_buf_free(&result)
	document := C.GoBytes(unsafe.Pointer(result.data), C.int(result.len))
	return document, k.failure(status, &failure)
}

// wait blocks a thread until the head is above after, or the cancel is triggered.
func (h *handle) wait(after int64, end *cancel) (int64, error) {
	if err := h.hold(); err != nil {
		return 0, err
	}
	defer h.release()
	k := call{ctx: context.Background(), patience: -1, cancel: end}
	if h.host != nil {
		return h.waitHosted(after, &k)
	}
	var head C.int64_t
	var failure C.dcb_error
	options := k.options()
	status := C.dcb_wait(h.c, C.int64_t(after), &options, &head, &failure)
	runtime.KeepAlive(end)
	return int64(head), k.failure(status, &failure)
}

// characters is the slice's memory, which the library borrows for one call.
func characters(b []byte) *C.char {
	return (*C.char)(unsafe.Pointer(unsafe.SliceData(b)))
}

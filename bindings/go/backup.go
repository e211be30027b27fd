package dcb

// #include <stdlib.h>
// #include "backup.h"
import "C"

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"runtime/cgo"
	"strings"
	"syscall"
	"unsafe"
)

// BackupOption is an option of [Store.Backup].
type BackupOption func(*backupOptions)

type backupOptions struct {
	progress func(donePages, totalPages int64)
}

// BackupProgress returns an option that calls f after each of many steps, while Backup waits for it, with
// the number of pages copied so far and of all pages of the database. Syncing and checking the copy then
// takes about as long again. If f panics or calls [runtime.Goexit], as a test that fails does, the backup
// ends, and then Backup does the same. If the store is closed, by f itself for instance, Backup ends without waiting
// for f.
func BackupProgress(f func(donePages, totalPages int64)) BackupOption {
	return func(o *backupOptions) { o.progress = f }
}

// Backup copies the store to a new file at path while others read and append, and returns the position of
// the newest event in the copy: the copy has all events up to it, and none above. It is one file and a store
// of its own, checked and on the disk when Backup returns. After an error no file is left.
//
// Backup never replaces a file that exists: then the error is [fs.ErrExist]. The context ends the backup, and
// so does Close; [BusyTimeout] does not. A store in memory is copied too if it is in SQLite
// ("sqlite::memory:"), and its other calls wait meanwhile. Other stores in memory and stores over a *sql.DB
// have no file to copy ([ErrInvalidArgument]): for the latter, run VACUUM INTO on the *sql.DB.
//
// While the pages are copied, the WAL grows by what is appended. At its limit of 1 GiB appends wait for the
// copy.
func (s *Store) Backup(ctx context.Context, path string, opts ...BackupOption) (head int64, err error) {
	defer runtime.KeepAlive(s)
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if strings.IndexByte(path, 0) >= 0 {
		return 0, invalid("path: must not hold a NUL")
	}
	var options backupOptions
	for _, opt := range opts {
		opt(&options)
	}
	return s.handle().backup(ctx, path, options.progress)
}

// backupProgress is what the library calls while it copies.
type backupProgress struct {
	f func(donePages, totalPages int64)
	// closing is done once the store begins to close, which waits for the backup.
	closing <-chan struct{}
	// ended says how f ended, unless it returned.
	ended progressEnd
}

// progressEnd is the end of a call of f.
type progressEnd struct {
	returned bool
	// panicked holds what f panicked with, and exited is set if it ended its goroutine.
	panicked any
	exited   bool
}

// step calls f on a goroutine of its own, and reports whether it returned: neither a panic nor the end of a
// goroutine must cross the library, which would keep its locks. And f may close the store, which waits for the backup.
func (p *backupProgress) step(donePages, totalPages int64) (returned bool) {
	ended := make(chan progressEnd, 1)
	go func() {
		var end progressEnd
		defer func() {
			end.panicked = recover()
			end.exited = !end.returned && end.panicked == nil
			ended <- end
		}()
		p.f(donePages, totalPages)
		end.returned = true
	}()
	select {
	case p.ended = <-ended:
		return p.ended.returned
	case <-p.closing:
		return false
	}
}

//export dcbGoBackupStep
func dcbGoBackupStep(progress C.uintptr_t, donePages, totalPages C.int64_t) C.int32_t {
	p := cgo.Handle(progress).Value().(*backupProgress)
	if !p.step(int64(donePages), int64(totalPages)) {
		return 1
	}
	return 0
}

func (h *handle) backup(ctx context.Context, path string, progress func(int64, int64)) (int64, error) {
	if err := h.enter(ctx, reading); err != nil {
		return 0, err
	}
	defer h.leave(reading)
	// Close waits for calls that run; it is not to wait for a long copy.
	bounded, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(h.closingCtx, end)()
	call := newCall(bounded, -1)
	defer call.end()

	pathC := C.CString(path)
	defer C.free(unsafe.Pointer(pathC))
	p := &backupProgress{f: progress, closing: h.closingCtx.Done()}
	var token cgo.Handle
	if progress != nil {
		token = cgo.NewHandle(p)
		defer token.Delete()
	}
	var head C.int64_t
	var failure C.dcb_error
	options := call.options()
	status := C.dcb_go_backup(h.store, pathC, &options, C.uintptr_t(token), &head, &failure)
	switch {
	case p.ended.panicked != nil:
		panic(p.ended.panicked)
	case p.ended.exited:
		runtime.Goexit()
	}
	err := call.failure(status, &failure)
	var e *Error
	if errors.As(err, &e) {
		switch {
		case e.Status == StatusCancelled && ctx.Err() == nil && h.closing.Load():
			return 0, closed()
		case e.Detail == int(syscall.EEXIST):
			e.cause = fs.ErrExist
		}
	}
	return int64(head), err
}

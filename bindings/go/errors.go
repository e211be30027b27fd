package dcb

// #include "library.h"
import "C"

import (
	"errors"
	"syscall"
)

// ErrAppendConditionFailed is the outcome of an append whose condition is not met: another append
// came first. Read again, decide again, append again; [CommandHandler] does.
var ErrAppendConditionFailed = errors.New("dcb: append condition failed — conflicting events found")

// The other kinds of failure, for [errors.Is]. Only after [ErrIO], [ErrUnavailable] and
// [ErrInternal] is the outcome of an append unknown: append again with the same ids. After every
// other error nothing was stored.
var (
	// ErrDuplicateID: an event id is stored already, and the append is not a repetition of that one.
	ErrDuplicateID = errors.New("dcb: duplicate event id")
	// ErrInvalidArgument: the request breaks a rule; the message names the place.
	ErrInvalidArgument = errors.New("dcb: invalid argument")
	// ErrTooLarge: a documented limit is passed; the message names it and the place.
	ErrTooLarge = errors.New("dcb: too large")
	// ErrBusy: a lock was not had in time.
	ErrBusy = errors.New("dcb: busy")
	// ErrTimeout: the call's time was up.
	ErrTimeout = errors.New("dcb: timeout")
	// ErrCancelled: the call was cancelled.
	ErrCancelled = errors.New("dcb: cancelled")
	// ErrReadOnly: the store, or its file, is not to be written.
	ErrReadOnly = errors.New("dcb: read-only")
	// ErrFull: the disk, or the quota, is full.
	ErrFull = errors.New("dcb: full")
	// ErrIO: the system failed to read or write; the store may have to be opened again.
	ErrIO = errors.New("dcb: input/output error")
	// ErrCorrupt: the file is damaged.
	ErrCorrupt = errors.New("dcb: corrupt")
	// ErrUnsupportedFormat: the file is no event store, or one of a newer format.
	ErrUnsupportedFormat = errors.New("dcb: unsupported format")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("dcb: closed")
	// ErrUnavailable: the store cannot be reached.
	ErrUnavailable = errors.New("dcb: unavailable")
	// ErrInternal: a defect of the library.
	ErrInternal = errors.New("dcb: internal error")
	// ErrNoMemory: there was not enough memory.
	ErrNoMemory = errors.New("dcb: no memory")
)

// Status is the kind of an [Error], as the library numbers them.
type Status int32

// The statuses of the library. They are only ever added to.
const (
	StatusOK                Status = C.DCB_OK
	StatusConditionFailed   Status = C.DCB_CONDITION_FAILED
	StatusDuplicateID       Status = C.DCB_DUPLICATE_ID
	StatusInvalidArgument   Status = C.DCB_INVALID_ARGUMENT
	StatusTooLarge          Status = C.DCB_TOO_LARGE
	StatusBusy              Status = C.DCB_BUSY
	StatusTimeout           Status = C.DCB_TIMEOUT
	StatusCancelled         Status = C.DCB_CANCELLED
	StatusReadOnly          Status = C.DCB_READ_ONLY
	StatusFull              Status = C.DCB_FULL
	StatusIO                Status = C.DCB_IO
	StatusCorrupt           Status = C.DCB_CORRUPT
	StatusUnsupportedFormat Status = C.DCB_UNSUPPORTED_FORMAT
	StatusClosed            Status = C.DCB_CLOSED
	StatusUnavailable       Status = C.DCB_UNAVAILABLE
	StatusInternal          Status = C.DCB_INTERNAL
	StatusNoMemory          Status = C.DCB_NO_MEMORY
)

var sentinels = [...]error{
	StatusConditionFailed:   ErrAppendConditionFailed,
	StatusDuplicateID:       ErrDuplicateID,
	StatusInvalidArgument:   ErrInvalidArgument,
	StatusTooLarge:          ErrTooLarge,
	StatusBusy:              ErrBusy,
	StatusTimeout:           ErrTimeout,
	StatusCancelled:         ErrCancelled,
	StatusReadOnly:          ErrReadOnly,
	StatusFull:              ErrFull,
	StatusIO:                ErrIO,
	StatusCorrupt:           ErrCorrupt,
	StatusUnsupportedFormat: ErrUnsupportedFormat,
	StatusClosed:            ErrClosed,
	StatusUnavailable:       ErrUnavailable,
	StatusInternal:          ErrInternal,
	StatusNoMemory:          ErrNoMemory,
}

// String returns the status's name, such as "condition_failed".
func (s Status) String() string {
	return C.GoString(C.dcb_status_name(C.dcb_status(s)))
}

// Error is a failure that the library reports. Get it with [errors.As]; test its kind with
// [errors.Is] and the package's Err variables.
type Error struct {
	// Status is the kind of failure, never StatusOK.
	Status Status
	// Detail is SQLite's extended result code or the system's errno, else 0.
	Detail int
	// Position is the one that a failed condition (the lowest that makes it fail) or a
	// duplicate id names, else 0.
	Position int64
	// Message says what was wrong, where, and what to do.
	Message string

	// cause is the context's error where that ended the call, or an encoder's.
	cause error
}

// Error returns the status's name and the message.
func (e *Error) Error() string {
	return "dcb: " + e.Status.String() + ": " + e.Message
}

// Unwrap returns the package's error of the status, and the error that caused this one: the context's
// if it ended the call, the driver's if a statement failed, the encoder's if Data could not be encoded,
// or the system's if a file does not exist or permission is denied, so that [errors.Is] finds
// [io/fs.ErrNotExist] or [io/fs.ErrPermission].
func (e *Error) Unwrap() []error {
	var all []error
	if s := int(e.Status); s > 0 && s < len(sentinels) {
		all = append(all, sentinels[s])
	}
	if e.cause != nil {
		all = append(all, e.cause)
	}
	// With this status, SQLite has no code that equals one of these numbers.
	switch errno := syscall.Errno(e.Detail); {
	case e.Status != StatusIO:
	case errno == syscall.ENOENT, errno == syscall.EACCES, errno == syscall.EPERM:
		all = append(all, errno)
	}
	return all
}

func invalid(message string) error {
	return &Error{Status: StatusInvalidArgument, Message: message}
}

func closed() error {
	return &Error{Status: StatusClosed, Message: "the store is closed"}
}

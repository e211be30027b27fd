package dcb

// #include "library.h"
import "C"

import (
	"errors"
	"syscall"
)

// ErrAppendConditionFailed is returned when an event matches the query of an append condition at a position
// above its After: another append came first. Read again, decide again and append again, as
// [CommandHandler] does.
var ErrAppendConditionFailed = errors.New("dcb: append condition failed — conflicting events found")

// These errors are the other kinds of failure, for [errors.Is].
//
// The outcome of an append is unknown only after [ErrIO], [ErrUnavailable] and [ErrInternal]: append again
// with the same IDs. After any other error, nothing was stored.
var (
	// ErrDuplicateID is returned when an event ID is stored already and the append does not repeat the
	// one that stored it.
	ErrDuplicateID = errors.New("dcb: duplicate event id")
	// ErrInvalidArgument is returned when a request breaks a rule. The message names the place.
	ErrInvalidArgument = errors.New("dcb: invalid argument")
	// ErrTooLarge is returned when a request exceeds a documented limit. The message names the limit
	// and the place.
	ErrTooLarge = errors.New("dcb: too large")
	// ErrBusy is returned when a lock could not be acquired, or no connection of a pool was free, before
	// the deadline.
	ErrBusy = errors.New("dcb: busy")
	// ErrTimeout is the error of a wait of the library that ended before an event came. [Store.Wait]
	// returns the context's error instead.
	ErrTimeout = errors.New("dcb: timeout")
	// ErrCancelled is returned when the context of a call was cancelled.
	ErrCancelled = errors.New("dcb: cancelled")
	// ErrReadOnly is returned when the store was opened read-only, or its file cannot be written.
	ErrReadOnly = errors.New("dcb: read-only")
	// ErrFull is returned when the disk or a quota is full.
	ErrFull = errors.New("dcb: full")
	// ErrIO is returned when the system failed to read or write. The store may have to be reopened.
	ErrIO = errors.New("dcb: input/output error")
	// ErrCorrupt is returned when the file is damaged.
	ErrCorrupt = errors.New("dcb: corrupt")
	// ErrHistoryRewound is returned by a subscription that has seen a position which the store does not
	// have: its head is lower. This happens when the store was restored from an older backup, or
	// replaced. The events at lower positions may differ from those that were seen. It is also an
	// [ErrCorrupt], and the Position of the [Error] is the head. Every call of an open [PostgresStore]
	// returns it, with the Position 0, once the server lacks the newest event that the store has seen, or
	// has another one there: close the store, and open it again.
	ErrHistoryRewound = errors.New("dcb: history rewound")
	// ErrUnsupportedFormat is returned when the file is not an event store, or has a newer format.
	ErrUnsupportedFormat = errors.New("dcb: unsupported format")
	// ErrClosed is returned when the store is closed.
	ErrClosed = errors.New("dcb: closed")
	// ErrUnavailable is returned when the store cannot be reached.
	ErrUnavailable = errors.New("dcb: unavailable")
	// ErrInternal is returned when the library has a defect, or is not the one that the program was
	// built for.
	ErrInternal = errors.New("dcb: internal error")
	// ErrNoMemory is returned when there was not enough memory.
	ErrNoMemory = errors.New("dcb: no memory")
)

// Status is the kind of an [Error], by the library's number.
type Status int32

// These are the statuses of the library. Later versions may add to them, and never change a number.
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

// String returns the name of the status, such as "condition_failed".
func (s Status) String() string {
	return C.GoString(C.dcb_status_name(C.dcb_status(s)))
}

// Error is a failure that the library reports. Obtain it with [errors.As], and test its kind with [errors.Is]
// and the errors of this package.
type Error struct {
	// Status is the kind of failure. It is never StatusOK.
	Status Status
	// Detail is SQLite's extended result code, the error number of the system, or PostgreSQL's SQLSTATE as a
	// number with the base 36, if one of them is the cause; otherwise 0.
	Detail int
	// Position is that of a stored event: for a failed condition, the first event that makes it fail; for
	// a duplicate ID, the event that has the ID. Otherwise it is 0.
	Position int64
	// Condition is the index of the first condition of the append that fails, if Status is
	// StatusConditionFailed; otherwise it is 0.
	Condition int
	// Message says what is wrong, where, and what to do about it.
	Message string

	// cause is the error that caused this one, or nil.
	cause error
}

// Error returns the name of the status and the message.
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

// invalid returns an [ErrInvalidArgument] with this message.
func invalid(message string) error {
	return &Error{Status: StatusInvalidArgument, Message: message}
}

func closed() error {
	return &Error{Status: StatusClosed, Message: "the store is closed"}
}

package dcb

import (
	"encoding/json"
	"time"
)

// ReadOption says which part of the matching events a read is to give, and in which order.
type ReadOption func(*readOptions)

type readOptions struct {
	after     int64
	before    *int64
	limit     *int64
	backwards bool
}

func newReadOptions(opts []ReadOption) readOptions {
	var options readOptions
	for _, opt := range opts {
		opt(&options)
	}
	return options
}

// FromPosition gives only events above this position (exclusive). 0 and -1 are the start.
func FromPosition(pos int64) ReadOption {
	return func(o *readOptions) { o.after = pos }
}

// Before gives only events below this position (exclusive).
func Before(pos int64) ReadOption {
	return func(o *readOptions) { o.before = &pos }
}

// Limit gives at most n events.
func Limit(n int) ReadOption {
	return func(o *readOptions) {
		limit := int64(n) // one for each read, which may count it down
		o.limit = &limit
	}
}

// Backwards gives the newest events first.
func Backwards() ReadOption {
	return func(o *readOptions) { o.backwards = true }
}

// Option is a choice about a store that [Open] opens.
type Option func(*options)

type options struct {
	readOnly, immutable, mustExist, adopt bool
	busyTimeout                           time.Duration

	registry  *Registry
	useNumber bool
	observer  Observer
}

func newOptions(opts []Option) *options {
	o := &options{busyTimeout: 5 * time.Second}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// document returns the options as the library takes them, and the busy timeout among them.
func (o *options) document() (document string, busyTimeoutMS int64, err error) {
	busyTimeoutMS = milliseconds(o.busyTimeout)
	b, err := json.Marshal(struct {
		ReadOnly      bool  `json:"read_only"`
		Immutable     bool  `json:"immutable"`
		Create        bool  `json:"create"`
		Adopt         bool  `json:"adopt"`
		BusyTimeoutMS int64 `json:"busy_timeout_ms"`
	}{o.readOnly, o.immutable, !o.mustExist, o.adopt, busyTimeoutMS})
	return string(b), busyTimeoutMS, err
}

// ReadOnly refuses appends, and writes nothing to the database; where the log and its index are
// missing beside it, they are made. It is for files: a store in memory would stay empty, and is
// refused.
func ReadOnly() Option {
	return func(o *options) { o.readOnly = true }
}

// Immutable is ReadOnly where the caller vouches that nobody writes the file while it is open.
// A file in a place where nothing can be written needs it. It is refused where there is a log (-wal)
// that is not empty, or a journal, beside the file: it would be passed over.
func Immutable() Option {
	return func(o *options) { o.immutable = true }
}

// MustExist refuses to create the file.
func MustExist() Option {
	return func(o *options) { o.mustExist = true }
}

// Adopt takes a store into a database that holds other tables already.
func Adopt() Option {
	return func(o *options) { o.adopt = true }
}

// BusyTimeout is how long a call waits for a lock where its context has no deadline: 5 seconds by
// default, without end below 0.
func BusyTimeout(d time.Duration) Option {
	return func(o *options) { o.busyTimeout = d }
}

// WithRegistry decodes the events whose types the registry knows into their Go types.
func WithRegistry(registry *Registry) Option {
	return func(o *options) { o.registry = registry }
}

// UseNumber decodes the numbers in generic Data and Metadata as [json.Number], which keeps the
// digits that a float64 would lose.
func UseNumber() Option {
	return func(o *options) { o.useNumber = true }
}

// WithObserver tells the observer what the store does.
func WithObserver(observer Observer) Option {
	return func(o *options) { o.observer = observer }
}

// milliseconds rounds up, so that a short wait does not become no wait. Below 0: without end.
func milliseconds(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	ms := d / time.Millisecond
	if d%time.Millisecond > 0 {
		ms++
	}
	return int64(ms)
}

package dcb

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"
)

// ReadOption selects which of the matching events a read returns, and in which order.
type ReadOption func(*readOptions)

type readOptions struct {
	after     int64
	before    *int64
	limit     *int64
	backwards bool
}

func newReadOptions(opts []ReadOption) readOptions {
	if len(opts) == 0 {
		return readOptions{}
	}
	options := new(readOptions) // which the functions make escape
	for _, opt := range opts {
		opt(options)
	}
	return *options
}

// FromPosition restricts a read to events above this position. 0 and -1 mean the start.
func FromPosition(pos int64) ReadOption {
	return func(o *readOptions) { o.after = pos }
}

// Before restricts a read to events below this position.
func Before(pos int64) ReadOption {
	return func(o *readOptions) { o.before = &pos }
}

// Limit restricts a read to n events.
func Limit(n int) ReadOption {
	return func(o *readOptions) {
		limit := int64(n) // each read has its own, since it may count down
		o.limit = &limit
	}
}

// Backwards makes a read return the newest events first.
func Backwards() ReadOption {
	return func(o *readOptions) { o.backwards = true }
}

// Option configures a store that [Open] or [OpenDB] opens.
type Option func(*options)

type options struct {
	readOnly, immutable, mustExist, adopt, imports bool
	busyTimeout                                    time.Duration
	maxReaders, poolSize                           *int
	schema                                         string
	allowFsyncOff                                  bool
	cacheBytes                                     *int64
	txDB                                           *sql.DB

	registry  *Registry
	useNumber bool
	observer  Observer
	metadata  func(context.Context) map[string]any
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
		ReadOnly      bool   `json:"read_only"`
		Immutable     bool   `json:"immutable"`
		Create        bool   `json:"create"`
		Adopt         bool   `json:"adopt"`
		Import        bool   `json:"import,omitempty"`
		BusyTimeoutMS int64  `json:"busy_timeout_ms"`
		MaxReaders    *int   `json:"max_readers,omitempty"`
		CacheBytes    *int64 `json:"cache_bytes,omitempty"`
		Schema        string `json:"schema,omitempty"`
		PoolSize      *int   `json:"pool_size,omitempty"`
		AllowFsyncOff bool   `json:"allow_fsync_off,omitempty"`
	}{o.readOnly, o.immutable, !o.mustExist, o.adopt, o.imports, busyTimeoutMS, o.maxReaders, o.cacheBytes, o.schema, o.poolSize,
		o.allowFsyncOff})
	return string(b), busyTimeoutMS, err
}

// ReadOnly opens a store that rejects appends and writes nothing to the database. If the write-ahead log and
// its index are missing beside the file, SQLite creates them. ReadOnly is an error for a store in memory,
// which would stay empty.
func ReadOnly() Option {
	return func(o *options) { o.readOnly = true }
}

// Immutable is like [ReadOnly]; with it the caller also guarantees that nobody writes the file while it is
// open. It is needed where nothing can be written beside the file. It is an error if a write-ahead log
// (-wal) that is not empty, or a rollback journal, lies beside the file, since what is in there would not
// be read.
func Immutable() Option {
	return func(o *options) { o.immutable = true }
}

// MustExist makes it an error if the file does not exist. [errors.Is] then finds [io/fs.ErrNotExist]. In
// PostgreSQL, it makes it an error if the schema holds no store.
func MustExist() Option {
	return func(o *options) { o.mustExist = true }
}

// Adopt creates the store even in a database that has other tables.
func Adopt() Option {
	return func(o *options) { o.adopt = true }
}

// Import opens a store that keeps the [Event.Timestamp] of events that are appended with one. Without it,
// such an append is an error. It is for copies of other stores.
func Import() Option {
	return func(o *options) { o.imports = true }
}

// BusyTimeout sets how long a call waits for a lock if its context has no deadline. The default is 5 seconds,
// and a negative duration means no limit.
func BusyTimeout(d time.Duration) Option {
	return func(o *options) { o.busyTimeout = d }
}

// MaxReaders sets how many connections the store opens for reading at most, from 1 to 1000. So many reads run
// at a time, and others wait for one of them as for a lock; [Store.Backup] opens one more. The default is 8.
// A program with many open stores bounds its file descriptors and its memory with it. MaxReaders is an error
// for a store in memory and for [OpenDB], which uses the connections of the program.
func MaxReaders(n int) Option {
	return func(o *options) { o.maxReaders = &n }
}

// CacheBytes sets how many bytes of events that were read the store keeps in memory at most, so that what is
// read again comes from there; 0 keeps none. The default is 64 MiB. CacheBytes is an error for a store in
// memory and for [OpenDB].
func CacheBytes(n int64) Option {
	return func(o *options) { o.cacheBytes = &n }
}

// Schema names the schema of a PostgreSQL database that the store is in. The default is "dcb". A name has lower
// case letters, digits and underscores.
func Schema(name string) Option {
	return func(o *options) { o.schema = name }
}

// PoolSize sets how many connections a store in PostgreSQL opens for reading at most, from 1 to 1000. The default
// is 4. It opens one more for appends, and one for waits and subscriptions.
func PoolSize(n int) Option {
	return func(o *options) { o.poolSize = &n }
}

// AllowFsyncOff opens a store on a PostgreSQL server that runs with fsync = off, for tests only: a crash of the
// server's machine loses events there.
func AllowFsyncOff() Option {
	return func(o *options) { o.allowFsyncOff = true }
}

// WithRegistry decodes the data of the event types in the registry into their Go types.
func WithRegistry(registry *Registry) Option {
	return func(o *options) { o.registry = registry }
}

// UseNumber decodes numbers as [json.Number] where Data and Metadata have no Go type of a [Registry]. It
// keeps digits that a float64 would lose.
func UseNumber() Option {
	return func(o *options) { o.useNumber = true }
}

// WithObserver reports the operations of the store to the observer.
func WithObserver(observer Observer) Option {
	return func(o *options) { o.observer = observer }
}

// milliseconds rounds up, so that a short wait does not become none. It returns -1, no limit, for a negative
// duration.
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

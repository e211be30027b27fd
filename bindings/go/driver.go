package dcb

// #include <dcb.h>
import "C"

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"runtime/cgo"
	"strings"
	"time"
	"unsafe"
)

// host lends the connections of a *sql.DB to the library, which runs its statements on them.
type host struct {
	db   *sql.DB
	self cgo.Handle
}

// hostCall is one call of the library on a store over a *sql.DB.
type hostCall struct {
	ctx context.Context
	// err is the last failure of the driver's, or of database/sql's.
	err error
}

// hostConn is a connection, or a transaction of the caller's, while the library uses it.
type hostConn struct {
	call *hostCall
	// ctx does not end: what has begun is brought to its end.
	ctx     context.Context
	queries queries
	conn    *sql.Conn // nil: a transaction of the caller's
	// broken: a driver that panicked left the connection in no known state.
	broken bool

	// open are the queries that are not at their end, each begun amid the rows of the one before.
	open []*hostRows
	// packed is what the library was last given; it is pinned until it asks again.
	packed []byte
	pinner runtime.Pinner
}

// hostRows are the rows of a query.
type hostRows struct {
	rows *sql.Rows
	// columns take what a row has in each.
	columns []any
	// chunk is how many are packed next.
	chunk int
}

type queries interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// SQLite's result codes that the library knows, and what stands for none.
const (
	codeBusy      = 5
	codeInterrupt = 9
	codeMisuse    = 21
	codeNone      = -1
)

// Rows that are packed for one call of the library: few at first, which is mostly all.
const (
	firstChunk = 16
	maxChunk   = 256
	chunkBytes = 256 << 10
)

func newHostConn(call *hostCall, queries queries, conn *sql.Conn) *hostConn {
	return &hostConn{call: call, ctx: context.WithoutCancel(call.ctx), queries: queries, conn: conn}
}

//export dcbGoAcquire
func dcbGoAcquire(h, own C.uintptr_t, timeoutMS C.int64_t, connection *C.uintptr_t, reply *C.dcb_reply) (code C.int32_t) {
	call := cgo.Handle(own).Value().(*hostCall)
	defer contain(call, reply, &code)
	ctx := call.ctx
	if timeoutMS >= 0 {
		// Not at all would be never: the pool does not look for a context that is over.
		limit := time.Duration(max(1, min(int64(timeoutMS), int64(24*time.Hour/time.Millisecond)))) * time.Millisecond
		bounded, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		ctx = bounded
	}
	conn, err := cgo.Handle(h).Value().(*host).db.Conn(ctx)
	switch {
	case err == nil:
		*connection = C.uintptr_t(cgo.NewHandle(newHostConn(call, conn, conn)))
		return 0
	case call.ctx.Err() == context.Canceled:
		return refuse(reply, codeInterrupt, "the call was cancelled")
	case ctx.Err() != nil:
		return refuse(reply, codeBusy, "no connection of the pool was free in the time given")
	}
	return fail(call, reply, err)
}

//export dcbGoRelease
func dcbGoRelease(connection C.uintptr_t, spoiled C.int32_t) {
	handle := cgo.Handle(connection)
	c := handle.Value().(*hostConn)
	handle.Delete()
	c.dropAll()
	if c.broken {
		// database/sql may wait for ever for a connection in whose driver a query has panicked.
		go c.discard()
		return
	}
	defer func() { _ = recover() }() // there is nobody to tell
	if spoiled != 0 {
		c.discard()
	}
	_ = c.conn.Close()
}

// discard has the pool close the connection: it does with one that is said to be bad.
func (c *hostConn) discard() {
	defer func() { _ = recover() }()
	_ = c.conn.Raw(func(any) error { return driver.ErrBadConn })
}

// waitsForLock tells the statements that the library runs again where a lock was not to be had.
func waitsForLock(statement string) bool {
	return statement == "COMMIT" || strings.HasPrefix(statement, "BEGIN") ||
		strings.HasPrefix(statement, "UPDATE dcb_meta")
}

//export dcbGoRun
func dcbGoRun(connection C.uintptr_t, text C.dcb_str, values *C.dcb_value, length C.size_t, reply *C.dcb_reply) (code C.int32_t) {
	c := cgo.Handle(connection).Value().(*hostConn)
	defer c.contain(reply, &code)
	statement := stringOf(text)
	result, err := c.queries.ExecContext(c.ctx, statement, arguments(values, length)...)
	switch {
	case err == nil && waitsForLock(statement):
		// What was in the way of it is no cause of what comes after.
		c.call.err = nil
	case err == nil:
	case c.conn == nil && statement == "BEGIN" && !errors.Is(err, sql.ErrTxDone):
		// By this the library sees that the caller's transaction is still there.
		return refuse(reply, codeOf(err), err.Error())
	default:
		return fail(c.call, reply, err)
	}
	changes, err := result.RowsAffected()
	if err != nil {
		return fail(c.call, reply, err)
	}
	reply.changes = C.int64_t(changes)
	return 0
}

//export dcbGoQuery
func dcbGoQuery(connection C.uintptr_t, text C.dcb_str, values *C.dcb_value, length C.size_t, reply *C.dcb_reply) (code C.int32_t) {
	c := cgo.Handle(connection).Value().(*hostConn)
	defer c.contain(reply, &code)
	rows, err := c.queries.QueryContext(c.ctx, stringOf(text), arguments(values, length)...)
	if err != nil {
		return fail(c.call, reply, err)
	}
	query := &hostRows{rows: rows, chunk: firstChunk}
	c.open = append(c.open, query)
	names, err := rows.Columns()
	if err != nil {
		c.finish()
		return fail(c.call, reply, err)
	}
	query.columns = make([]any, len(names))
	for i := range names {
		query.columns[i] = (*packer)(c)
	}
	return c.next(reply)
}

//export dcbGoMore
func dcbGoMore(connection C.uintptr_t, reply *C.dcb_reply) (code C.int32_t) {
	c := cgo.Handle(connection).Value().(*hostConn)
	defer c.contain(reply, &code)
	return c.next(reply)
}

//export dcbGoFinish
func dcbGoFinish(connection C.uintptr_t) {
	c := cgo.Handle(connection).Value().(*hostConn)
	defer func() { c.broken = recover() != nil || c.broken }()
	c.finish()
}

// next packs the next rows of the last query.
func (c *hostConn) next(reply *C.dcb_reply) C.int32_t {
	c.pinner.Unpin()
	c.packed = c.packed[:0]
	query := c.open[len(c.open)-1]
	for n := 0; n < query.chunk && len(c.packed) < chunkBytes; n++ {
		if !query.rows.Next() {
			err := query.rows.Err()
			c.finish()
			if err != nil {
				return fail(c.call, reply, err)
			}
			c.give(reply)
			return 0
		}
		c.packed = binary.LittleEndian.AppendUint16(c.packed, uint16(len(query.columns)))
		if err := query.rows.Scan(query.columns...); err != nil {
			c.finish()
			return fail(c.call, reply, err)
		}
	}
	query.chunk = min(query.chunk*4, maxChunk)
	c.give(reply)
	reply.is_more = 1
	return 0
}

func (c *hostConn) give(reply *C.dcb_reply) {
	if len(c.packed) > 0 {
		c.pinner.Pin(&c.packed[0])
		reply.rows = C.dcb_str{data: characters(c.packed), len: C.size_t(len(c.packed))}
	}
}

// finish ends the last query.
func (c *hostConn) finish() {
	last := len(c.open) - 1
	query := c.open[last]
	c.open = c.open[:last]
	_ = query.rows.Close() // what was wrong with them, Err has said
}

// drop ends all queries.
func (c *hostConn) drop() {
	c.pinner.Unpin()
	for len(c.open) > 0 {
		c.finish()
	}
}

// dropAll is drop where the driver may panic.
func (c *hostConn) dropAll() {
	defer func() { c.broken = recover() != nil || c.broken }()
	c.drop()
}

// packer takes the columns of a row as the driver gives them, one after the other.
type packer hostConn

// Scan appends a column to what is packed.
func (p *packer) Scan(value any) error {
	switch v := value.(type) {
	case nil:
		p.packed = append(p.packed, C.DCB_VALUE_NULL)
	case int64:
		p.packed = binary.LittleEndian.AppendUint64(append(p.packed, C.DCB_VALUE_INTEGER), uint64(v))
	case string:
		p.packed = append(binary.LittleEndian.AppendUint32(append(p.packed, C.DCB_VALUE_TEXT), uint32(len(v))), v...)
	case []byte:
		p.packed = append(binary.LittleEndian.AppendUint32(append(p.packed, C.DCB_VALUE_BLOB), uint32(len(v))), v...)
	default:
		return fmt.Errorf("the driver gives a %T, which is no value of SQLite's", value)
	}
	return nil
}

// arguments copies what is bound: a driver, or what is wrapped around it, may keep it.
func arguments(values *C.dcb_value, length C.size_t) []any {
	arguments := make([]any, length)
	for i, value := range unsafe.Slice(values, length) {
		switch value.kind {
		case C.DCB_VALUE_INTEGER:
			arguments[i] = int64(value.integer)
		case C.DCB_VALUE_TEXT:
			arguments[i] = stringOf(value.bytes)
		case C.DCB_VALUE_BLOB:
			arguments[i] = append([]byte{}, bytesOf(value.bytes)...)
		}
	}
	return arguments
}

func stringOf(view C.dcb_str) string {
	return string(bytesOf(view))
}

// contain makes a panic of the driver's a failure: it must not pass through the library.
func contain(call *hostCall, reply *C.dcb_reply, code *C.int32_t) {
	if p := recover(); p != nil {
		*code = fail(call, reply, fmt.Errorf("the driver panicked: %v", p))
	}
}

func (c *hostConn) contain(reply *C.dcb_reply, code *C.int32_t) {
	if p := recover(); p != nil {
		c.broken = true
		*code = fail(c.call, reply, fmt.Errorf("the driver panicked: %v", p))
	}
}

// fail tells the library of an error, and keeps it for the caller.
func fail(call *hostCall, reply *C.dcb_reply, err error) C.int32_t {
	call.err = err
	return refuse(reply, codeOf(err), err.Error())
}

func refuse(reply *C.dcb_reply, code C.int32_t, message string) C.int32_t {
	room := unsafe.Slice((*byte)(unsafe.Pointer(&reply.message[0])), len(reply.message)-1)
	copy(room, message)
	return code
}

// codeOf is SQLite's extended result code, of whichever driver the error is.
func codeOf(err error) C.int32_t {
	if errors.Is(err, sql.ErrTxDone) {
		return codeMisuse
	}
	var coded interface{ Code() int } // modernc.org/sqlite
	if errors.As(err, &coded) && coded.Code() > 0 {
		return C.int32_t(coded.Code())
	}
	for ; err != nil; err = errors.Unwrap(err) {
		value := reflect.Indirect(reflect.ValueOf(err))
		if value.Kind() != reflect.Struct {
			continue
		}
		// github.com/mattn/go-sqlite3
		if code := value.FieldByName("ExtendedCode"); code.IsValid() && code.CanInt() && code.Int() > 0 {
			return C.int32_t(code.Int())
		}
	}
	return codeNone
}

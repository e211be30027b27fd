package dcb

// #include "library.h"
// #include <dcb_host.h>
import "C"

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"runtime/cgo"
	"sync/atomic"
	"time"
	"unsafe"
)

// The functions of a dcb_host, by which the library runs its statements through database/sql.

// host lends the connections of a *sql.DB to the library.
type host struct {
	db   *sql.DB
	self cgo.Handle
	gate gate
	// failed is the last error of the driver in an append.
	failed atomic.Pointer[error]
	// path holds the packed rows of pathStatement, which are the same on all connections of db, once the
	// library has run it while it opened the store.
	path []byte
}

// pathStatement is the statement by which the library asks which database a connection is on. SQLite needs as
// long for it as for the rest of an append in a transaction. If the library ever asks in another way, it only
// takes that time.
const pathStatement = "SELECT file FROM pragma_database_list WHERE name = 'main'"

// isOfPool reports whether the transaction was begun on db. If it cannot tell, it is not.
func (h *host) isOfPool(tx *sql.Tx) bool {
	db := reflect.ValueOf(tx).Elem().FieldByName("db")
	return db.Kind() == reflect.Pointer && db.UnsafePointer() == unsafe.Pointer(h.db)
}

// hostConn is a connection, or a transaction of the caller's, while the library uses it.
type hostConn struct {
	call *hostCall
	// ctx is the call's context, but never ends: the library finishes what it has begun.
	ctx  context.Context
	on   executor
	conn *sql.Conn // nil for a transaction of the caller's
	// path is what the host has; nil if the connection may be on another database.
	path []byte
	// broken is set after the driver panicked, which leaves the connection in an unknown state.
	broken bool

	// queries holds the queries whose rows are not all read. Each began while the rows of the one
	// before it were being read.
	queries []*hostRows
	// packed holds the rows last given to the library. It is pinned until the next callback.
	packed []byte
	pinner runtime.Pinner
}

// hostRows reads the rows of a query.
type hostRows struct {
	rows *sql.Rows
	// columns is what a row is scanned into.
	columns []any
	// chunk is how many rows are packed next.
	chunk int
}

// executor is a *sql.Conn or a *sql.Tx.
type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// SQLite's result codes that the package returns itself. codeNone stands for an error without one.
const (
	codeBusy      = 5
	codeInterrupt = 9
	codeMisuse    = 21
	codeNone      = -1
	// codeExited is what a callback returns as long as it has not returned.
	codeExited = -2
)

// The rows that are packed for one callback: few at first, since most queries have no more.
const (
	firstChunk = 16
	maxChunk   = 256
	chunkBytes = 256 << 10
)

func newHostConn(call *hostCall, on executor, conn *sql.Conn) *hostConn {
	return &hostConn{call: call, ctx: context.WithoutCancel(call.ctx), on: on, conn: conn}
}

//export dcbGoAcquire
func dcbGoAcquire(h, token C.uintptr_t, timeoutMS C.int64_t, connection *C.uintptr_t, reply *C.dcb_reply) (code C.int32_t) {
	call := cgo.Handle(token).Value().(*hostCall)
	code = codeExited
	defer contain(call, reply, &code)
	ctx := call.ctx
	if timeoutMS >= 0 {
		// At least 1 ms: database/sql returns no connection, not even a free one, once the context is over.
		limit := time.Duration(max(1, min(int64(timeoutMS), int64(24*time.Hour/time.Millisecond)))) * time.Millisecond
		bounded, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		ctx = bounded
	}
	host := cgo.Handle(h).Value().(*host)
	conn, err := host.db.Conn(ctx)
	switch {
	case err == nil:
		*connection = C.uintptr_t(cgo.NewHandle(newHostConn(call, conn, conn)))
		return 0
	case call.ctx.Err() == context.Canceled:
		return refuse(reply, codeInterrupt, "the call was cancelled")
	case ctx.Err() != nil:
		return refuse(reply, codeBusy, "timed out waiting for a free connection of the pool")
	}
	return fail(call, reply, err)
}

//export dcbGoRelease
func dcbGoRelease(connection C.uintptr_t, spoiled C.int32_t) {
	handle := cgo.Handle(connection)
	c := handle.Value().(*hostConn)
	handle.Delete()
	c.closeRowsSafely()
	if c.broken {
		// database/sql may wait forever for a connection whose driver panicked in a query.
		go c.discard()
		return
	}
	containIn(func() { // there is nobody to report it to
		if spoiled != 0 {
			c.discard()
		}
		_ = c.conn.Close()
	})
}

// discard makes the pool close the connection, as it does with one that is reported to be bad.
func (c *hostConn) discard() {
	defer func() { _ = recover() }()
	_ = c.conn.Raw(func(any) error { return driver.ErrBadConn })
}

//export dcbGoRun
func dcbGoRun(connection C.uintptr_t, text C.dcb_str, values *C.dcb_value, length C.size_t, reply *C.dcb_reply) (code C.int32_t) {
	c := cgo.Handle(connection).Value().(*hostConn)
	code = codeExited
	defer c.contain(reply, &code)
	statement := stringOf(text)
	result, err := c.on.ExecContext(c.ctx, statement, arguments(values, length)...)
	switch {
	case err == nil:
	case c.conn == nil && statement == "BEGIN" && !errors.Is(err, sql.ErrTxDone):
		// The library runs a BEGIN that has to fail, to see that the caller's transaction is open.
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
	code = codeExited
	defer c.contain(reply, &code)
	statement := stringOf(text)
	if c.path != nil && statement == pathStatement && c.call.ctx.Err() == nil {
		c.pinner.Unpin()
		c.packed = append(c.packed[:0], c.path...)
		c.give(reply)
		return 0
	}
	rows, err := c.on.QueryContext(c.ctx, statement, arguments(values, length)...)
	if err != nil {
		return fail(c.call, reply, err)
	}
	query := &hostRows{rows: rows, chunk: firstChunk}
	c.queries = append(c.queries, query)
	names, err := rows.Columns()
	if err != nil {
		c.finish()
		return fail(c.call, reply, err)
	}
	query.columns = make([]any, len(names))
	for i := range names {
		query.columns[i] = (*packer)(c)
	}
	code = c.next(reply)
	if opened := c.call.opens; opened != nil && statement == pathStatement && code == 0 && reply.is_more == 0 {
		opened.path = bytes.Clone(c.packed)
	}
	return code
}

//export dcbGoMore
func dcbGoMore(connection C.uintptr_t, reply *C.dcb_reply) (code C.int32_t) {
	c := cgo.Handle(connection).Value().(*hostConn)
	code = codeExited
	defer c.contain(reply, &code)
	return c.next(reply)
}

//export dcbGoFinish
func dcbGoFinish(connection C.uintptr_t) {
	c := cgo.Handle(connection).Value().(*hostConn)
	c.broken = containIn(c.finish) || c.broken
}

// next packs the next rows of the newest query.
func (c *hostConn) next(reply *C.dcb_reply) C.int32_t {
	c.pinner.Unpin()
	c.packed = c.packed[:0]
	query := c.queries[len(c.queries)-1]
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

// give gives the packed rows to the library.
func (c *hostConn) give(reply *C.dcb_reply) {
	if len(c.packed) > 0 {
		c.pinner.Pin(&c.packed[0])
		reply.rows = C.dcb_str{data: charPointer(c.packed), len: C.size_t(len(c.packed))}
	}
}

// finish ends the newest query.
func (c *hostConn) finish() {
	last := len(c.queries) - 1
	query := c.queries[last]
	c.queries = c.queries[:last]
	_ = query.rows.Close() // an error of the rows was reported by Err
}

// closeRows ends all queries.
func (c *hostConn) closeRows() {
	c.pinner.Unpin()
	for len(c.queries) > 0 {
		c.finish()
	}
}

// closeRowsSafely is closeRows for a driver that may panic.
func (c *hostConn) closeRowsSafely() {
	c.broken = containIn(c.closeRows) || c.broken
}

// packer is the [sql.Scanner] of every column: it packs the values as the driver gives them.
type packer hostConn

// Scan packs a column.
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
		return fmt.Errorf("the driver returned a %T, which is not a SQLite value", value)
	}
	return nil
}

// arguments copies the values that are bound, since a driver, or a wrapper of one, may keep them.
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

// contain turns a panic of the driver into an error: it must not unwind through the library.
func contain(call *hostCall, reply *C.dcb_reply, code *C.int32_t) {
	p := recover()
	expectReturn(p, *code != codeExited)
	if p != nil {
		*code = fail(call, reply, fmt.Errorf("the driver panicked: %v", p))
	}
}

func (c *hostConn) contain(reply *C.dcb_reply, code *C.int32_t) {
	p := recover()
	expectReturn(p, *code != codeExited)
	if p != nil {
		c.broken = true
		*code = fail(c.call, reply, fmt.Errorf("the driver panicked: %v", p))
	}
}

// containIn runs a callback without a result, and reports whether the driver panicked.
func containIn(callback func()) (panicked bool) {
	returned := false
	defer func() {
		p := recover()
		expectReturn(p, returned)
		panicked = p != nil
	}()
	callback()
	returned = true
	return false
}

// expectReturn ends the program, unless it recovers, if a callback has neither panicked nor returned: the driver has
// ended its goroutine. Nothing can stop that, and it unwinds the library, which keeps its locks. Every later call on
// the store, and Close, would wait for them without a word.
func expectReturn(panicked any, returned bool) {
	if panicked == nil && !returned {
		panic("dcb: the driver ended its goroutine (runtime.Goexit, as a test's FailNow does) within a call of the " +
			"library: let it panic or return an error")
	}
}

// fail reports an error to the library, and keeps it for the caller.
func fail(call *hostCall, reply *C.dcb_reply, err error) C.int32_t {
	call.err = err
	if call.shares != nil {
		call.shares.failed.Store(&err)
	}
	return refuse(reply, codeOf(err), err.Error())
}

// refuse reports a failure to the library.
func refuse(reply *C.dcb_reply, code C.int32_t, message string) C.int32_t {
	room := unsafe.Slice((*byte)(unsafe.Pointer(&reply.message[0])), len(reply.message)-1)
	copy(room, message)
	return code
}

// codeOf returns the SQLite extended result code of an error of either driver.
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

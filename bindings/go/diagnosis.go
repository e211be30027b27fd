package dcb

import (
	"context"
	"encoding/json"
	"runtime"
)

// Diagnosis describes a store to a person who looks for the cause of a problem, for a log or for a bug
// report. For a memory store only the first three fields are set, and for a store in PostgreSQL only they,
// ReadOnly, Format, and those from Schema on.
type Diagnosis struct {
	// Version is the version of the library.
	Version string `json:"version"`
	// Store is the kind of store: "memory", "sqlite" or "postgres".
	Store string `json:"store"`
	// Head is the position of the newest event.
	Head int64 `json:"head"`
	// Path is the path of the file with symbolic links resolved. It is empty for a database in memory.
	Path string `json:"path"`
	// ReadOnly reports whether the store rejects appends.
	ReadOnly bool `json:"read_only"`
	// Format is the version of the format of the file or the schema.
	Format int `json:"format"`
	// SQLite is the version of SQLite.
	SQLite string `json:"sqlite"`
	// BundledSQLite reports whether SQLite is the library's own copy. It is false for the system's,
	// and for that of a driver ([NewSQLiteStoreFromDB]).
	BundledSQLite bool `json:"bundled_sqlite"`
	// Locks is the kind of lock that guards the file. It is "open-file-description"; or "process",
	// with which this process must not open the file through another copy of SQLite, such as that of
	// another Go driver; or empty if nothing guards it (a database in memory, or [Immutable]). A store
	// on a driver's connections ([NewSQLiteStoreFromDB]) says "process", and a store that [Open] opens
	// beside it is safe if its own Locks is "open-file-description".
	Locks string `json:"locks"`
	// OtherSQLite reports whether another copy of SQLite in this process has the file open. It is nil
	// if that is unknown.
	OtherSQLite *bool `json:"other_sqlite"`
	// Durable is the position up to which all events are known to be on the disk.
	Durable int64 `json:"durable"`
	// Indexed is the position up to which the index in the file reaches.
	Indexed int64 `json:"indexed"`
	// Segments is the number of segments of that index.
	Segments int `json:"segments"`
	// LogBytes is the size of the write-ahead log, preallocated space included. It is nil if there is
	// no log.
	LogBytes *int64 `json:"log_bytes"`
	// LogHeld reports whether the log has reached its maximum size because a reader in another process
	// holds a snapshot. Appends wait for that reader.
	LogHeld bool `json:"log_held"`
	// Failure says why new events no longer become durable. It is empty if they do.
	Failure string `json:"failure"`
	// Schema is the schema of a store in PostgreSQL.
	Schema string `json:"schema,omitempty"`
	// Revision is the version of the functions in that schema.
	Revision int `json:"revision,omitempty"`
	// Server is the version of the PostgreSQL server.
	Server string `json:"server,omitempty"`
	// Fsync reports whether the PostgreSQL server syncs what it commits. Without that, a crash of its
	// machine loses events.
	Fsync bool `json:"fsync,omitempty"`
	// Standby reports whether the PostgreSQL server that answers reads is a standby.
	Standby bool `json:"standby,omitempty"`
	// LagMilliseconds is how far a standby is behind: the server that answers reads, if it is one, or
	// the slowest of those that follow it. It is nil if there is none, or if the role may not see it.
	LagMilliseconds *int64 `json:"lag_ms,omitempty"`
}

// String returns the diagnosis as one line of JSON.
func (d Diagnosis) String() string {
	document, err := json.Marshal(d)
	if err != nil {
		return err.Error() // no field can fail
	}
	return string(document)
}

// Diagnose returns a description of the store.
func (s *Store) Diagnose(ctx context.Context) (Diagnosis, error) {
	if err := ctx.Err(); err != nil {
		return Diagnosis{}, err
	}
	defer runtime.KeepAlive(s)
	document, err := s.handle().diagnose(ctx)
	if err != nil {
		return Diagnosis{}, err
	}
	var diagnosis Diagnosis
	err = json.Unmarshal(document, &diagnosis)
	return diagnosis, err
}

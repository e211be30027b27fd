package dcb

import (
	"context"
	"encoding/json"
	"runtime"
)

// Diagnosis is what a store tells of itself, for a person who looks for a cause: for a log, or a
// report of a bug. In a memory store only the first three fields are set.
type Diagnosis struct {
	// Version is the library's.
	Version string `json:"version"`
	// Store is "memory" or "sqlite".
	Store string `json:"store"`
	// Head is the position of the newest event.
	Head int64 `json:"head"`
	// Path is that of the file, symbolic links followed; empty: in memory.
	Path string `json:"path"`
	// ReadOnly tells whether appends are refused.
	ReadOnly bool `json:"read_only"`
	// Format is the version of the file's format.
	Format int `json:"format"`
	// SQLite is SQLite's version, and BundledSQLite whether that is the library's own copy, and not
	// the system's or that of the driver ([NewSQLiteStoreFromDB]).
	SQLite        string `json:"sqlite"`
	BundledSQLite bool   `json:"bundled_sqlite"`
	// Locks guard the file: "open-file-description", or "process", with which this process must
	// not have the file open through another copy of SQLite, as other Go drivers are. Empty:
	// nothing does (in memory, or [Immutable]).
	Locks string `json:"locks"`
	// OtherSQLite tells whether another SQLite in this process has the file open; nil: it cannot be
	// told.
	OtherSQLite *bool `json:"other_sqlite"`
	// Durable is the position up to which events are known to be on the disk.
	Durable int64 `json:"durable"`
	// Indexed is the position up to which the index in the file goes, in so many Segments.
	Indexed  int64 `json:"indexed"`
	Segments int   `json:"segments"`
	// LogBytes is the length of the write-ahead log, room ahead included; nil: there is none.
	LogBytes *int64 `json:"log_bytes"`
	// LogHeld tells whether the log is as long as it may become, because of a reader outside of
	// this process: appends wait for it.
	LogHeld bool `json:"log_held"`
	// Failure is why nothing more becomes durable, empty if that is not so.
	Failure string `json:"failure"`
}

// Diagnose describes the store.
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

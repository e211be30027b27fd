package main

import (
	"context"
	"database/sql"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/bindings/go/projector"
	"github.com/libdcb/libdcb/examples/service/courses"
)

// newReadModel returns the projector of the tables course and enrolment, which answer the queries of the API. No
// decision uses them.
func newReadModel(db *sql.DB, dialect projector.Dialect, events *dcb.Store) *projector.Projector {
	return &projector.Projector{
		Name:    "courses",
		Query:   dcb.QueryAll(),
		Store:   events,
		DB:      db,
		Dialect: dialect,
		Handle:  project,
		// After a crash, the next process takes over once it has seen no sign of life for so long.
		Lease: 2 * time.Second,
	}
}

// project applies one event to the tables.
func project(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
	course, student := courses.IDs(event)
	exec := func(query string, args ...any) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}
	switch data := event.Data.(type) {
	case courses.Course:
		return exec("INSERT INTO course (id, title, capacity) VALUES ($1, $2, $3)", course, data.Title, data.Capacity)
	case courses.Capacity:
		return exec("UPDATE course SET capacity = $1 WHERE id = $2", data.Capacity, course)
	}
	enrol, change := "INSERT INTO enrolment (student, course) VALUES ($1, $2)", 1
	if event.Type == courses.Unsubscribed.Name() {
		enrol, change = "DELETE FROM enrolment WHERE student = $1 AND course = $2", -1
	}
	if err := exec(enrol, student, course); err != nil {
		return err
	}
	return exec("UPDATE course SET taken = taken + $1 WHERE id = $2", change, course)
}

// courseRow is a course as the API shows it.
type courseRow struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	Capacity int    `json:"capacity"`
	Taken    int    `json:"taken"`
}

// courseRows returns the courses of a condition, with its arguments.
func (s *store) courseRows(ctx context.Context, condition string, args ...any) ([]courseRow, error) {
	rows, err := s.db.QueryContext(ctx,
		"SELECT id, title, capacity, taken FROM course WHERE "+condition+" ORDER BY id", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := []courseRow{}
	for rows.Next() {
		var row courseRow
		if err := rows.Scan(&row.ID, &row.Title, &row.Capacity, &row.Taken); err != nil {
			return nil, err
		}
		found = append(found, row)
	}
	return found, rows.Err()
}

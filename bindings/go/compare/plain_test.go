package compare

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// plain is an event store as one might write it over database/sql in an afternoon: a table of events, a table of
// tags, and one transaction for each append.
type plain struct {
	db *sql.DB
}

const schema = `
CREATE TABLE events (
	position INTEGER PRIMARY KEY AUTOINCREMENT,
	type TEXT NOT NULL,
	tags TEXT NOT NULL,
	data TEXT NOT NULL,
	timestamp INTEGER NOT NULL
);
CREATE INDEX events_type ON events (type, position);
CREATE TABLE tags (
	tag TEXT NOT NULL,
	position INTEGER NOT NULL,
	PRIMARY KEY (tag, position)
) WITHOUT ROWID;`

// openPlain opens a new store with the driver. The dsn makes transactions immediate and as durable as the
// library's.
func openPlain(driver, dsn string) (*plain, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	if _, err := db.Exec(schema); err != nil {
		db.Close()
		return nil, err
	}
	return &plain{db}, nil
}

func (p *plain) Append(ctx context.Context, events []dcb.Event, conditions ...dcb.AppendCondition) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, condition := range conditions {
		where, args := clause(condition.FailIfEventsMatch)
		row := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM events e WHERE position > ? AND "+where+")",
			append([]any{condition.After}, args...)...)
		var found bool
		if err := row.Scan(&found); err != nil {
			return err
		}
		if found {
			return dcb.ErrAppendConditionFailed
		}
	}
	for _, event := range events {
		data, err := json.Marshal(event.Data)
		if err != nil {
			return err
		}
		texts := make([]string, len(event.Tags))
		for i, tag := range event.Tags {
			texts[i] = tag.String()
		}
		tags, err := json.Marshal(texts)
		if err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, "INSERT INTO events (type, tags, data, timestamp) VALUES (?, ?, ?, ?)",
			event.Type, string(tags), string(data), time.Now().UnixMicro())
		if err != nil {
			return err
		}
		position, err := result.LastInsertId()
		if err != nil {
			return err
		}
		for _, tag := range texts {
			if _, err := tx.ExecContext(ctx, "INSERT INTO tags (tag, position) VALUES (?, ?)", tag, position); err != nil {
				return err
			}
		}
	}
	return tx.Commit()
}

// ReadRaw reads like that of the library and does not decode the payload.
func (p *plain) ReadRaw(ctx context.Context, query dcb.Query, _ ...dcb.ReadOption) ([]dcb.RawEvent, int64, error) {
	where, args := clause(query)
	rows, err := p.db.QueryContext(ctx,
		"SELECT position, type, tags, data, timestamp FROM events e WHERE "+where+" ORDER BY position", args...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var events []dcb.RawEvent
	for rows.Next() {
		var event dcb.RawEvent
		var tags []byte
		var data []byte
		var timestamp int64
		if err := rows.Scan(&event.Position, &event.Type, &tags, &data, &timestamp); err != nil {
			return nil, 0, err
		}
		var texts []string
		if err := json.Unmarshal(tags, &texts); err != nil {
			return nil, 0, err
		}
		for _, text := range texts {
			event.Tags = append(event.Tags, dcb.ParseTag(text))
		}
		event.Data, event.Timestamp = data, time.UnixMicro(timestamp).UTC()
		events = append(events, event)
	}
	if len(events) == 0 {
		return events, 0, rows.Err()
	}
	return events, events[len(events)-1].Position, rows.Err()
}

// Read is like ReadRaw, but decodes the payload into a seatTaken.
func (p *plain) Read(ctx context.Context, query dcb.Query, opts ...dcb.ReadOption) ([]dcb.SequencedEvent, int64, error) {
	raw, position, err := p.ReadRaw(ctx, query, opts...)
	if err != nil {
		return nil, 0, err
	}
	events := make([]dcb.SequencedEvent, len(raw))
	for i, event := range raw {
		var data seatTaken
		if err := json.Unmarshal(event.Data, &data); err != nil {
			return nil, 0, err
		}
		events[i] = dcb.SequencedEvent{
			Position: event.Position, Type: event.Type, Tags: event.Tags, Timestamp: event.Timestamp, Data: data,
		}
	}
	return events, position, nil
}

func (p *plain) Close() error {
	return p.db.Close()
}

// clause returns the query as an SQL condition on the events e.
func clause(query dcb.Query) (where string, args []any) {
	items := query.Items()
	if items == nil {
		return "1", nil
	}
	var any []string
	for _, item := range items {
		all := []string{"1"}
		if len(item.Types) > 0 {
			all = append(all, "e.type IN (?"+strings.Repeat(", ?", len(item.Types)-1)+")")
			for _, name := range item.Types {
				args = append(args, name)
			}
		}
		for _, tag := range item.Tags {
			all = append(all, "e.position IN (SELECT position FROM tags WHERE tag = ?)")
			args = append(args, tag.String())
		}
		any = append(any, "("+strings.Join(all, " AND ")+")")
	}
	return "(" + strings.Join(any, " OR ") + ")", args
}

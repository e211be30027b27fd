package projector

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// ParkedEvent is an event that was set aside because Handle refused it.
type ParkedEvent struct {
	// Position and Type are those of the event.
	Position int64
	Type     string
	// Error is the text of the last error of Handle.
	Error string
	// Attempts is how often Handle was called with the event.
	Attempts int
	// ParkedAt is when the event was set aside.
	ParkedAt time.Time
}

// ErrNotParked is returned by Replay and Discard for an event that is not set aside.
var ErrNotParked = errors.New("projector: the event is not parked")

// park sets the event aside and moves the checkpoint over it, in one transaction.
func (r *runner) park(ctx context.Context, event dcb.RawEvent, cause error) error {
	mark := fingerprint(event)
	err := r.inTx(ctx, func(tx *sql.Tx) error {
		if err := r.move(ctx, tx, r.fence, r.position, event.Position, mark); err != nil {
			return err
		}
		_, err := r.exec(ctx, tx, `INSERT INTO {parked}
			(name, version, position, fingerprint, type, error, attempts, parked_at_us)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			r.name, r.version, event.Position, mark, event.Type, errorText(cause), r.refusals, time.Now().UnixMicro())
		return err
	})
	if err != nil {
		return err
	}
	r.log.Error("an event was parked", "position", event.Position, "type", event.Type, "error", cause)
	r.reach(event.Position, mark)
	return nil
}

// errorText returns the text of an error in a form that every database can store.
func errorText(err error) string {
	text := err.Error()
	if len(text) > 2000 {
		text = text[:2000]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
}

// Parked returns the events that were set aside, in the order of their positions.
func (p *Projector) Parked(ctx context.Context) ([]ParkedEvent, error) {
	t, err := p.tables()
	if err != nil {
		return nil, err
	}
	rows, err := t.db.QueryContext(ctx, t.text(`SELECT position, type, error, attempts, parked_at_us FROM {parked}
		WHERE name = ? AND version = ? ORDER BY position`), t.name, t.version)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []ParkedEvent
	for rows.Next() {
		var event ParkedEvent
		var at int64
		if err := rows.Scan(&event.Position, &event.Type, &event.Error, &event.Attempts, &at); err != nil {
			return nil, err
		}
		event.ParkedAt = time.UnixMicro(at).UTC()
		events = append(events, event)
	}
	return events, rows.Err()
}

// Replay applies a parked event and removes it from those set aside, in one transaction. The events after it
// have been applied already, or are being applied by Run at the same time. If Handle refuses the event
// again, it stays parked, and Replay returns an [*EventError]. If it is not parked, Replay returns
// [ErrNotParked].
func (p *Projector) Replay(ctx context.Context, position int64) error {
	t, err := p.tables()
	if err != nil {
		return err
	}
	if p.Handle == nil || p.Store == nil {
		return invalid("Handle and Store must not be nil")
	}
	var mark, kind string
	err = t.db.QueryRowContext(ctx, t.text(`SELECT fingerprint, type FROM {parked}
		WHERE name = ? AND version = ? AND position = ?`), t.name, t.version, position).Scan(&mark, &kind)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotParked
	}
	if err != nil {
		return err
	}
	event, err := eventAt(ctx, p.Store, position)
	if err != nil {
		return err
	}
	if event.Position != position || fingerprint(event) != mark {
		return fmt.Errorf("projector %q: the store does not have the event that was parked at position %d: %w",
			p.Name, position, dcb.ErrHistoryRewound)
	}
	err = t.inTx(ctx, func(tx *sql.Tx) error {
		if err := t.discard(ctx, tx, position); err != nil {
			return err
		}
		if err := p.handle(ctx, tx, event); err != nil {
			return &refusal{event, err}
		}
		return nil
	})
	refusal, ok := err.(*refusal)
	if !ok || ctx.Err() != nil {
		return err
	}
	attempts := 1
	_, err = t.exec(ctx, t.db, `UPDATE {parked} SET attempts = attempts + 1, error = ?
		WHERE name = ? AND version = ? AND position = ?`, errorText(refusal.err), t.name, t.version, position)
	return errors.Join(&EventError{p.Name, position, kind, attempts, refusal.err}, err)
}

// Discard removes a parked event without applying it. If it is not parked, Discard returns [ErrNotParked].
func (p *Projector) Discard(ctx context.Context, position int64) error {
	t, err := p.tables()
	if err != nil {
		return err
	}
	return t.discard(ctx, t.db, position)
}

// discard removes a parked event. If several transactions do, only one of them finds it.
func (t *tables) discard(ctx context.Context, q querier, position int64) error {
	n, err := t.exec(ctx, q, `DELETE FROM {parked} WHERE name = ? AND version = ? AND position = ?`,
		t.name, t.version, position)
	if err == nil && n != 1 {
		err = ErrNotParked
	}
	return err
}

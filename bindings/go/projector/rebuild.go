package projector

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// errBehind is returned by a switch to a version that has not reached the position of the active one.
var errBehind = errors.New("projector: the version is behind the active one")

// ActiveVersion returns the version of the read model that readers should use: the first one that was run,
// until [Projector.Switch] chooses another. It returns [sql.ErrNoRows] if none was run. It does not look at
// Version.
func (p *Projector) ActiveVersion(ctx context.Context) (int, error) {
	t, err := p.tables()
	if err != nil {
		return 0, err
	}
	return t.active(ctx, t.db)
}

func (t *tables) active(ctx context.Context, q querier) (version int, err error) {
	err = q.QueryRowContext(ctx, t.text(`SELECT version FROM {active} WHERE name = ?`), t.name).Scan(&version)
	return version, err
}

// Switch makes this version of the read model the active one, and retires the version that was. It waits
// until this version has reached the position of the other, so no reader goes back in time; so something
// has to run this version. Once it returns nil, Run of the retired version has ended or ends with
// [ErrRetired].
//
// If change is not nil, Switch calls it in its transaction, so that the program can point a view at the new
// tables or rename them. It may be called again if the transaction was rolled back.
//
// If the version is active already, Switch does nothing.
func (p *Projector) Switch(ctx context.Context, change func(ctx context.Context, tx *sql.Tx) error) error {
	t, err := p.tables()
	if err != nil {
		return err
	}
	for {
		var behind int64
		err := t.inTx(ctx, func(tx *sql.Tx) error {
			behind, err = t.activate(ctx, tx)
			if err != nil || behind == 0 || change == nil {
				return err
			}
			return change(ctx, tx)
		})
		if !errors.Is(err, errBehind) {
			return err
		}
		if err := p.WaitFor(ctx, behind); err != nil {
			return err
		}
	}
}

// activate makes the version the active one. It returns the position that the other version has reached,
// which is 0 if the version was active before and is above 0 otherwise.
func (t *tables) activate(ctx context.Context, tx *sql.Tx) (reached int64, err error) {
	// From here on the checkpoints do not move.
	n, err := t.exec(ctx, tx, `UPDATE {checkpoints} SET beat = beat + 1
		WHERE name = ? AND version = ? AND retired = 0`, t.name, t.version)
	if err != nil {
		return 0, err
	}
	if n != 1 {
		return 0, fmt.Errorf("projector %q: version %d was not run, or was replaced", t.name, t.version)
	}
	before, err := t.active(ctx, tx)
	if err != nil || before == t.version {
		return 0, err
	}
	old := *t
	old.version = before
	_, err = t.exec(ctx, tx, `UPDATE {checkpoints} SET retired = 1, fence = fence + 1, holder = '', beat = beat + 1
		WHERE name = ? AND version = ?`, old.name, old.version)
	if err != nil {
		return 0, err
	}
	oldRow, err := old.checkpoint(ctx, tx)
	if err != nil {
		return 0, err
	}
	row, err := t.checkpoint(ctx, tx)
	if err != nil {
		return 0, err
	}
	if row.position < oldRow.position {
		return oldRow.position, errBehind
	}
	n, err = t.exec(ctx, tx, `UPDATE {active} SET version = ? WHERE name = ? AND version = ?`,
		t.version, t.name, before)
	if err == nil && n != 1 {
		err = fmt.Errorf("projector %q: another version became active at the same time", t.name)
	}
	return max(oldRow.position, 1), err
}

// Reset makes the projector begin again with the first event. It calls empty in the same transaction, which
// must remove from the program's tables what was computed from events. The parked events are removed too. A
// runner, in whichever process, loses its lease and begins again. A version that was retired can be run
// again, but does not become the active one.
func (p *Projector) Reset(ctx context.Context, empty func(ctx context.Context, tx *sql.Tx) error) error {
	t, err := p.tables()
	if err != nil {
		return err
	}
	if empty == nil {
		return invalid("Reset: empty must not be nil")
	}
	var fence int64
	err = t.inTx(ctx, func(tx *sql.Tx) error {
		_, err := t.exec(ctx, tx, `UPDATE {checkpoints}
			SET position = 0, fingerprint = '', fence = fence + 1, holder = '', beat = beat + 1, retired = 0
			WHERE name = ? AND version = ?`, t.name, t.version)
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, tx, `DELETE FROM {parked} WHERE name = ? AND version = ?`, t.name, t.version); err != nil {
			return err
		}
		row, err := t.checkpoint(ctx, tx)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		fence = row.fence
		return empty(ctx, tx)
	})
	if err == nil {
		p.progress.reach(fence, 0)
	}
	return err
}

package projector

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"
)

// lookInterval is how often WaitFor reads the checkpoint if another process moves it.
const lookInterval = 25 * time.Millisecond

// progress is what a Projector knows of its checkpoint. It only moves forward: a higher fencing number is
// newer than a lower one, and within one lease a higher position is.
type progress struct {
	mu              sync.Mutex
	fence, position int64
	leading         int           // runners of this Projector that have the lease
	changed         chan struct{} // closed at the next change, or nil if nobody waits

	looking sync.Mutex // held by the one goroutine that reads the row for all
}

// reach notes that the row had this position in the lease with this fencing number.
func (p *progress) reach(fence, position int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fence < p.fence || fence == p.fence && position <= p.position {
		return
	}
	p.fence, p.position = fence, position
	p.wake()
}

// lead notes that a runner took or lost the lease.
func (p *progress) lead(leading bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if leading {
		p.leading++
		return
	}
	p.leading--
	p.wake() // those who wait look for themselves now
}

func (p *progress) wake() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// at reports whether the position is reached, whether a runner of this process moves the checkpoint, and
// otherwise returns a channel that is closed at the next change.
func (p *progress) at(position int64) (reached, leading bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.position >= position, p.leading > 0, p.changed
}

// WaitFor returns nil once every event up to the position is applied or parked. A program that has appended
// events waits for the position of the last one, and then finds them in its tables.
//
// It works whichever process runs the projector: in this one it learns of each transaction at once, and
// otherwise within 25 milliseconds. Events that the query does not match take up to 100 milliseconds. Its
// only limit is its context. It returns [ErrRetired] if another version has replaced this one.
func (p *Projector) WaitFor(ctx context.Context, position int64) error {
	t, err := p.tables()
	if err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		reached, leading, changed := p.progress.at(position)
		if reached {
			return nil
		}
		var again <-chan time.Time
		if !leading {
			if p.progress.looking.TryLock() {
				err := p.look(ctx, t)
				p.progress.looking.Unlock()
				if err != nil {
					return err
				}
				if reached, _, _ := p.progress.at(position); reached {
					return nil
				}
			}
			again = time.After(lookInterval)
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
		}
	}
}

// look reads the checkpoint.
func (p *Projector) look(ctx context.Context, t *tables) error {
	row, err := t.checkpoint(ctx, t.db)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil // nobody has run the projector yet
	case err != nil:
		return err
	case row.retired:
		return ErrRetired
	}
	p.progress.reach(row.fence, row.position)
	return nil
}

// Status describes a projector at one moment.
type Status struct {
	// Position is that of the checkpoint: every event up to it is applied or parked.
	Position int64
	// Head is the position of the newest event in the store.
	Head int64
	// Lag is the number of events above the checkpoint. It counts those that the query does not match too.
	Lag int64
	// Age is how long ago the first event above the checkpoint was appended, by the clock of this process,
	// or 0 if there is none. It says how old what the tables show may be.
	Age time.Duration
	// Parked is the number of events that were set aside.
	Parked int
	// Fence is the fencing number of the last lease, and Held says whether that lease was not given up.
	Fence int64
	Held  bool
	// Retired says that another version has replaced this one.
	Retired bool
}

// Status returns the state of the projector, in whichever process it runs. It needs Store.
func (p *Projector) Status(ctx context.Context) (Status, error) {
	t, err := p.tables()
	if err != nil {
		return Status{}, err
	}
	if p.Store == nil {
		return Status{}, invalid("Store must not be nil")
	}
	row, err := t.checkpoint(ctx, t.db)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Status{}, err
	}
	status := Status{Position: row.position, Fence: row.fence, Held: row.holder != "", Retired: row.retired}
	err = t.db.QueryRowContext(ctx, t.text(`SELECT COUNT(*) FROM {parked} WHERE name = ? AND version = ?`),
		t.name, t.version).Scan(&status.Parked)
	if err != nil {
		return Status{}, err
	}
	if status.Head, err = p.Store.Head(ctx); err != nil {
		return Status{}, err
	}
	if status.Lag = max(status.Head-status.Position, 0); status.Lag > 0 {
		event, err := eventAt(ctx, p.Store, status.Position+1)
		if err != nil {
			return Status{}, err
		}
		status.Age = max(time.Since(event.Timestamp), 0)
	}
	return status, nil
}

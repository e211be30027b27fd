package projector

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"time"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

const (
	// maxBatchBytes is how many bytes of data a batch has before it ends.
	maxBatchBytes = 1 << 20
	// skipInterval is how often the checkpoint moves over events that the query does not match. Each of
	// these moves costs a transaction, and none of them applies anything.
	skipInterval = 100 * time.Millisecond
	// maxStandbyInterval is how long a runner without the lease waits at most before it looks again.
	maxStandbyInterval = 500 * time.Millisecond
)

// errLeaseLost means that no row has the fencing number of the runner any more, or that its position is
// another one than the runner believes.
var errLeaseLost = errors.New("projector: the lease is lost")

// refusal is the error of an event that Handle refused, or that could not be decoded.
type refusal struct {
	event dcb.RawEvent
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }

// runner is one call of Run.
type runner struct {
	*Projector
	*tables
	holder    string // unique
	batchSize int
	attempts  int
	minDelay  time.Duration
	maxDelay  time.Duration
	lease     time.Duration
	interval  time.Duration // between two signs of life
	log       *slog.Logger

	// leading says that the runner has taken the lease with the number fence.
	leading bool
	fence   int64
	// stale says that the row has to be read before the next step, since the outcome of the last is unknown.
	stale bool
	// The checkpoint is at position. No event above it, up to and including seen, matches the query.
	position        int64
	seen            int64
	seenFingerprint string
	written         time.Time // when the row was written last

	// watched is the row of the other holder, and watchedSince when it was first seen like this.
	watched      checkpoint
	watchedSince time.Time

	failures int // of the database or the store, in a row
	// Events up to the position alone are applied one by one, and the one at the position refused was
	// refused as often as refusals says.
	alone, refused int64
	refusals       int
}

func newRunner(p *Projector, t *tables) *runner {
	r := &runner{
		Projector: p,
		tables:    t,
		holder:    rand.Text(),
		batchSize: orDefault(p.BatchSize, 256),
		attempts:  orDefault(p.Attempts, 3),
		minDelay:  orDefault(p.MinDelay, 50*time.Millisecond),
		maxDelay:  orDefault(p.MaxDelay, 5*time.Second),
		lease:     orDefault(p.Lease, 15*time.Second),
		log:       p.Logger,
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.log = r.log.With("projector", p.Name, "version", p.Version)
	r.interval = r.lease / 3
	t.lease = r.lease
	return r
}

func orDefault[T int | time.Duration](value, otherwise T) T {
	if value <= 0 {
		return otherwise
	}
	return value
}

func (r *runner) run(ctx context.Context) error {
	for {
		err := r.step(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			r.failures = 0
		case errors.Is(err, errLeaseLost):
			r.log.Warn("the lease is lost", "fence", r.fence)
			r.lead(false)
		case isFinal(err):
			return err
		default:
			r.failures++
			if r.failures >= r.attempts && r.OnFailure != Retry {
				return fmt.Errorf("projector %q: %w", r.Projector.Name, err)
			}
			r.log.Warn("the database or the store failed", "error", err)
			r.stale = true
			pause(ctx, r.delay(r.failures))
		}
	}
}

// isFinal reports whether another attempt would end in the same way.
func isFinal(err error) bool {
	for _, final := range []error{ErrRetired, dcb.ErrHistoryRewound, dcb.ErrClosed, dcb.ErrInvalidArgument, errTxEnded} {
		if errors.Is(err, final) {
			return true
		}
	}
	_, isStop := err.(*EventError)
	return isStop
}

// step takes the lease, applies a batch, or waits for events.
func (r *runner) step(ctx context.Context) error {
	if !r.leading {
		return r.standBy(ctx)
	}
	if r.stale {
		if err := r.load(ctx); err != nil {
			return err
		}
	}
	if time.Since(r.written) >= r.interval {
		if err := r.advance(ctx); err != nil {
			return err
		}
	}
	events, head, err := r.next(ctx)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return r.idle(ctx, head)
	}
	err = r.apply(ctx, events)
	if refusal, ok := err.(*refusal); ok && ctx.Err() == nil {
		return r.refuse(ctx, refusal, len(events))
	}
	return err
}

// standBy takes the lease if it is free, or if its holder has given no sign of life for as long as a lease.
func (r *runner) standBy(ctx context.Context) error {
	row, err := r.checkpoint(ctx, r.db)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return r.create(ctx)
	case err != nil:
		return err
	case row.retired:
		return ErrRetired
	}
	r.progress.reach(row.fence, row.position)
	if row.holder != "" && row.holder != r.holder {
		now := time.Now()
		if row.fence != r.watched.fence || row.beat != r.watched.beat {
			r.watched, r.watchedSince = row, now
		}
		if left := r.lease - now.Sub(r.watchedSince); left > 0 {
			pause(ctx, min(left, r.interval, maxStandbyInterval))
			return nil
		}
	}
	taken, err := r.take(ctx, row, r.holder)
	if err != nil || !taken {
		return err
	}
	r.fence, r.stale = row.fence+1, true
	r.lead(true)
	r.log.Info("took the lease", "fence", r.fence, "position", row.position)
	return nil
}

func (r *runner) lead(leading bool) {
	if r.leading != leading {
		r.leading = leading
		r.progress.lead(leading)
	}
}

// load reads the row after an error that left the outcome of a transaction unknown.
func (r *runner) load(ctx context.Context) error {
	row, err := r.checkpoint(ctx, r.db)
	if err != nil {
		return err
	}
	if row.fence != r.fence {
		return errLeaseLost
	}
	r.reach(row.position, row.fingerprint)
	r.stale = false
	return nil
}

// reach notes the position that the row has.
func (r *runner) reach(position int64, fingerprint string) {
	r.position, r.seen, r.seenFingerprint = position, position, fingerprint
	r.written = time.Now()
	r.progress.reach(r.fence, position)
}

// advance moves the checkpoint to the position up to which no event is left to apply. It is also a sign of life.
func (r *runner) advance(ctx context.Context) error {
	if err := r.move(ctx, r.db, r.fence, r.position, r.seen, r.seenFingerprint); err != nil {
		return err
	}
	r.reach(r.seen, r.seenFingerprint)
	return nil
}

// next returns the events of the next batch, and the head of the store before it read them.
func (r *runner) next(ctx context.Context) (events []dcb.RawEvent, head int64, err error) {
	if err := r.verify(ctx, r.seen, r.seenFingerprint); err != nil {
		return nil, 0, err
	}
	head, err = r.Store.Head(ctx)
	if err != nil || head <= r.seen {
		return nil, head, err
	}
	limit := r.batchSize
	if r.alone > r.seen {
		limit = 1
	}
	bytes := 0
	for event, err := range r.Store.RawEvents(ctx, r.Query, dcb.FromPosition(r.seen), dcb.Before(head+1), dcb.Limit(limit)) {
		if err != nil {
			return nil, 0, err
		}
		events = append(events, event)
		if bytes += len(event.Data) + len(event.Metadata); bytes >= maxBatchBytes {
			break
		}
	}
	return events, head, nil
}

// idle notes that nothing up to the head is left to apply, and waits for the next event.
func (r *runner) idle(ctx context.Context, head int64) error {
	if head > r.seen {
		event, err := eventAt(ctx, r.Store, head)
		if err != nil {
			return err
		}
		r.seen, r.seenFingerprint = head, fingerprint(event)
	}
	left := r.interval - time.Since(r.written)
	if r.seen > r.position {
		if left = min(left, skipInterval-time.Since(r.written)); left <= 0 {
			return r.advance(ctx)
		}
	}
	waiting, cancel := context.WithTimeout(ctx, max(left, 0))
	defer cancel()
	_, err := r.Store.Wait(waiting, r.seen)
	if waiting.Err() != nil && errors.Is(err, waiting.Err()) {
		return nil
	}
	return err
}

// errTxEnded is the error of a Handler that has committed or rolled back the transaction.
var errTxEnded = errors.New("Handle must not end the transaction; reset the projector, since it may have applied a part of a batch")

// apply applies the events and moves the checkpoint to the last of them, in one transaction.
func (r *runner) apply(ctx context.Context, events []dcb.RawEvent) error {
	last := events[len(events)-1]
	mark := fingerprint(last)
	err := r.inTx(ctx, func(tx *sql.Tx) error {
		if err := r.move(ctx, tx, r.fence, r.position, last.Position, mark); err != nil {
			return err
		}
		for _, event := range events {
			if err := r.handle(ctx, tx, event); err != nil {
				if errors.Is(tx.Rollback(), sql.ErrTxDone) && ctx.Err() == nil {
					return errTxEnded
				}
				return &refusal{event, err}
			}
		}
		return nil
	})
	switch {
	case err == nil:
		r.reach(last.Position, mark)
	case errors.Is(err, sql.ErrTxDone):
		return errTxEnded // unless ctx is done, which counts first
	}
	return err
}

func (p *Projector) handle(ctx context.Context, tx *sql.Tx, raw dcb.RawEvent) error {
	event, err := p.Store.Decode(raw)
	if err != nil {
		return err
	}
	return p.Handle(ctx, tx, event)
}

// refuse deals with an event that was refused in a batch of this size.
func (r *runner) refuse(ctx context.Context, refusal *refusal, size int) error {
	event := refusal.event
	if r.refused != event.Position {
		r.refused, r.refusals = event.Position, 0
	}
	r.refusals++
	r.log.Warn("an event was refused", "position", event.Position, "type", event.Type,
		"attempt", r.refusals, "error", refusal.err)
	if size > 1 {
		r.alone = event.Position
		return nil
	}
	switch {
	case r.refusals < r.attempts || r.OnFailure == Retry:
		pause(ctx, r.delay(r.refusals))
		return nil
	case r.OnFailure == Park:
		return r.park(ctx, event, refusal.err)
	default:
		return &EventError{r.Projector.Name, event.Position, event.Type, r.refusals, refusal.err}
	}
}

// delay returns how long to wait before the attempt after n failed ones.
func (r *runner) delay(n int) time.Duration {
	delay := r.minDelay << min(n-1, 20)
	if delay <= 0 || delay > r.maxDelay {
		delay = r.maxDelay
	}
	delay = min(delay, r.interval)
	return delay/2 + mathrand.N(delay/2+1)
}

func pause(ctx context.Context, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// release gives the lease up when Run ends.
func (r *runner) release(ctx context.Context) {
	if !r.leading {
		return
	}
	r.lead(false)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := r.tables.release(ctx, r.fence); err != nil {
		r.log.Warn("the lease could not be given up", "error", err)
	}
}

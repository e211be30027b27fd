package dcb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// RetryPolicy limits how long, how often and how fast a decision is retried after its condition failed.
//
// Of the decisions on one [Store] that have lost to others, the oldest goes next, and those that it affects
// wait for it, also before their first attempt, but no longer than 250 milliseconds in which none of those before
// them ends. So the first retry begins at once. Before each further one, and before each retry on a store
// without such a queue, there is a random delay. Its upper bound starts at MinDelay and doubles with each
// retry, up to MaxDelay.
type RetryPolicy struct {
	// Timeout is how long after the beginning of the decision a retry may begin. 0 means the default: until
	// the deadline of the context, or for 10 seconds if it has none. A negative Timeout means no limit but
	// that deadline.
	Timeout time.Duration
	// Attempts is the maximum number of times that the decision is made. 1 means no retry, and 0 means no
	// limit.
	Attempts int
	// MinDelay is the upper bound of the first delay. 0 means the default, 1 millisecond.
	MinDelay time.Duration
	// MaxDelay is the upper bound of every delay. 0 means the default, 100 milliseconds.
	MaxDelay time.Duration
}

// defaultRetryTimeout is the Timeout of a policy if neither it nor the context sets a limit.
const defaultRetryTimeout = 10 * time.Second

// withDefaults returns the policy for a decision with this context.
func (p RetryPolicy) withDefaults(ctx context.Context) RetryPolicy {
	if _, ok := ctx.Deadline(); !ok && p.Timeout == 0 {
		p.Timeout = defaultRetryTimeout
	}
	if p.MinDelay <= 0 {
		p.MinDelay = time.Millisecond
	}
	if p.MaxDelay <= 0 {
		p.MaxDelay = 100 * time.Millisecond
	}
	return p
}

// allows reports whether the policy allows another attempt after so many, and a time, with a delay before it.
func (p RetryPolicy) allows(attempts int, elapsed, delay time.Duration) bool {
	return (p.Attempts <= 0 || attempts < p.Attempts) && (p.Timeout <= 0 || elapsed+delay < p.Timeout)
}

// delay returns how long to wait after the given number of attempts. It is random, so that two
// decisions which conflicted do not meet again.
func (p RetryPolicy) delay(attempts int) time.Duration {
	bound := min(p.MinDelay, p.MaxDelay)
	for i := 1; i < attempts && bound < p.MaxDelay; i++ {
		bound += min(bound, p.MaxDelay-bound) // MaxDelay may be the longest duration
	}
	return max(rand.N(bound), 1)
}

// RetryError is returned when a decision, or a transaction of [SQLiteStore.InTx] or [PostgresStore.InTx], gave up, because it kept
// conflicting with others until the [RetryPolicy] or the context allowed no further attempt. Nothing was stored.
// [errors.Is] finds [ErrAppendConditionFailed], or [ErrBusy] if a transaction did not get its lock, and also the
// context's error if that ended the retries.
type RetryError struct {
	// Attempts is how many attempts were made.
	Attempts int
	// Elapsed is how long that took, with the delays.
	Elapsed time.Duration
	// Err is the error of the last attempt that conflicted.
	Err error

	// cause is what ended the retries, or nil if the policy did.
	cause error
}

// Error returns a message with the number of attempts and the time.
func (e *RetryError) Error() string {
	text := "1 attempt"
	if e.Attempts != 1 {
		text = fmt.Sprint(e.Attempts, " attempts")
	}
	text = fmt.Sprintf("dcb: gave up after %s in %v: %v", text, e.Elapsed.Round(time.Microsecond), e.Err)
	if e.cause != nil {
		text += " (" + e.cause.Error() + ")"
	}
	return text
}

// Unwrap returns the error of the last attempt that conflicted, and what ended the retries.
func (e *RetryError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.cause}
}

// pause waits for the delay or the end of the context, whose error it returns.
func pause(ctx context.Context, delay time.Duration) error {
	if delay <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gaveUp returns the error of a decision that lost so many times and was then ended by err. If err says that
// the time was over, and that the attempt stored nothing, the conflict is what the caller has to know.
func gaveUp(attempts int, start time.Time, conflict, err error) error {
	isOver := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	var failure *Error
	if errors.As(err, &failure) && failure.Status != StatusBusy && failure.Status != StatusCancelled {
		isOver = false
	}
	if conflict == nil || !isOver {
		return err
	}
	return &RetryError{Attempts: attempts, Elapsed: time.Since(start), Err: conflict, cause: err}
}

package dcb

import (
	"math"
	"testing"
	"time"
)

func TestDelaysKeepToTheirBounds(t *testing.T) {
	const longest = time.Duration(math.MaxInt64)
	for _, policy := range []RetryPolicy{
		{MinDelay: 1, MaxDelay: 1},
		{MinDelay: time.Millisecond, MaxDelay: 100 * time.Millisecond},
		{MinDelay: time.Second, MaxDelay: time.Millisecond},
		{MinDelay: 1, MaxDelay: longest},
		{MinDelay: longest, MaxDelay: longest},
	} {
		bound := policy.MinDelay
		for attempts := 1; attempts <= 100; attempts++ {
			if delay := policy.delay(attempts); delay < 1 || delay > min(bound, policy.MaxDelay) {
				t.Errorf("%+v: %v after %d attempts", policy, delay, attempts)
			}
			if bound < longest/2 {
				bound *= 2
			} else {
				bound = longest
			}
		}
	}
}

package dcb

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// inQueue waits until so many wait to enter.
func (g *gate) inQueue(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		length := len(g.queue)
		g.mu.Unlock()
		if length == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait, not %d", length, n)
		}
	}
}

func TestTheGateLetsInWhoComesFirst(t *testing.T) {
	var g gate
	ctx := context.Background()
	for range 2 { // two appends at once
		if err := g.enter(ctx, false); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var order []int
	var running sync.WaitGroup
	const isTransaction, isAppend = true, false
	for i, kind := range []bool{isTransaction, isAppend, isAppend, isTransaction, isAppend} {
		running.Add(1)
		go func() {
			defer running.Done()
			if err := g.enter(ctx, kind); err != nil {
				t.Error(err)
			}
			defer g.leave(kind)
			mu.Lock()
			defer mu.Unlock()
			order = append(order, i)
			if kind == isTransaction && g.appends != 0 {
				t.Error("an append is inside with a transaction")
			}
		}()
		g.inQueue(t, i+1)
	}
	gaveUp, cancel := context.WithCancel(ctx)
	cancel()
	if err := g.enter(gaveUp, false); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	g.leave(false)
	g.inQueue(t, 5)
	g.leave(false)
	running.Wait()
	slices.Sort(order[1:3]) // the two appends between the transactions
	if !slices.Equal(order, []int{0, 1, 2, 3, 4}) {
		t.Errorf("they entered in the order %v", order)
	}
	if g.appends != 0 || g.isTaken || len(g.queue) != 0 {
		t.Errorf("the gate is left as %+v", &g)
	}
}

// Appends do not wait for a transaction that has given up waiting.
func TestTheGateForgetsWhoGaveUp(t *testing.T) {
	var g gate
	if err := g.enter(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	outcome := make(chan error)
	go func() { outcome <- g.enter(ctx, true) }()
	g.inQueue(t, 1)
	go func() { outcome <- g.enter(context.Background(), false) }()
	g.inQueue(t, 2)
	cancel()
	got := []error{<-outcome, <-outcome}
	if !slices.Contains(got, error(context.Canceled)) || !slices.Contains(got, error(nil)) {
		t.Errorf("got %v", got)
	}
}

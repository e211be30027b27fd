package dcb_test

import (
	"context"
	"fmt"
	"sync"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// invoiced is an invoice with the number that follows that of the last invoice of its branch.
type invoiced struct {
	Number int `json:"number"`
	Cents  int `json:"cents"`
}

var (
	ledger     = &dcb.Registry{}
	invoiceSet = dcb.Register[invoiced](ledger, "Invoiced")
)

// lastNumber answers which number the last invoice of a branch has. It needs one event, however many there are.
func lastNumber(branch string) dcb.Projection[int] {
	return dcb.Projection[int]{
		Query: dcb.NewQuery(dcb.QueryItem{
			Types: []string{invoiceSet.Name()},
			Tags:  []dcb.Tag{{Key: "branch", Value: branch}},
		}),
		Last: 1,
		Evolve: func(_ int, event dcb.SequencedEvent) int {
			invoice, _ := invoiceSet.Of(event)
			return invoice.Number
		},
	}
}

// invoice stores an invoice and returns its number.
func invoice(ctx context.Context, store dcb.EventStore, branch string, cents int) (int, error) {
	number, _, err := dcb.DecideValue(ctx, store, lastNumber(branch), func(last int) ([]dcb.Event, int, error) {
		next := invoiceSet.New(invoiced{last + 1, cents}, dcb.Tag{Key: "branch", Value: branch})
		return []dcb.Event{next}, last + 1, nil
	})
	return number, err
}

func Example_sequence() {
	ctx := context.Background()
	var counters dcb.Counters
	store := dcb.NewMemoryStore(dcb.WithRegistry(ledger), dcb.WithObserver(&counters))
	defer store.Close()

	// Eight goroutines make ten invoices each. No number is missing, and none is there twice.
	seen := make([]int, 81)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 10 {
				number, err := invoice(ctx, store, "north", 1299)
				if err != nil {
					fmt.Println(err)
					return
				}
				mu.Lock()
				seen[number]++
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	for number := 1; number <= 80; number++ {
		if seen[number] != 1 {
			fmt.Println("number", number, "is there", seen[number], "times")
		}
	}

	before := counters.EventsRead.Load()
	number, err := invoice(ctx, store, "north", 500)
	fmt.Println(number, err)
	fmt.Println(counters.EventsRead.Load()-before, "events were read")
	// Output:
	// 81 <nil>
	// 2 events were read
}

// balance is computed from the last closing of the account on, whose data is the balance at that time.
func balance(account string) dcb.Projection[float64] {
	return dcb.Projection[float64]{
		Query: dcb.NewQuery(dcb.QueryItem{
			Types: []string{"BalanceClosed", "Deposited", "Withdrawn"},
			Tags:  []dcb.Tag{{Key: "account", Value: account}},
		}),
		Since: "BalanceClosed",
		Evolve: func(balance float64, event dcb.SequencedEvent) float64 {
			amount, _ := event.Data.(float64)
			switch event.Type {
			case "BalanceClosed":
				return amount
			case "Withdrawn":
				return balance - amount
			default:
				return balance + amount
			}
		},
	}
}

func ExampleProjection_since() {
	ctx := context.Background()
	store := dcb.NewMemoryStore()
	defer store.Close()
	happen := func(kind string, amount int) {
		event := dcb.Event{Type: kind, Tags: []dcb.Tag{{Key: "account", Value: "a1"}}, Data: amount}
		if err := store.Append(ctx, []dcb.Event{event}); err != nil {
			fmt.Println(err)
		}
	}
	// closeAccount prints the balance and closes the account, on the condition that nothing has happened since.
	closeAccount := func() {
		_, err := dcb.Decide(ctx, store, balance("a1"), func(now float64) ([]dcb.Event, error) {
			fmt.Println(now)
			return []dcb.Event{{Type: "BalanceClosed", Tags: []dcb.Tag{{Key: "account", Value: "a1"}}, Data: now}}, nil
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	happen("Deposited", 100)
	happen("Withdrawn", 30)
	closeAccount()
	happen("Deposited", 5)
	closeAccount()
	// Output:
	// 70
	// 75
}

// points counts the points of a customer, and remembers the counts of the thousand customers that were asked for last.
var points = dcb.Decider[int, string]{
	Query: func(customer string) dcb.Query {
		return dcb.NewQuery(dcb.QueryItem{
			Types: []string{"PointsEarned"},
			Tags:  []dcb.Tag{{Key: "customer", Value: customer}},
		})
	},
	Evolve: func(points int, _ dcb.SequencedEvent) int { return points + 1 },
	Decide: func(points int, customer string) ([]dcb.Event, error) {
		if points%100 != 0 {
			return nil, nil
		}
		return []dcb.Event{{Type: "GiftSent", Tags: []dcb.Tag{{Key: "customer", Value: customer}}}}, nil
	},
}.Cached(1000, nil)

func ExampleDecider_Cached() {
	ctx := context.Background()
	var counters dcb.Counters
	store := dcb.NewMemoryStore(dcb.WithObserver(&counters))
	defer store.Close()
	handler := dcb.CommandHandler[int, string]{Decider: points, Store: store}
	gifts := 0
	for range 200 {
		event := dcb.Event{Type: "PointsEarned", Tags: []dcb.Tag{{Key: "customer", Value: "c1"}}}
		if err := store.Append(ctx, []dcb.Event{event}); err != nil {
			fmt.Println(err)
		}
		decision, err := handler.Run(ctx, "c1")
		if err != nil {
			fmt.Println(err)
		}
		if decision.Last > 0 {
			gifts++
		}
	}
	fmt.Println(gifts, "gifts,", counters.EventsRead.Load(), "events read")
	// Output: 2 gifts, 399 events read
}

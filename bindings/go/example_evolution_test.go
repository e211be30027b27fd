package dcb_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// An order is placed with cents and a currency. The first version of the service knew whole euros only.
type (
	orderPlaced struct {
		Cents    int64  `json:"cents"`
		Currency string `json:"currency"`
	}
	orderPlacedInEuros struct {
		Euros int64 `json:"euros"`
	}
)

// An order is shipped in parcels. Before there were several, the one had no list.
type orderShipped struct {
	Parcels []string `json:"parcels"`
}

var (
	orders = &dcb.Registry{Strict: true}

	placed  = dcb.Register[orderPlaced](orders, "OrderPlaced2")
	shipped = dcb.RegisterFunc(orders, "OrderShipped", shippedOf)
)

func init() {
	dcb.RegisterOld(orders, "OrderPlaced", placed, func(old orderPlacedInEuros) (orderPlaced, error) {
		return orderPlaced{Cents: 100 * old.Euros, Currency: "EUR"}, nil
	})
}

// shippedOf decodes both versions of an event type that has kept its name.
func shippedOf(data []byte) (orderShipped, error) {
	var both struct {
		orderShipped
		Parcel string `json:"parcel"`
	}
	err := json.Unmarshal(data, &both)
	if both.Parcel != "" {
		both.Parcels = []string{both.Parcel}
	}
	return both.orderShipped, err
}

// revenue is computed from the orders of all times. It is a function, since Names has the old type only once that is
// registered, which is after the variables of a package got their values.
func revenue() dcb.Projection[map[string]int64] {
	return dcb.Projection[map[string]int64]{
		Query:        dcb.NewQuery(dcb.QueryItem{Types: placed.Names()}),
		InitialState: func() map[string]int64 { return map[string]int64{} },
		Evolve: func(sum map[string]int64, event dcb.SequencedEvent) map[string]int64 {
			if order, ok := placed.Of(event); ok {
				sum[order.Currency] += order.Cents
			}
			return sum
		},
	}
}

func ExampleRegisterOld() {
	ctx := context.Background()
	store := dcb.NewMemoryStore(dcb.WithRegistry(orders))
	defer store.Close()
	err := store.Append(ctx, []dcb.Event{
		{Type: "OrderPlaced", Data: json.RawMessage(`{"euros": 12}`)}, // by the first version
		{Type: "OrderShipped", Data: json.RawMessage(`{"parcel": "p1"}`)},
		placed.New(orderPlaced{1550, "EUR"}),
		shipped.New(orderShipped{[]string{"p2", "p3"}}),
	})
	if err != nil {
		log.Fatal(err)
	}
	events, _, err := store.Read(ctx, dcb.QueryAll())
	if err != nil {
		log.Fatal(err)
	}
	for _, event := range events {
		fmt.Printf("%s %+v\n", event.Type, event.Data)
	}
	fmt.Println(revenue().Fold(events))

	// An event that nobody has registered is an error, not an event without a meaning.
	err = store.Append(ctx, []dcb.Event{{Type: "OrderReturned"}})
	if err != nil {
		log.Fatal(err)
	}
	_, _, err = store.Read(ctx, dcb.QueryAll())
	fmt.Println(err)
	// Output:
	// OrderPlaced {Cents:1200 Currency:EUR}
	// OrderShipped {Parcels:[p1]}
	// OrderPlaced2 {Cents:1550 Currency:EUR}
	// OrderShipped {Parcels:[p2 p3]}
	// map[EUR:2750]
	// dcb: event 5 of type "OrderReturned": the type is not registered, and the registry is strict
}

// A user name belongs to whoever claims it first: a claim in Go.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/libdcb/libdcb/bindings/go"
)

func main() {
	store, err := dcb.NewSQLiteStore("names.db")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	name := []dcb.Tag{{Key: "name", Value: "ada"}}
	claim := dcb.Event{Type: "NameClaimed", Tags: name, Data: "in Go"}
	unclaimed := dcb.AppendCondition{FailIfEventsMatch: dcb.NewQuery(dcb.QueryItem{Tags: name})}
	if err := store.Append(context.Background(), []dcb.Event{claim}, unclaimed); err != nil {
		fmt.Println(err) // errors.Is(err, dcb.ErrAppendConditionFailed) if the name is taken
		return
	}
	fmt.Println("ada is ours")
}

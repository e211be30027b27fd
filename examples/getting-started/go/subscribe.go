// A course has two seats. Subscribes the student that the command line names, if one is free.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/libdcb/libdcb/bindings/go"
)

var subscribing = dcb.Decider[int, string]{
	InitialState: func() int { return 0 },
	Query: func(student string) dcb.Query {
		return dcb.NewQuery(dcb.QueryItem{
			Types: []string{"Subscribed"},
			Tags:  []dcb.Tag{{Key: "course", Value: "c1"}},
		})
	},
	Evolve: func(taken int, _ dcb.SequencedEvent) int { return taken + 1 },
	Decide: func(taken int, student string) ([]dcb.Event, error) {
		if taken >= 2 {
			return nil, errors.New("the course is full")
		}
		return []dcb.Event{{
			Type: "Subscribed",
			Tags: []dcb.Tag{{Key: "course", Value: "c1"}, {Key: "student", Value: student}},
		}}, nil
	},
}

func main() {
	student := "s1"
	if len(os.Args) > 1 {
		student = os.Args[1]
	}
	store, err := dcb.NewSQLiteStore("courses.db")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	handler := dcb.CommandHandler[int, string]{Decider: subscribing, Store: store}
	if err := handler.Handle(context.Background(), student); err != nil { // decides again if somebody was faster
		fmt.Println(err)
		return
	}
	fmt.Println(student, "has a seat")
}

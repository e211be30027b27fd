// Program uses the Go package from a module of its own.
package main

import (
	"context"
	"fmt"
	"os"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	store, err := dcb.NewSQLiteStore("program.db")
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.Append(ctx, []dcb.Event{{Type: "A", Tags: []dcb.Tag{{Key: "k", Value: "v"}}}}); err != nil {
		return err
	}
	events, position, err := store.Read(ctx, dcb.NewQuery(dcb.QueryItem{Types: []string{"A"}}))
	if err == nil && (len(events) != 1 || position != 1) {
		err = fmt.Errorf("read %d events up to %d", len(events), position)
	}
	return err
}

// A service for course subscriptions: an HTTP API on events in a file of SQLite or a database of PostgreSQL.
//
//	go run . -addr localhost:8080 -db courses.db
//	go run . -addr localhost:8080 -db 'postgres:///courses?host=/var/run/postgresql&user=ada'
//
// docs/go-service.md explains it from zero.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "the address to listen on")
	uri := flag.String("db", "courses.db", "the database: a file of SQLite, or postgres://...")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *uri); err != nil {
		slog.Error("the service failed", "error", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It ends in the reverse order of its beginning: first the requests, then the projector, and
// the store last.
func run(ctx context.Context, addr, uri string) (err error) {
	store, err := openStore(ctx, uri)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	projecting, stopProjecting := context.WithCancel(context.WithoutCancel(ctx))
	projected := make(chan error, 1)
	go func() { projected <- store.readModel.Run(projecting) }()
	defer func() {
		stopProjecting()
		<-projected
	}()

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	live, endLive := context.WithCancel(context.Background())
	defer endLive()
	server := &http.Server{
		Handler:           newHandler(store, live),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	server.RegisterOnShutdown(endLive) // live updates have no end of their own
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	slog.Info("listening", "addr", listener.Addr().String())

	select {
	case err = <-served:
		return err
	case err = <-projected:
		projected <- err // for the deferred function
		err = fmt.Errorf("the read model: %w", err)
	case <-ctx.Done():
		slog.Info("shutting down")
	}
	ending, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return errors.Join(err, server.Shutdown(ending))
}

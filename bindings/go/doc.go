/*
Package dcb is an event store with Dynamic Consistency Boundaries (https://dcb.events).

All events of a bounded context are one sequence. An event has a type, a payload, and tags that say
what it is about; one event may be about several things. There are no streams: a query asks for the
events that a decision rests on, whatever they are about, and an append condition guards exactly
those.

# Events

	store, err := dcb.NewSQLiteStore("courses.db")
	if err != nil {
		return err
	}
	defer store.Close()

	err = store.Append(ctx, []dcb.Event{{
		Type: "CourseDefined",
		Tags: []dcb.Tag{{Key: "course", Value: "c1"}},
		Data: map[string]any{"capacity": 20},
	}})

Once Append returns nil the events are durable. They get positions, 1 for the first of the store,
rising by one. [Store.AppendEvents] tells which.

# Queries

A query has items, of which an event has to match one: to have one of its types, and all of its tags.

	query := dcb.NewQuery(
		dcb.QueryItem{
			Types: []string{"CourseDefined", "StudentSubscribed"},
			Tags:  []dcb.Tag{{Key: "course", Value: "c1"}},
		},
		dcb.QueryItem{
			Types: []string{"StudentSubscribed"},
			Tags:  []dcb.Tag{{Key: "student", Value: "s1"}},
		},
	)
	events, position, err := store.Read(ctx, query)

[FromPosition], [Before], [Limit] and [Backwards] narrow a read. [Store.Events] reads what is too
much for a slice, [Store.Subscribe] goes on with what comes.

# Your own database

Events may lie beside other tables, in a database that the program has open with a driver of its
own: [NewSQLiteStoreFromDB] takes the *sql.DB. [SQLiteStore.AppendTx] then appends in a transaction
of the program's, so that events and rows are committed together:

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "UPDATE seats SET taken = taken + 1 WHERE course = 'c1'"); err != nil {
		return err
	}
	if err := store.AppendTx(ctx, tx, decided, condition); err != nil {
		return err // after dcb.ErrBusy and a failed condition: roll back, and run all of it again
	}
	return tx.Commit()

# Decisions

A decision reads, decides, and appends on condition that what it read is still all there is:

	err = store.Append(ctx, decided, dcb.AppendCondition{FailIfEventsMatch: query, After: position})
	if errors.Is(err, dcb.ErrAppendConditionFailed) {
		// somebody was faster: read again, decide again
	}

[CommandHandler] does that for a [Decider], which says what to read, what the events mean, and what
follows. Where the parts of the model are questions of their own, each is a [Projection]; [Compose]
joins them, and [Decide] runs the decision:

	model := dcb.Compose(
		dcb.PartOf(courseExists("c1"), func(m *model) *bool { return &m.exists }),
		dcb.PartOf(seatsTaken("c1"), func(m *model) *int { return &m.taken }),
	)
	err := dcb.Decide(ctx, store, model, func(m model) ([]dcb.Event, error) { ... })

# Payloads

Data goes in as [encoding/json] encodes it, and comes out as [json.Unmarshal] into an any gives it. A
[Registry] makes it come out as Go types. [Store.ReadRaw], [Store.RawEvents] and [Store.SubscribeRaw]
give the bytes as they were put in, which is the fastest.

# Errors

Every failure of the library is an [*Error]; [errors.Is] with the Err variables tells the kind. A
failed condition is an expected outcome, and its error names the position of the event that was in
the way. Where a context ends a call, the error is the context's too.

After [ErrIO], [ErrUnavailable] and [ErrInternal] the outcome of an append is unknown. Who gives
events an ID can append them again: what is stored already is not stored twice.

# Observing

[WithObserver] tells an [Observer] of every append, read, wait, decision and retry. [SlogObserver]
logs them, [Counters] counts them, and the module oteldcb beside this package makes traces and
metrics of OpenTelemetry of them:

	go get github.com/libdcb/libdcb/bindings/go/oteldcb

	store, err := dcb.Open("sqlite:courses.db", dcb.WithObserver(oteldcb.NewObserver()))

# Linking

The package calls the C library libdcb through cgo and finds it with pkg-config. A build needs cgo
(CGO_ENABLED=1), a C compiler and an installed libdcb. With the build tag dcb_static the library becomes
part of the program.

Each release of the package needs the libdcb of the same release or a newer one. With an older header the
package does not compile, and if an older library, or one with another ABI, is loaded, opening a store
fails with a message that names both versions. [Version] returns the version that is loaded.

Update both together: install libdcb first, then update this module. After an update of libdcb alone, Go's
build cache may reuse what was compiled and linked with the old one, since the cache does not look at C
libraries. The option -a of go build, or go clean -cache, makes it build everything again.
*/
package dcb

/*
Package dcb is an event store with Dynamic Consistency Boundaries (https://dcb.events).

All events of a bounded context form one sequence. An event has a type, a payload, and tags that say what
it is about; one event may be about several things. There are no streams. A query selects the events that
a decision depends on, and an append condition guards exactly those events.

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

Once Append returns nil, the events are durable. The first event of a store has position 1, and each
further event has the next number. [Store.AppendEvents] returns the positions.

# Queries

A query has one or more items. It selects an event that matches at least one of them. An item matches an
event that has one of its types and all of its tags.

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

[FromPosition], [Before], [Limit] and [Backwards] restrict a read. [Store.Events] reads results that are
too large for a slice, and [Store.Subscribe] goes on with new events as they are appended. To resume a
subscription after a restart, store the position of the last event that was processed.

[Store.SubscribeBatches] returns the events in batches and says when it has caught up. The package
projector, beside this one, keeps tables of the program up to date with the events.

# Decisions

A decision reads events, decides, and appends new ones on the condition that no other event which the
query selects was stored after the read:

	err = store.Append(ctx, decided, dcb.AppendCondition{FailIfEventsMatch: query, After: position})
	if errors.Is(err, dcb.ErrAppendConditionFailed) {
		// another append came first: read again, decide again
	}

[CommandHandler] does this for a [Decider], which says what to read, what the events mean, and which
events follow. If the decision depends on several questions, each can be a [Projection] of its own.
[Compose] joins them, and [Decide] runs the decision:

	model := dcb.Compose(
		dcb.PartOf(courseExists("c1"), func(m *model) *bool { return &m.exists }),
		dcb.PartOf(seatsTaken("c1"), func(m *model) *int { return &m.taken }),
	)
	decision, err := dcb.Decide(ctx, store, model, func(m model) ([]dcb.Event, error) { ... })

The Projection of a [Decider] makes such a model for each command. One that has to see a long history can remember the
states of the queries that were used last: see [Decider.Cached].

A projection or a decider that needs only the newest events says so with its Last or Since, and a decision reads no
others. The append is still conditional on all events of the query:

	lastNumber := dcb.Projection[int]{Query: invoices, Last: 1, Evolve: numberOf}

A [Decision] has the positions of the events. A decision whose append conflicts is made again until the deadline
of the context, or for ten seconds if it has none: see [RetryPolicy]. Of the decisions that have lost, the
oldest goes next. One that gives up returns a [RetryError], which is also an [ErrAppendConditionFailed].

A client that got no answer asks again, and must not be told that its own first attempt is in the way. With
[WithRequestID], a decision is made once for each id, and a retry returns the result of the first one.
[DecideValue] is for a decision that has more to return than the positions of its events:

	number, decision, err := dcb.DecideValue(ctx, store, lastNumber, func(last int) ([]dcb.Event, int, error) {
		...
	}, dcb.WithRequestID(r.Header.Get("Idempotency-Key")))

# Payloads

Data is encoded by [encoding/json] and decoded as [json.Unmarshal] decodes into an any. With a [Registry],
it is decoded into Go types. Events are never changed, but types are: [RegisterOld] reads the events of an old
type as those of a newer one, and [RegisterFunc] those of all versions of one type. [Store.ReadRaw], [Store.RawEvents] and [Store.SubscribeRaw] return the bytes
as they were stored, which is fastest.

# Errors

Every failure of the library is an [*Error]; [errors.Is] with the errors of this package tests its kind. A
failed condition is an expected outcome, and its error has the position of the event that made it fail. If
a context ended a call, the error also wraps the context's error.

After [ErrIO], [ErrUnavailable] and [ErrInternal] the outcome of an append is unknown. Events with an ID
can be appended again safely: stored events are not stored twice. [Store.AppendEvents] says what a
repeated append is compared by.

# Your own database

Events may be stored in a database that the program has open with a driver of its own, beside its other
tables: [NewSQLiteStoreFromDB] takes the *sql.DB. [WithTx] makes a decision in one transaction with statements of
the program's own, so that events and rows are committed together:

	decision, err := handler.Run(ctx, cmd, dcb.WithTx(func(tx *sql.Tx, decision dcb.Decision) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO bookings (position) VALUES (?)", decision.First)
		return err
	}))

[SQLiteStore.InTx] runs a transaction of the program that queues with the appends, and runs it again if the
database was busy. [SQLiteStore.AppendTx] appends in it, or in a transaction that the program begins itself:

	err := store.InTx(ctx, func(tx *sql.Tx) error {
		if err := store.AppendTx(ctx, tx, events, condition); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE seats SET taken = taken + 1 WHERE course = 'c1'")
		return err
	})

# Testing

[NewMemoryStore] is a store for tests. Package dcbtest tests a decider by the events given, the command, and the events
or the error that follow, and has stores with a clock that the test moves, or that fail when the test says so.

# Observing

[WithObserver] reports every append, read, wait, decision and retry to an [Observer]. [SlogObserver] logs
them, [Counters] counts them, and the module oteldcb makes OpenTelemetry traces and metrics of them:

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

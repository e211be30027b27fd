/*
Package projector keeps read models: tables of the program's own that are computed from events.

A [Projector] reads the events of a query in the order of their positions and calls a function with each
of them and a transaction on the program's database. The position that it has reached, its checkpoint, is
a row in the same database and is written in the same transaction. So every event is applied exactly once,
whatever is killed at whatever moment.

	seats := &projector.Projector{
		Name:  "seats",
		Query: dcb.NewQuery(dcb.QueryItem{Types: []string{"SeatBooked"}}),
		Store: store,
		DB:    db,
		Handle: func(ctx context.Context, tx *sql.Tx, event dcb.SequencedEvent) error {
			_, err := tx.ExecContext(ctx, "UPDATE seats SET taken = taken + 1")
			return err
		},
	}
	if err := seats.CreateTables(ctx); err != nil {
		return err
	}
	return seats.Run(ctx)

The package uses only database/sql. The database may be that of the store, another SQLite file, or a
PostgreSQL database: see [Dialect]. A pgx pool gives its *sql.DB by OpenDBFromPool of
github.com/jackc/pgx/v5/stdlib.

# The lease

Any number of processes may run a projector of the same name. One of them applies events; the others wait
until it stops or its lease ends. Each lease has a higher fencing number than the one before. Every
transaction begins with an update of the checkpoint that names this number, and is rolled back if no row
has it. So a process that was suspended and has lost its lease cannot commit, however late it wakes up.

No clock is compared with that of another machine: a process that waits takes the lease over when it has
seen no sign of life in the checkpoint for as long as a lease lasts. A PostgreSQL server is told to end a
transaction that is idle for so long, so that a process which was suspended in one does not keep the row locked.

# Failures

If Handle returns an error, the transaction is rolled back, and the events of the batch are applied one by
one. The event that fails is tried again as [Projector.Attempts] says. Then [Projector.OnFailure] decides:
[Stop] ends Run, [Park] sets the event aside in a table and goes on, [Retry] never gives up.
[Projector.Parked], [Projector.Replay] and [Projector.Discard] deal with the events that were set aside.

# Rebuilding

A read model can be computed again beside the one in use. Give the new one a higher [Projector.Version] and
tables of its own, run it until it has caught up, and call [Projector.Switch]. To compute a read model again
in place, call [Projector.Reset].

# A history that was rewound

The checkpoint also has a fingerprint of its event. If the store has another event at this position, or
none, because it was restored from an older backup for instance, Run fails with [dcb.ErrHistoryRewound]
rather than leave events out.
*/
package projector

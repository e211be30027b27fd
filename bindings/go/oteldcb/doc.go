/*
Package oteldcb tells OpenTelemetry what an event store does: traces and metrics of a
[dcb.Store], through the API only, so that a program without an SDK pays next to nothing.

	store, err := dcb.Open("sqlite:courses.db", dcb.WithObserver(oteldcb.NewObserver()))

It is a module of its own, so that the base has no dependency.

# Traces

A span is within that of the context which its call was given.

	append    kind client: an append
	read      kind client: a read, to its last event; the loop over the events is a part of it
	decide    kind internal: CommandHandler.Handle or dcb.Decide, with the reads and appends in it

A retry is an event of the decision's span, dcb.retry. A wait has no span, since a subscription may
wait for days. The names of spans have the store's name behind them if [WithNamespace] gives one.

The attributes are those of the semantic conventions for database clients, where these have one:

	db.system.name              libdcb
	db.namespace                the store's name, if given
	db.operation.name           append, read, decide
	db.operation.batch.size     of an append: how many events, if several
	db.response.returned_rows   of a read: how many events
	db.response.status_code     how it failed, as the library names it: condition_failed, busy, ...
	error.type                  the same, but where that is an expected outcome
	dcb.position                of an append: that of its last event; of a read: how far it came
	dcb.events                  of a decision: how many events it appended
	dcb.attempts                of a decision: how often it was made

A failed condition is an expected outcome, and so is what the caller's context brought about, and a
refusal, which is an error of the decision's own function: their spans do not have the status Error.

# Metrics

	db.client.operation.duration      histogram, s        of appends, reads, waits and decisions
	db.client.response.returned_rows  histogram, {row}    events of each read
	dcb.append.events                 counter, {event}    events appended
	dcb.append.conflicts              counter, {append}   appends whose condition failed
	dcb.decide.retries                counter, {retry}    decisions made again for it

They have db.system.name, db.namespace and db.operation.name, and where an operation failed
db.response.status_code and error.type, as above.
*/
package oteldcb

/*
Package oteldcb reports what an event store does to OpenTelemetry, as traces and metrics of a [dcb.Store]. It
uses the OpenTelemetry API only, so a program without an SDK pays next to nothing.

	store, err := dcb.Open("sqlite:courses.db", dcb.WithObserver(oteldcb.NewObserver()))

It is a module of its own, so that package dcb has no dependencies.

# Traces

The parent of a span is the span in the context of the call.

	append    kind client: an append
	read      kind client: a read until its last event, including the body of a loop over its events
	decide    kind internal: CommandHandler.Handle or dcb.Decide, with its reads and appends

A retry is the event dcb.retry of the decision's span. A wait has no span, since a subscription may wait for
days. With [WithNamespace], the name of the store follows the name of each span.

The attributes are those of the semantic conventions for database clients where there is one:

	db.system.name              libdcb
	db.namespace                the name of the store, if given
	db.operation.name           append, read or decide
	db.operation.batch.size     append: the number of events, if more than one
	db.response.returned_rows   read: the number of events
	db.response.status_code     the status of a failure, such as condition_failed or busy
	error.type                  the same, unless the failure is an expected outcome
	dcb.position                append: the position of the last event; read: the position of its result
	dcb.events                  decide: the number of events appended
	dcb.attempts                decide: the number of attempts

A failed condition is an expected outcome, and so are the end of the caller's context and a command that the
decision rejected. The spans of these do not have the status Error.

# Metrics

	db.client.operation.duration      histogram, s        duration of appends, reads, waits and decisions
	db.client.response.returned_rows  histogram, {row}    events of each read
	dcb.append.events                 counter, {event}    events appended
	dcb.append.conflicts              counter, {append}   appends whose condition failed
	dcb.decide.retries                counter, {retry}    decisions made again after a failed condition

They have the attributes db.system.name, db.namespace and db.operation.name, and for an operation that
failed also db.response.status_code and error.type, as above.
*/
package oteldcb

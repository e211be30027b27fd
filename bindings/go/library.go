package dcb

// #include <dcb.h>
import "C"

// The limits of a request. Past one of them it fails with [ErrTooLarge]; nothing is ever cut short.
const (
	// MaxNameBytes is how long a type, a tag or an id may be, in bytes of UTF-8.
	MaxNameBytes = C.DCB_MAX_NAME_BYTES
	// MaxEventsPerAppend is how many events an append may have.
	MaxEventsPerAppend = C.DCB_MAX_EVENTS_PER_APPEND
	// MaxTagsPerEvent is how many tags an event may be given.
	MaxTagsPerEvent = C.DCB_MAX_TAGS_PER_EVENT
	// MaxItemsPerQuery is how many items a query may have.
	MaxItemsPerQuery = C.DCB_MAX_ITEMS_PER_QUERY
	// MaxNamesPerQuery is how many types and tags the items of a query may have, all together.
	MaxNamesPerQuery = C.DCB_MAX_NAMES_PER_QUERY
	// MaxConditionsPerAppend is how many conditions an append may have.
	MaxConditionsPerAppend = C.DCB_MAX_CONDITIONS_PER_APPEND
	// MaxDataBytes is how long an event's encoded data may be, and its metadata.
	MaxDataBytes = C.DCB_MAX_DATA_BYTES
	// MaxRequestBytes is how long an append may be, encoded.
	MaxRequestBytes = C.DCB_MAX_REQUEST_BYTES
	// MaxJSONDepth is how deep data and metadata may be nested; their place in the request counts.
	MaxJSONDepth = C.DCB_MAX_JSON_DEPTH
)

// Version is the version of the library that this program runs with.
func Version() string {
	return C.GoString(C.dcb_version())
}

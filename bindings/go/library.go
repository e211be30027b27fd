package dcb

// #include "library.h"
import "C"

import (
	"fmt"
	"sync"
)

// The limits of a request. A request beyond one of them fails with [ErrTooLarge]; nothing is truncated.
const (
	// MaxNameBytes is the maximum length of a type, a tag or an id, in bytes of UTF-8.
	MaxNameBytes = C.DCB_MAX_NAME_BYTES
	// MaxEventsPerAppend is the maximum number of events in an append.
	MaxEventsPerAppend = C.DCB_MAX_EVENTS_PER_APPEND
	// MaxTagsPerEvent is the maximum number of tags on an event, counting repeated ones.
	MaxTagsPerEvent = C.DCB_MAX_TAGS_PER_EVENT
	// MaxItemsPerQuery is the maximum number of items in a query.
	MaxItemsPerQuery = C.DCB_MAX_ITEMS_PER_QUERY
	// MaxNamesPerQuery is the maximum number of types and tags in all items of a query together.
	MaxNamesPerQuery = C.DCB_MAX_NAMES_PER_QUERY
	// MaxConditionsPerAppend is the maximum number of conditions of an append.
	MaxConditionsPerAppend = C.DCB_MAX_CONDITIONS_PER_APPEND
	// MaxDataBytes is the maximum length of an event's encoded data, and of its encoded metadata.
	MaxDataBytes = C.DCB_MAX_DATA_BYTES
	// MaxRequestBytes is the maximum length of an encoded append.
	MaxRequestBytes = C.DCB_MAX_REQUEST_BYTES
	// MaxJSONDepth is the maximum nesting depth of data and metadata, including the levels of the
	// request around them.
	MaxJSONDepth = C.DCB_MAX_JSON_DEPTH
)

// Version returns the version of the libdcb that this program runs with, such as "0.1.0". It may be newer
// than the one that the program was built with.
func Version() string {
	return C.GoString(C.dcb_version())
}

// checkLibrary returns an error if the package cannot use the libdcb that is loaded: one that is older
// than the header that the package was compiled with, or that has another ABI.
var checkLibrary = sync.OnceValue(func() error {
	return compatible(Version(), int(C.dcb_abi_version()))
})

func compatible(version string, abi int) error {
	var major, minor, patch int
	_, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch)
	switch {
	case abi != C.DCB_ABI_VERSION:
		return &Error{Status: StatusInternal, Message: fmt.Sprintf(
			"libdcb %s is loaded, which has ABI version %d; the program was built for ABI version %d: install libdcb %s",
			version, abi, C.DCB_ABI_VERSION, C.DCB_VERSION)}
	case err != nil || versionNumber(major, minor, patch) <
		versionNumber(C.DCB_VERSION_MAJOR, C.DCB_VERSION_MINOR, C.DCB_VERSION_PATCH):
		return &Error{Status: StatusInternal, Message: fmt.Sprintf(
			"libdcb %s is loaded; the program was built for libdcb %s: install that or a newer one, or build the program again",
			version, C.DCB_VERSION)}
	}
	return nil
}

// versionNumber returns a number that orders versions.
func versionNumber(major, minor, patch int) int {
	return (major*1000+minor)*1000 + patch
}

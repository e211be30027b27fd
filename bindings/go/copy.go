package dcb

// #include "library.h"
import "C"

import (
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// sharedBytes is how many bytes events that share memory have together. An event that a program keeps keeps the others
// in memory, so this bounds what they take.
const sharedBytes = 4096

// shares is how many events are copied into the same memory, and what they need of it: the bytes of their payloads
// (data and metadata), those of their texts (ids and tags), and the number of their tags.
type shares struct {
	events, payload, text, tags int
}

// firstShares returns how many of the first views are copied together. It is at least one, however large that is.
func firstShares(views []C.dcb_event) shares {
	var all shares
	used := 0
	for i := range views {
		view := &views[i]
		payload, text := int(view.data.len)+int(view.metadata.len), int(view.id.len)
		for _, tag := range tagsOf(view) {
			text += int(tag.len)
		}
		tags := int(view.tags_len)
		used += payload + text + tags*int(unsafe.Sizeof(Tag{}))
		if used > sharedBytes && i > 0 {
			break
		}
		all = shares{all.events + 1, all.payload + payload, all.text + text, all.tags + tags}
	}
	return all
}

// copyEvents copies events out of the library's memory and appends them to dst. Events that share memory take one
// allocation for their payloads, one for their texts and one for their tags, so a program that keeps a tag keeps no
// payload. No slice reaches into the next one: its capacity is its length.
func (n *names) copyEvents(dst []RawEvent, views []C.dcb_event) []RawEvent {
	dst = slices.Grow(dst, len(views))
	for len(views) > 0 {
		size := firstShares(views)
		payload := make([]byte, 0, size.payload)
		text := make([]byte, 0, size.text)
		tags := make([]Tag, 0, size.tags)
		for i := range views[:size.events] {
			view := &views[i]
			event := RawEvent{
				Position:  int64(view.position),
				Type:      n.of(bytesOf(view._type)),
				Timestamp: time.UnixMicro(int64(view.timestamp_us)).UTC(),
			}
			event.Data, payload = appendPart(payload, view.data)
			if view.metadata.data != nil {
				event.Metadata, payload = appendPart(payload, view.metadata)
			}
			event.ID, text = appendText(text, view.id)
			if view.tags_len > 0 {
				first := len(tags)
				for _, tag := range tagsOf(view) {
					var parsed string
					parsed, text = appendText(text, tag)
					tags = append(tags, ParseTag(parsed))
				}
				event.Tags = tags[first:len(tags):len(tags)]
			}
			dst = append(dst, event)
		}
		views = views[size.events:]
	}
	return dst
}

// appendPart appends a copy of the view to block, which has the room, and returns the copy and the block.
func appendPart(block []byte, view C.dcb_str) (part json.RawMessage, longer []byte) {
	first := len(block)
	block = append(block, bytesOf(view)...)
	return json.RawMessage(block[first:len(block):len(block)]), block
}

// appendText is like appendPart, for a string. Nothing changes the bytes of a string afterwards: the block is only
// appended to, and nobody else has it.
func appendText(block []byte, view C.dcb_str) (text string, longer []byte) {
	if view.len == 0 {
		return "", block
	}
	part, block := appendPart(block, view)
	return unsafe.String(unsafe.SliceData(part), len(part)), block
}

// maxNames is how many names a store remembers, so that a program which makes types up has a bounded memory.
const maxNames = 1024

// names holds the event types that a store has read: there are few, and each occurs often. The zero names is empty.
type names struct {
	// known is replaced when a name is added, and never changed.
	known atomic.Pointer[map[string]string]
	mu    sync.Mutex // held to replace it
}

// of returns text as a string, the same one for all equal texts while there are at most maxNames of them.
func (n *names) of(text []byte) string {
	if known := n.known.Load(); known != nil {
		if name, ok := (*known)[string(text)]; ok {
			return name
		}
		if len(*known) >= maxNames {
			return string(text)
		}
	}
	return n.add(string(text))
}

func (n *names) add(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	larger := map[string]string{name: name}
	if known := n.known.Load(); known != nil {
		if same, ok := (*known)[name]; ok {
			return same
		}
		if len(*known) >= maxNames {
			return name
		}
		for other := range *known {
			larger[other] = other
		}
	}
	n.known.Store(&larger)
	return name
}

// tagsOf returns the tags of the view in place.
func tagsOf(view *C.dcb_event) []C.dcb_str {
	return unsafe.Slice(view.tags, view.tags_len)
}

// bytesOf returns the bytes of the view in place, without copying them.
func bytesOf(view C.dcb_str) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(view.data)), view.len)
}

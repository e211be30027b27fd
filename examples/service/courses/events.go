// Package courses decides who may subscribe to which course. It knows no database and no HTTP.
package courses

import dcb "github.com/libdcb/libdcb/bindings/go"

// Course is what is known of a course when it is defined.
type Course struct {
	Title    string `json:"title"`
	Capacity int    `json:"capacity"`
}

// Capacity is a new capacity of a course.
type Capacity struct {
	Capacity int `json:"capacity"`
}

// Subscription is the beginning or the end of a subscription. Its tags say all of it.
type Subscription struct{}

// Registry has the event types. It is strict: an event of a type that was forgotten here is an error, and not an
// event without a meaning.
var Registry = &dcb.Registry{Strict: true}

// These are the event types.
var (
	Defined         = dcb.Register[Course](Registry, "CourseDefined")
	CapacityChanged = dcb.Register[Capacity](Registry, "CourseCapacityChanged")
	Subscribed      = dcb.Register[Subscription](Registry, "StudentSubscribed")
	Unsubscribed    = dcb.Register[Subscription](Registry, "StudentUnsubscribed")
)

// CourseTag returns the tag of what happens to a course.
func CourseTag(id string) dcb.Tag { return dcb.Tag{Key: "course", Value: id} }

// StudentTag returns the tag of what happens to a student.
func StudentTag(id string) dcb.Tag { return dcb.Tag{Key: "student", Value: id} }

// IDs returns the course and the student that the tags of an event name, or "" for one that they do not name.
func IDs(event dcb.SequencedEvent) (course, student string) {
	for _, tag := range event.Tags {
		switch tag.Key {
		case "course":
			course = tag.Value
		case "student":
			student = tag.Value
		}
	}
	return course, student
}

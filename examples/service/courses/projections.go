package courses

import dcb "github.com/libdcb/libdcb/bindings/go"

// Each projection answers one question. A decision is composed of those that it asks.

// details answers what a course is. It is nil if the course is not defined.
func details(course string) dcb.Projection[*Course] {
	return dcb.Projection[*Course]{
		Query: dcb.NewQuery(dcb.QueryItem{
			Types: []string{Defined.Name(), CapacityChanged.Name()},
			Tags:  []dcb.Tag{CourseTag(course)},
		}),
		Evolve: func(known *Course, event dcb.SequencedEvent) *Course {
			if defined, ok := Defined.Of(event); ok {
				return &defined
			}
			if changed, ok := CapacityChanged.Of(event); ok {
				return &Course{Title: known.Title, Capacity: changed.Capacity}
			}
			return known
		},
	}
}

// seatsTaken answers how many students are subscribed to a course.
func seatsTaken(course string) dcb.Projection[int] {
	return subscriptions(CourseTag(course))
}

// coursesTaken answers how many courses a student is subscribed to.
func coursesTaken(student string) dcb.Projection[int] {
	return subscriptions(StudentTag(student))
}

// isSubscribed answers, by 1 or 0, whether a student is subscribed to a course.
func isSubscribed(student, course string) dcb.Projection[int] {
	return subscriptions(StudentTag(student), CourseTag(course))
}

// subscriptions counts the subscriptions with the tags that have begun and not ended.
func subscriptions(tags ...dcb.Tag) dcb.Projection[int] {
	return dcb.Projection[int]{
		Query: dcb.NewQuery(dcb.QueryItem{
			Types: []string{Subscribed.Name(), Unsubscribed.Name()},
			Tags:  tags,
		}),
		Evolve: func(n int, event dcb.SequencedEvent) int {
			if event.Type == Unsubscribed.Name() {
				return n - 1
			}
			return n + 1
		},
	}
}

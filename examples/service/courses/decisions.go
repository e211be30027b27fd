package courses

import dcb "github.com/libdcb/libdcb/bindings/go"

// MaxCourses is how many courses a student may be subscribed to at the same time.
const MaxCourses = 3

// Rejection is the reason why a command is rejected.
type Rejection string

// Error returns the reason.
func (r Rejection) Error() string { return string(r) }

// These are the rejections.
const (
	ErrInvalid       Rejection = "a course needs an id, a title and a capacity of at least 1, and a student an id"
	ErrUnknownCourse Rejection = "the course does not exist"
	ErrDefined       Rejection = "the course exists already"
	ErrSeatsTaken    Rejection = "more students than that are subscribed to the course"
	ErrFull          Rejection = "the course is full"
	ErrTooMany       Rejection = "the student is subscribed to as many courses as a student may be"
	ErrSubscribed    Rejection = "the student is subscribed to the course already"
	ErrNotSubscribed Rejection = "the student is not subscribed to the course"
)

// Define is the command to define a course.
type Define struct {
	ID string `json:"id"`
	Course
}

// Defining decides whether a course can be defined: its id must be new.
var Defining = dcb.Decider[*Course, Define]{
	Projection: func(cmd Define) dcb.Projection[*Course] { return details(cmd.ID) },
	Decide: func(known *Course, cmd Define) ([]dcb.Event, error) {
		switch {
		case cmd.ID == "" || cmd.Title == "" || cmd.Capacity < 1:
			return nil, ErrInvalid
		case known != nil:
			return nil, ErrDefined
		}
		return []dcb.Event{Defined.New(cmd.Course, CourseTag(cmd.ID))}, nil
	},
}

// ChangeCapacity is the command to change the capacity of a course.
type ChangeCapacity struct {
	Course   string
	Capacity int
}

// Seats is what a decision knows of a course and its students.
type Seats struct {
	Course *Course
	Taken  int
}

// ChangingCapacity decides whether a course can have another capacity: nobody loses a seat.
var ChangingCapacity = dcb.Decider[Seats, ChangeCapacity]{
	Projection: func(cmd ChangeCapacity) dcb.Projection[Seats] {
		return dcb.Compose(
			dcb.PartOf(details(cmd.Course), func(s *Seats) **Course { return &s.Course }),
			dcb.PartOf(seatsTaken(cmd.Course), func(s *Seats) *int { return &s.Taken }))
	},
	Decide: func(s Seats, cmd ChangeCapacity) ([]dcb.Event, error) {
		switch {
		case cmd.Capacity < 1:
			return nil, ErrInvalid
		case s.Course == nil:
			return nil, ErrUnknownCourse
		case s.Taken > cmd.Capacity:
			return nil, ErrSeatsTaken
		case s.Course.Capacity == cmd.Capacity:
			return nil, nil
		}
		return []dcb.Event{CapacityChanged.New(Capacity{cmd.Capacity}, CourseTag(cmd.Course))}, nil
	},
}

// Subscribe is the command to subscribe a student to a course.
type Subscribe struct {
	Course, Student string
}

// Enrolment is what a decision knows of a course and a student.
type Enrolment struct {
	Seats
	Courses    int // of the student
	Subscribed int // 1 if the student is subscribed to the course
}

// Subscribing decides whether a student can subscribe to a course. One rule is about the course and another about the
// student, so the decision reads the events of both, and no other.
var Subscribing = dcb.Decider[Enrolment, Subscribe]{
	Projection: func(cmd Subscribe) dcb.Projection[Enrolment] {
		return dcb.Compose(
			dcb.PartOf(details(cmd.Course), func(e *Enrolment) **Course { return &e.Course }),
			dcb.PartOf(seatsTaken(cmd.Course), func(e *Enrolment) *int { return &e.Taken }),
			dcb.PartOf(coursesTaken(cmd.Student), func(e *Enrolment) *int { return &e.Courses }),
			dcb.PartOf(isSubscribed(cmd.Student, cmd.Course), func(e *Enrolment) *int { return &e.Subscribed }))
	},
	Decide: func(e Enrolment, cmd Subscribe) ([]dcb.Event, error) {
		switch {
		case e.Course == nil:
			return nil, ErrUnknownCourse
		case e.Subscribed > 0:
			return nil, ErrSubscribed
		case e.Taken >= e.Course.Capacity:
			return nil, ErrFull
		case e.Courses >= MaxCourses:
			return nil, ErrTooMany
		}
		return []dcb.Event{Subscribed.New(Subscription{}, CourseTag(cmd.Course), StudentTag(cmd.Student))}, nil
	},
}

// Unsubscribe is the command to end a subscription.
type Unsubscribe struct {
	Course, Student string
}

// Unsubscribing decides whether a subscription can end: there must be one.
var Unsubscribing = dcb.Decider[int, Unsubscribe]{
	Projection: func(cmd Unsubscribe) dcb.Projection[int] { return isSubscribed(cmd.Student, cmd.Course) },
	Decide: func(subscribed int, cmd Unsubscribe) ([]dcb.Event, error) {
		if subscribed == 0 {
			return nil, ErrNotSubscribed
		}
		return []dcb.Event{Unsubscribed.New(Subscription{}, CourseTag(cmd.Course), StudentTag(cmd.Student))}, nil
	},
}

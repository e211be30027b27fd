package courses

import (
	"testing"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/bindings/go/dcbtest"
)

func defined(course string, capacity int) dcb.Event {
	return Defined.New(Course{"A course", capacity}, CourseTag(course))
}

func subscribed(student, course string) dcb.Event {
	return Subscribed.New(Subscription{}, CourseTag(course), StudentTag(student))
}

func unsubscribed(student, course string) dcb.Event {
	return Unsubscribed.New(Subscription{}, CourseTag(course), StudentTag(student))
}

func changed(course string, capacity int) dcb.Event {
	return CapacityChanged.New(Capacity{capacity}, CourseTag(course))
}

func TestDefining(t *testing.T) {
	empty := dcbtest.For(t, Defining, dcb.WithRegistry(Registry))
	empty.When(Define{"c1", Course{"A course", 2}}).Then(defined("c1", 2))
	empty.When(Define{"c1", Course{"A course", 0}}).ThenError(ErrInvalid)
	empty.When(Define{"c1", Course{"", 2}}).ThenError(ErrInvalid)
	empty.Given(defined("c1", 2)).When(Define{"c1", Course{"Another", 3}}).ThenError(ErrDefined)
	empty.Given(defined("c1", 2)).When(Define{"c2", Course{"A course", 3}}).Then(defined("c2", 3))
}

func TestChangingCapacity(t *testing.T) {
	empty := dcbtest.For(t, ChangingCapacity, dcb.WithRegistry(Registry))
	empty.When(ChangeCapacity{"c1", 3}).ThenError(ErrUnknownCourse)
	two := empty.Given(defined("c1", 2), subscribed("s1", "c1"), subscribed("s2", "c1"))
	two.When(ChangeCapacity{"c1", 3}).Then(changed("c1", 3))
	two.When(ChangeCapacity{"c1", 2}).Then()
	two.When(ChangeCapacity{"c1", 0}).ThenError(ErrInvalid)
	two.When(ChangeCapacity{"c1", 1}).ThenError(ErrSeatsTaken)
	two.Given(unsubscribed("s1", "c1")).When(ChangeCapacity{"c1", 1}).Then(changed("c1", 1))
}

func TestSubscribing(t *testing.T) {
	empty := dcbtest.For(t, Subscribing, dcb.WithRegistry(Registry))
	empty.When(Subscribe{"c1", "s1"}).ThenError(ErrUnknownCourse)

	one := empty.Given(defined("c1", 1))
	one.When(Subscribe{"c1", "s1"}).Then(subscribed("s1", "c1"))
	full := one.Given(subscribed("s1", "c1"))
	full.When(Subscribe{"c1", "s1"}).ThenError(ErrSubscribed)
	full.When(Subscribe{"c1", "s2"}).ThenError(ErrFull)
	full.Given(changed("c1", 2)).When(Subscribe{"c1", "s2"}).Then(subscribed("s2", "c1"))
	full.Given(unsubscribed("s1", "c1")).When(Subscribe{"c1", "s2"}).Then(subscribed("s2", "c1"))

	busy := one.Given(subscribed("s1", "c2"), subscribed("s1", "c3"), subscribed("s1", "c4"))
	busy.When(Subscribe{"c1", "s1"}).ThenError(ErrTooMany)
	busy.Given(unsubscribed("s1", "c3")).When(Subscribe{"c1", "s1"}).Then(subscribed("s1", "c1"))
}

func TestUnsubscribing(t *testing.T) {
	empty := dcbtest.For(t, Unsubscribing, dcb.WithRegistry(Registry))
	empty.When(Unsubscribe{"c1", "s1"}).ThenError(ErrNotSubscribed)
	one := empty.Given(subscribed("s1", "c1"))
	one.When(Unsubscribe{"c1", "s1"}).Then(unsubscribed("s1", "c1"))
	one.Given(unsubscribed("s1", "c1")).When(Unsubscribe{"c1", "s1"}).ThenError(ErrNotSubscribed)
}

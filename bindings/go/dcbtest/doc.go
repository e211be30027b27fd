/*
Package dcbtest helps to test what decides with package dcb: deciders, without setting up a store, and services, on a
store that fails when the test says so.

	func TestTheLastSeatIsTakenOnce(t *testing.T) {
		dcbtest.For(t, booking).
			Given(defined("c1", 1), booked("c1", "s1")).
			When(Book{Course: "c1", Student: "s2"}).
			ThenError(ErrFull)
	}

A [ClockStore] has a clock that the test moves. A [FaultyStore] shows whether a service survives a conflict, a busy store, and an answer that is lost.
*/
package dcbtest

// Course subscriptions, decided by many threads of many processes at once, in Go.
//
// The problem: a course has a number of seats, a student takes at most five courses, and nobody
// takes a course twice. Each rule spans events of a course or events of a student, and a
// subscription is an event of both; so no lock on "the course" or "the student" is enough.
//
// The answer: a subscription is decided on what a query found, and appended on the condition that
// nothing new matches that query. If something does, somebody was faster: read again, decide again.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/libdcb/libdcb/bindings/go"
)

const (
	courses           = 8
	seatsEach         = 12
	students          = 40
	coursesPerStudent = 5

	threads  = 4
	attempts = 60
)

type outcome int

const (
	subscribed outcome = iota
	courseFull
	fiveCourses
	subscribedAlready
	outcomes
)

// --- The decision -------------------------------------------------------------------------------

// model is what has to be known to decide whether a student may take a course.
type model struct {
	seats, seatsTaken, coursesOfStudent int
	subscribedAlready                   bool
}

// subscribe subscribes a student to a course if the rules allow it.
func subscribe(ctx context.Context, store dcb.EventStore, course, student dcb.Tag, conflicts *int) (outcome, error) {
	query := dcb.NewQuery(
		dcb.QueryItem{Types: []string{"CourseDefined", "StudentSubscribed"}, Tags: []dcb.Tag{course}},
		dcb.QueryItem{Types: []string{"StudentSubscribed"}, Tags: []dcb.Tag{student}},
	)
	for ; ; *conflicts++ {
		events, position, err := store.Read(ctx, query)
		if err != nil {
			return 0, err
		}
		var m model
		for _, event := range events {
			if event.Type == "CourseDefined" {
				m.seats = int(event.Data.(map[string]any)["seats"].(float64))
				continue
			}
			ofCourse := event.HasTag(course.Key, course.Value)
			ofStudent := event.HasTag(student.Key, student.Value)
			if ofCourse {
				m.seatsTaken++
			}
			if ofStudent {
				m.coursesOfStudent++
			}
			m.subscribedAlready = m.subscribedAlready || ofCourse && ofStudent
		}
		switch {
		case m.subscribedAlready:
			return subscribedAlready, nil
		case m.coursesOfStudent >= coursesPerStudent:
			return fiveCourses, nil
		case m.seatsTaken >= m.seats:
			return courseFull, nil
		}
		err = store.Append(ctx, []dcb.Event{{
			Type: "StudentSubscribed",
			Tags: []dcb.Tag{course, student},
			Data: map[string]string{"by": "Go"},
		}}, dcb.AppendCondition{FailIfEventsMatch: query, After: position})
		if !errors.Is(err, dcb.ErrAppendConditionFailed) {
			return subscribed, err
		}
	}
}

// define defines a course, unless it is defined.
func define(ctx context.Context, store dcb.EventStore, course dcb.Tag, seats int) error {
	err := store.Append(ctx, []dcb.Event{{
		Type: "CourseDefined",
		Tags: []dcb.Tag{course},
		Data: map[string]int{"seats": seats},
	}}, dcb.AppendCondition{FailIfEventsMatch: dcb.NewQuery(
		dcb.QueryItem{Types: []string{"CourseDefined"}, Tags: []dcb.Tag{course}},
	)})
	if errors.Is(err, dcb.ErrAppendConditionFailed) {
		return nil
	}
	return err
}

// --- The fight for the seats --------------------------------------------------------------------

func fight(ctx context.Context, store *dcb.Store, process int) error {
	// The head rises above the courses when the subscriptions are opened.
	if _, err := store.Wait(ctx, courses); err != nil {
		return err
	}
	var counts [threads][outcomes]int
	var conflicts [threads]int
	var failures [threads]error
	var group sync.WaitGroup
	for i := range threads {
		group.Add(1)
		go func() {
			defer group.Done()
			random := rand.New(rand.NewSource(int64(process*100 + i)))
			for range attempts {
				course := dcb.Tag{Key: "course", Value: fmt.Sprint("c", random.Intn(courses)+1)}
				student := dcb.Tag{Key: "student", Value: fmt.Sprint("s", random.Intn(students)+1)}
				result, err := subscribe(ctx, store, course, student, &conflicts[i])
				if err != nil {
					failures[i] = err
					return
				}
				counts[i][result]++
				time.Sleep(time.Duration(random.Intn(2000)) * time.Microsecond)
			}
		}()
	}
	group.Wait()
	var sum [outcomes]int
	allConflicts := 0
	for i := range threads {
		for k := range sum {
			sum[k] += counts[i][k]
		}
		allConflicts += conflicts[i]
	}
	fmt.Printf("  %-4s process %d  %10d  %11d  %12d  %7d  %13d\n", "Go", process,
		sum[subscribed], sum[courseFull], sum[fiveCourses], sum[subscribedAlready], allConflicts)
	return errors.Join(failures[:]...)
}

// --- Timings ------------------------------------------------------------------------------------

// measure has each thread fill one course of twelve seats after the other with new students.
func measure(ctx context.Context, store *dcb.Store, threads int, limit time.Duration) error {
	start := time.Now()
	decisions := make([]int, threads)
	failures := make([]error, threads)
	var group sync.WaitGroup
	for number := range threads {
		group.Add(1)
		go func() {
			defer group.Done()
			conflicts := 0
			for n := 0; time.Since(start) < limit && failures[number] == nil; n++ {
				name := fmt.Sprintf("Go-%d-%d", number, n)
				course := dcb.Tag{Key: "course", Value: name}
				failures[number] = define(ctx, store, course, seatsEach)
				for i := 0; i < seatsEach && failures[number] == nil; i++ {
					student := dcb.Tag{Key: "student", Value: fmt.Sprint(name, "-", i)}
					_, failures[number] = subscribe(ctx, store, course, student, &conflicts)
					decisions[number]++
				}
			}
		}()
	}
	group.Wait()
	sum := 0
	for _, n := range decisions {
		sum += n
	}
	fmt.Printf("%.0f\n", float64(sum)/time.Since(start).Seconds())
	return errors.Join(failures...)
}

func run(arguments []string) (err error) {
	if len(arguments) < 2 {
		return errors.New("usage: demo-go URI fight PROCESS | measure THREADS SECONDS")
	}
	store, err := dcb.Open(arguments[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	numbers := make([]float64, 2)
	for i, argument := range arguments[2:] {
		if numbers[i], err = strconv.ParseFloat(argument, 64); err != nil {
			return err
		}
	}
	switch arguments[1] {
	case "fight":
		return fight(context.Background(), store, int(numbers[0]))
	case "measure":
		limit := time.Duration(numbers[1] * float64(time.Second))
		return measure(context.Background(), store, int(numbers[0]), limit)
	default:
		return fmt.Errorf("no job %q", arguments[1])
	}
}

func main() {
	// A goroutine that waits in the library, for the disk or for others, keeps one of Go's processors until the
	// runtime notices.
	runtime.GOMAXPROCS(4 * runtime.NumCPU())
	if err := run(os.Args[1:]); err != nil {
		log.Fatal("demo: ", err)
	}
}

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	dcb "github.com/libdcb/libdcb/bindings/go"
	"github.com/libdcb/libdcb/examples/service/courses"
)

// answered is a command, and the answer that its client got in the end.
type answered struct {
	method, path, key string
	course            string
	status            int
	position          int64
}

// request returns the id that the service gives to the command.
func (a answered) request() string { return a.method + " " + a.path + " " + a.key }

// letterRow is a row of the table letter.
type letterRow struct {
	position        int64
	student, course string
}

// outcomes is all that is left of a run of the service.
type outcomes struct {
	events     []dcb.SequencedEvent
	answers    []answered
	courses    []courseRow
	enrolments []courses.Subscribe
	letters    []letterRow
	// live has the positions of the updates that a client got, by course.
	live map[string][]int64
}

// load reads the database.
func (o *outcomes) load(t testing.TB, uri string) {
	ctx := context.Background()
	store, err := openStore(ctx, uri)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if o.events, _, err = store.events.Read(ctx, dcb.QueryAll()); err != nil {
		t.Fatal(err)
	}
	if o.courses, err = store.courseRows(ctx, "TRUE"); err != nil {
		t.Fatal(err)
	}
	scan := func(query string, row func(scan func(...any) error) error) {
		rows, err := store.db.QueryContext(ctx, query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() && err == nil {
			err = row(rows.Scan)
		}
		if err == nil {
			err = rows.Err()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	scan("SELECT student, course FROM enrolment", func(scan func(...any) error) error {
		var e courses.Subscribe
		defer func() { o.enrolments = append(o.enrolments, e) }()
		return scan(&e.Student, &e.Course)
	})
	scan("SELECT position, student, course FROM letter ORDER BY position", func(scan func(...any) error) error {
		var l letterRow
		defer func() { o.letters = append(o.letters, l) }()
		return scan(&l.position, &l.student, &l.course)
	})
}

// faults returns what is wrong with the outcomes, each fault as a sentence.
func (o *outcomes) faults() (faults []string) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	// The rules hold after every event, by a fold that shares nothing with that of the service.
	rows := map[string]*courseRow{}
	enrolled := map[courses.Subscribe]bool{}
	taken := map[string]int{} // by student
	live := map[string][]int64{}
	var letters []letterRow
	for i, event := range o.events {
		at := event.Position
		if at != int64(i+1) {
			wrong("event %d has position %d", i+1, at)
		}
		course, student := courses.IDs(event)
		enrolment := courses.Subscribe{Course: course, Student: student}
		live[course] = append(live[course], at)
		row := rows[course]
		switch data := event.Data.(type) {
		case courses.Course:
			if row != nil {
				wrong("event %d defines %s again", at, course)
			}
			rows[course] = &courseRow{course, data.Title, data.Capacity, 0}
			continue
		case courses.Capacity:
			if row != nil {
				row.Capacity = data.Capacity
			}
		case courses.Subscription:
			change := 1
			if event.Type == courses.Unsubscribed.Name() {
				change = -1
			} else {
				letters = append(letters, letterRow{at, student, course})
			}
			if enrolled[enrolment] != (change < 0) {
				wrong("event %d: %s and %s: %s, but they were so before", at, student, course, event.Type)
			}
			enrolled[enrolment] = change > 0
			if taken[student] += change; taken[student] > courses.MaxCourses {
				wrong("event %d: %s has %d courses", at, student, taken[student])
			}
			if row != nil {
				row.Taken += change
			}
		}
		if row = rows[course]; row == nil {
			wrong("event %d: %s is not defined", at, course)
		} else if row.Taken > row.Capacity {
			wrong("event %d: %s has %d students and a capacity of %d", at, course, row.Taken, row.Capacity)
		}
	}

	// Every acknowledged command is stored once, where the answer says, and nothing else is stored.
	stored := map[string][]int64{}
	for _, event := range o.events {
		for _, tag := range event.Tags {
			if tag.Key == "dcb_request" {
				stored[tag.String()] = append(stored[tag.String()], event.Position)
			}
		}
	}
	acknowledged := 0
	for _, a := range o.answers {
		var want []int64
		if a.position > 0 {
			acknowledged++
			want = []int64{a.position}
		}
		if got := stored[dcb.RequestTag(a.request()).String()]; !slices.Equal(got, want) {
			wrong("%s: answered with %d and position %d, stored at %v", a.request(), a.status, a.position, got)
		}
	}
	if acknowledged != len(o.events) {
		wrong("%d commands are acknowledged, %d events stored", acknowledged, len(o.events))
	}

	// What is beside the events agrees with them.
	var folded []courseRow
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		folded = append(folded, *rows[id])
	}
	if !slices.Equal(folded, o.courses) {
		wrong("the courses are %v, and in the read model %v", folded, o.courses)
	}
	maps.DeleteFunc(enrolled, func(_ courses.Subscribe, is bool) bool { return !is })
	found := map[courses.Subscribe]bool{}
	for _, enrolment := range o.enrolments {
		found[enrolment] = true
	}
	if !maps.Equal(enrolled, found) {
		wrong("the enrolments are %v, and in the read model %v", enrolled, found)
	}
	if !slices.Equal(letters, o.letters) {
		wrong("the letters are to be %v, and are %v", letters, o.letters)
	}
	for course, got := range o.live {
		if want := live[course]; !slices.Equal(got, want) {
			wrong("the live updates of %s are %v, want %v", course, got, want)
		}
	}
	return faults
}

// The checker finds each of these faults, and none in a history without one.
func TestTheCheckerFindsFaults(t *testing.T) {
	s := newService(t)
	valid := outcomes{live: map[string][]int64{"c1": {1, 3, 5, 6, 7}}}
	for i, request := range [][3]string{
		{"POST", "/courses", `{"id":"c1","title":"Go","capacity":1}`},
		{"POST", "/courses", `{"id":"c2","title":"C","capacity":2}`},
		{"POST", "/courses/c1/students/s1", ""},
		{"POST", "/courses/c2/students/s1", ""},
		{"DELETE", "/courses/c1/students/s1", ""},
		{"POST", "/courses/c1/students/s2", ""},
		{"PUT", "/courses/c1/capacity", `{"capacity":2}`},
	} {
		key := fmt.Sprint("k", i)
		if status, answer := s.send(request[0], request[1], request[2], "Idempotency-Key", key); status != 200 {
			t.Fatal(status, answer)
		}
		valid.answers = append(valid.answers, answered{request[0], request[1], key, "", 200, int64(i + 1)})
	}
	s.send("GET", "/courses?after=7", "")
	valid.load(t, s.uri)
	if faults := valid.faults(); faults != nil {
		t.Fatalf("a valid history has faults: %v", faults)
	}

	seat := func(student string) dcb.SequencedEvent {
		return dcb.SequencedEvent{Type: courses.Subscribed.Name(), Data: courses.Subscription{},
			Tags: []dcb.Tag{courses.CourseTag("c1"), courses.StudentTag(student)}}
	}
	add := func(o *outcomes, events ...dcb.SequencedEvent) {
		for _, event := range events {
			event.Position = int64(len(o.events) + 1)
			o.events = append(o.events, event)
		}
	}
	for want, spoil := range map[string]func(o *outcomes){
		"has 3 students and a capacity of 2": func(o *outcomes) { add(o, seat("s3"), seat("s4")) },
		"s1 has 4 courses": func(o *outcomes) {
			for _, id := range []string{"c3", "c4", "c5"} {
				event := seat("s1")
				event.Tags[0] = courses.CourseTag(id)
				add(o, event)
			}
		},
		"c3 is not defined":                func(o *outcomes) { o.events[3].Tags[0] = courses.CourseTag("c3") },
		"defines c1 again":                 func(o *outcomes) { add(o, o.events[0]) },
		"but they were so before":          func(o *outcomes) { add(o, seat("s2")) },
		"has position 9":                   func(o *outcomes) { o.events[6].Position = 9 },
		"stored at [7 8]":                  func(o *outcomes) { add(o, o.events[6]) },
		"stored at []":                     func(o *outcomes) { o.events = o.events[:6] },
		"answered with 409 and position 0": func(o *outcomes) { o.answers[6].status, o.answers[6].position = 409, 0 },
		"6 commands are acknowledged":      func(o *outcomes) { o.answers = o.answers[:6] },
		"in the read model [{c1 Go 2 2}":   func(o *outcomes) { o.courses[0].Taken = 2 },
		"in the read model map[{c1 s2}:true]": func(o *outcomes) {
			o.enrolments = slices.DeleteFunc(o.enrolments, func(e courses.Subscribe) bool { return e.Course == "c2" })
		},
		"the letters are to be":           func(o *outcomes) { o.letters = o.letters[1:] },
		"the live updates of c1 are [1 3": func(o *outcomes) { o.live = map[string][]int64{"c1": {1, 3, 6, 7}} },
	} {
		spoilt := valid
		spoilt.events, spoilt.answers = slices.Clone(valid.events), slices.Clone(valid.answers)
		for i := range spoilt.events {
			spoilt.events[i].Tags = slices.Clone(spoilt.events[i].Tags)
		}
		spoilt.courses, spoilt.enrolments = slices.Clone(valid.courses), slices.Clone(valid.enrolments)
		spoil(&spoilt)
		if faults := spoilt.faults(); !strings.Contains(strings.Join(faults, "\n"), want) {
			t.Errorf("%q is not among the faults: %q", want, faults)
		}
	}
}

// Course subscriptions.
//
// A course has a capacity, and a student may subscribe to at most three courses. The first rule is
// about a course and the second about a student, so no single stream of events could guard both.
// Here one decision reads the events of the course and those of the student, and one condition
// guards the append against new events of either.

#include <dcb.hpp>
#include <dcb/json.hpp>

#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr int courses_per_student = 3;

// Each projection answers one question, and can be used in other decisions, too.

dcb::projection<int> capacity_of(const std::string &course) {
    return {
        dcb::of_type("CourseDefined", "CourseCapacityChanged").tagged(dcb::tag("course", course)),
        0,
        [](int, const dcb::event_view &e) { return dcb::json_data(e).at("capacity").get<int>(); }};
}

dcb::projection<int> seats_taken_in(const std::string &course) {
    return {dcb::of_type("StudentSubscribed").tagged(dcb::tag("course", course)), 0,
            [](int seats, const dcb::event_view &) { return seats + 1; }};
}

dcb::projection<int> courses_of(const std::string &student) {
    return {dcb::of_type("StudentSubscribed").tagged(dcb::tag("student", student)), 0,
            [](int courses, const dcb::event_view &) { return courses + 1; }};
}

dcb::projection<bool> subscription(const std::string &student, const std::string &course) {
    return {dcb::of_type("StudentSubscribed")
                .tagged(dcb::tag("student", student), dcb::tag("course", course)),
            false, [](bool, const dcb::event_view &) { return true; }};
}

/// The state that the decision about a subscription needs: one member per projection.
struct subscription_state {
    int capacity = 0;
    int seats_taken = 0;
    int courses = 0;
    bool subscribed = false;
};

// If another append was faster, `decide` reads again and makes the decision again.

void define(dcb::store &store, const std::string &course, int capacity) {
    dcb::decide(store, capacity_of(course), [&](int known) {
        if (known > 0) {
            throw std::logic_error(course + " is defined already");
        }
        return std::vector{dcb::json_event("CourseDefined", {{"course", course}},
                                           nlohmann::json{{"capacity", capacity}})};
    });
}

void subscribe(dcb::store &store, const std::string &student, const std::string &course) {
    const auto model =
        dcb::compose(dcb::part_of(capacity_of(course), &subscription_state::capacity),
                     dcb::part_of(seats_taken_in(course), &subscription_state::seats_taken),
                     dcb::part_of(courses_of(student), &subscription_state::courses),
                     dcb::part_of(subscription(student, course), &subscription_state::subscribed));
    dcb::decide(store, model, [&](const subscription_state &state) {
        if (state.capacity == 0) {
            throw std::logic_error(course + " is not defined");
        }
        if (state.subscribed) {
            throw std::logic_error(student + " has a seat in " + course + " already");
        }
        if (state.seats_taken >= state.capacity) {
            throw std::logic_error(course + " is full");
        }
        if (state.courses >= courses_per_student) {
            throw std::logic_error(student + " has three courses already");
        }
        return std::vector{
            dcb::event("StudentSubscribed", {{"student", student}, {"course", course}})};
    });
}

void attempt(dcb::store &store, const std::string &student, const std::string &course) {
    try {
        subscribe(store, student, course);
        std::cout << student << " has a seat in " << course << '\n';
    } catch (const std::logic_error &e) {
        std::cout << "refused: " << e.what() << '\n';
    }
}

} // namespace

int main(int argc, char **argv) {
    dcb::store store(argc > 1 ? argv[1] : "memory:");
    define(store, "algebra", 2);
    for (const char *course : {"botany", "chemistry", "drawing"}) {
        define(store, course, 10);
    }
    attempt(store, "ann", "algebra");
    attempt(store, "ann", "algebra");
    attempt(store, "bob", "algebra");
    attempt(store, "cid", "algebra");
    attempt(store, "ann", "botany");
    attempt(store, "ann", "chemistry");
    attempt(store, "ann", "drawing");
    attempt(store, "ann", "esperanto");
}

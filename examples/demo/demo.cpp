// Course subscriptions in C++, by many threads of many processes at once.
//
// A course has a limited number of seats, a student takes at most five courses, and no student
// takes a course twice. A rule is about the events of a course or those of a student, and a
// subscription is an event of both. So a lock on the course or on the student is not enough.
//
// Here each rule is a projection. The composed projection is read in one snapshot, and returns the
// condition under which its state still holds.

#include <dcb.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int courses = 8, seats_each = 12, students = 40, courses_per_student = 5;
constexpr int thread_count = 4, attempts = 60;

enum outcome { subscribed, course_full, five_courses, subscribed_already, outcomes };

// --- The decision -------------------------------------------------------------------------------

dcb::projection<int> seats(const dcb::tag &course) {
    return {dcb::of_type("CourseDefined").tagged(course), 0, [](int, const dcb::event_view &e) {
                const std::string data(e.data()); // {"seats":12}
                return std::stoi(data.substr(data.find(':') + 1));
            }};
}

dcb::projection<int> count(dcb::query_item item) {
    return {std::move(item), 0, [](int n, const dcb::event_view &) { return n + 1; }};
}

// Subscribes a student to a course if the rules allow it.
outcome subscribe(dcb::store &store, const dcb::tag &course, const dcb::tag &student,
                  long &conflicts) {
    const auto subscriptions = dcb::of_type("StudentSubscribed");
    const auto rules = dcb::compose(seats(course), count(subscriptions.tagged(course)),
                                    count(subscriptions.tagged(student)),
                                    count(subscriptions.tagged(course, student)));
    for (;;) {
        const auto [found, unchanged] = dcb::project(store, rules);
        const auto [seats, taken, courses_taken, subscriptions_of_both] = found;
        if (subscriptions_of_both > 0) {
            return subscribed_already;
        }
        if (courses_taken >= courses_per_student) {
            return five_courses;
        }
        if (taken >= seats) {
            return course_full;
        }
        const dcb::event event("StudentSubscribed", {course, student}, R"({"by":"C++"})");
        if (store.try_append(event, unchanged)) {
            return subscribed;
        }
        ++conflicts;
    }
}

// Defines a course if it is not defined yet.
void define(dcb::store &store, const dcb::tag &course, int seats) {
    const dcb::event event("CourseDefined", {course}, R"({"seats":)" + std::to_string(seats) + "}");
    const dcb::append_condition undefined{dcb::of_type("CourseDefined").tagged(course), 0};
    static_cast<void>(store.try_append(event, undefined));
}

// --- The fight for the seats --------------------------------------------------------------------

void fight(dcb::store &store, int process) {
    // The head rises above the courses when the subscriptions begin.
    if (!store.wait(courses)) {
        return;
    }

    std::vector<std::thread> threads;
    std::array<std::array<long, outcomes>, thread_count> counts{};
    std::array<long, thread_count> conflicts{};
    for (int i = 0; i < thread_count; i++) {
        threads.emplace_back([&, i] {
            std::mt19937 random(static_cast<unsigned>(process * 100 + i));
            for (int n = 0; n < attempts; n++) {
                const dcb::tag course("course", "c" + std::to_string(random() % courses + 1));
                const dcb::tag student("student", "s" + std::to_string(random() % students + 1));
                counts[i][subscribe(store, course, student, conflicts[i])]++;
                std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
            }
        });
    }
    std::array<long, outcomes> sum{};
    long all_conflicts = 0;
    for (int i = 0; i < thread_count; i++) {
        threads[i].join();
        for (int k = 0; k < outcomes; k++) {
            sum[k] += counts[i][k];
        }
        all_conflicts += conflicts[i];
    }
    std::printf("  %-4s process %d  %10ld  %11ld  %12ld  %7ld  %13ld\n", "C++", process,
                sum[subscribed], sum[course_full], sum[five_courses], sum[subscribed_already],
                all_conflicts);
}

// --- Timings ------------------------------------------------------------------------------------

// Each thread fills courses of twelve seats with new students, one course after another.
void measure(dcb::store &store, int threads_wanted, double seconds) {
    using clock = std::chrono::steady_clock;
    const auto start = clock::now();
    const auto end =
        start + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
    std::vector<std::thread> threads;
    std::vector<long> decisions(static_cast<std::size_t>(threads_wanted));
    for (int number = 0; number < threads_wanted; number++) {
        threads.emplace_back([&, number] {
            long conflicts = 0, mine = 0;
            for (int n = 0; clock::now() < end; n++) {
                const std::string name = "C++-" + std::to_string(number) + "-" + std::to_string(n);
                const dcb::tag course("course", name);
                define(store, course, seats_each);
                for (int i = 0; i < seats_each; i++, mine++) {
                    subscribe(store, course, dcb::tag("student", name + "-" + std::to_string(i)),
                              conflicts);
                }
            }
            decisions[static_cast<std::size_t>(number)] = mine;
        });
    }
    long sum = 0;
    for (int number = 0; number < threads_wanted; number++) {
        threads[static_cast<std::size_t>(number)].join();
        sum += decisions[static_cast<std::size_t>(number)];
    }
    const std::chrono::duration<double> passed = clock::now() - start;
    std::printf("%.0f\n", static_cast<double>(sum) / passed.count());
}

} // namespace

int main(int argc, char **argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    try {
        if (arguments.size() == 3 && arguments[1] == "fight") {
            dcb::store store(arguments[0]);
            fight(store, std::stoi(arguments[2]));
        } else if (arguments.size() == 4 && arguments[1] == "measure") {
            dcb::store store(arguments[0]);
            measure(store, std::stoi(arguments[2]), std::stod(arguments[3]));
        } else {
            std::cerr << "usage: demo-cpp URI fight PROCESS | measure THREADS SECONDS\n";
            return 2;
        }
    } catch (const dcb::error &error) {
        std::cerr << "demo: " << dcb::status_name(error.status()) << ": " << error.what() << "\n";
        return 1;
    }
}

// A course has two seats. Subscribes the student that the command line names, if one is free.
#include <dcb.hpp>
#include <iostream>
#include <stdexcept>
#include <string>

using student = std::string;

int main(int argc, char **argv) try {
    dcb::decider<int, student> subscribing;
    subscribing.query = [](const student &) {
        return dcb::of_type("Subscribed").tagged("course:c1");
    };
    subscribing.evolve = [](int taken, const dcb::event_view &) { return taken + 1; };
    subscribing.decide = [](int taken, const student &who) -> std::vector<dcb::event> {
        if (taken >= 2) {
            throw std::runtime_error("the course is full");
        }
        return {dcb::event("Subscribed", {"course:c1", dcb::tag("student", who)})};
    };

    dcb::store store("sqlite:courses.db");
    const student who = argc > 1 ? argv[1] : "s1";
    dcb::command_handler(store, subscribing).handle(who); // decides again if somebody was faster
    std::cout << who << " has a seat\n";
} catch (const std::exception &error) {
    std::cout << error.what() << "\n";
    return 1;
}

// What somebody writes who has just installed the library: one guarded append and a read.

#include <dcb.hpp>

#include <iostream>

int main() {
    dcb::store store("memory:");
    const auto course = dcb::tagged("course:c1");
    store.append(dcb::event("CourseDefined", {"course:c1"}, R"({"capacity": 20})"), {course, 0});
    for (const dcb::event_view &e : store.read(course)) {
        std::cout << e.position() << ' ' << e.type() << ' ' << e.data() << '\n';
    }
    try {
        store.append(dcb::event("CourseDefined", {"course:c1"}), {course, 0});
    } catch (const dcb::condition_failed &e) {
        return e.position() == 1 ? 0 : 1;
    }
    return 1;
}

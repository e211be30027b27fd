// Test cases that are all wrong, which prove that a program notices it: notices.sh runs them.

#include "unit.hpp"

#include <dcb/store.hpp>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

TEST_SUITE_BEGIN("wrong" * doctest::skip());

TEST_CASE("a wrong position") {
    CHECK(unit::fresh_store().append(dcb::event("A")) == 2);
}

TEST_CASE("another text") {
    CHECK(dcb::tag("course", "c1").text() == std::string("course:c2"));
}

TEST_CASE("another vector") {
    CHECK(std::vector<int>{1, 2} == std::vector<int>{1, 3});
}

TEST_CASE("another status") {
    CHECK_FAILS(too_large, dcb::tag("key:"));
    CHECK_FAILS(busy, dcb::tag("key:value"));
    CHECK(dcb::status::ok == dcb::status::busy);
}

TEST_CASE("another message") {
    CHECK_THROWS_WITH_AS(dcb::tag("key:"), "another message", dcb::error);
}

TEST_CASE("one value of several") {
    for (const char *value : {"a", "b"}) {
        CAPTURE(std::string(value));
        CHECK(dcb::bare_tag(value).text() == "a");
    }
}

TEST_CASE("a check in a thread") {
    std::thread([] { CHECK(dcb::status_name(dcb::status::busy) == "ok"); }).join();
}

TEST_CASE("an exception that nobody catches") {
    throw std::runtime_error("uncaught");
}

TEST_SUITE_END();

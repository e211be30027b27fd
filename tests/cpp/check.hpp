// The test harness. Tests register themselves; a check that fails is counted, and the test goes on.

#ifndef DCB_TEST_CHECK_HPP
#define DCB_TEST_CHECK_HPP

#include <dcb/store.hpp>

#include <functional>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace check {

struct test {
    const char *name;
    void (*run)();
};

std::vector<test> &tests();

/// Records a failure of the running test. Any thread may call it.
void fail(const char *file, int line, const std::string &what);

/// Returns a new, empty store of the kind that the command line names.
dcb::store fresh_store();

/// Returns the URI of a store that nobody has opened yet.
std::string fresh_uri();

/// Returns whether a store at fresh_uri() can be closed and opened again.
bool persists();

struct registration {
    registration(const char *name, void (*run)()) { tests().push_back({name, run}); }
};

template <class T> std::string show(const T &value) {
    std::ostringstream out;
    out << value;
    return out.str();
}

template <class A, class B>
void equal(const char *file, int line, const char *text, const A &actual, const B &expected) {
    if (!(actual == expected)) {
        fail(file, line, std::string(text) + " is " + show(actual) + ", not " + show(expected));
    }
}

template <class Run>
void throws(const char *file, int line, const char *text, dcb::status expected, Run run) {
    try {
        run();
    } catch (const dcb::error &e) {
        if (e.status() != expected) {
            fail(file, line,
                 std::string(text) + " throws " + std::string(dcb::status_name(e.status())) + ": " +
                     e.what());
        }
        return;
    }
    fail(file, line, std::string(text) + " does not throw");
}

/// Checks that `run` throws a std::invalid_argument whose text contains `expected`.
template <class Run>
void throws_invalid_argument(const char *file, int line, const char *text,
                             const std::string &expected, Run run) {
    try {
        run();
    } catch (const std::invalid_argument &e) {
        if (std::string(e.what()).find(expected) == std::string::npos) {
            fail(file, line, std::string(text) + " throws: " + e.what());
        }
        return;
    }
    fail(file, line, std::string(text) + " does not throw");
}

} // namespace check

#define TEST(name)                                                                                 \
    static void name();                                                                            \
    static const check::registration name##_registration(#name, name);                             \
    static void name()

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check::fail(__FILE__, __LINE__, #condition " does not hold");                          \
        }                                                                                          \
    } while (false)

#define CHECK_EQUAL(actual, expected)                                                              \
    check::equal(__FILE__, __LINE__, #actual, (actual), (expected))

/// Checks that the expression throws a dcb::error with this status.
#define CHECK_THROWS(expected, ...)                                                                \
    check::throws(__FILE__, __LINE__, #__VA_ARGS__, dcb::status::expected,                         \
                  [&] { static_cast<void>(__VA_ARGS__); })

/// Checks that the expression throws a std::invalid_argument which says that `function` is not set.
#define CHECK_NOT_SET(function, ...)                                                               \
    check::throws_invalid_argument(__FILE__, __LINE__, #__VA_ARGS__, function " is not set",       \
                                   [&] { static_cast<void>(__VA_ARGS__); })

#endif // DCB_TEST_CHECK_HPP

// What the unit tests share: stores to test, checks of errors, and how doctest prints values.

#ifndef DCB_TEST_UNIT_HPP
#define DCB_TEST_UNIT_HPP

#include <dcb/store.hpp>

#include <doctest/doctest.h>
#ifdef DCB_TEST_SQLITE3
#include <sqlite3.h>
#endif

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace unit {

/// Returns a new, empty store of the kind that the command line names.
dcb::store fresh_store();

/// Returns the URI of a store that nobody has opened yet.
std::string fresh_uri();

/// Returns the path of a file that does not exist.
std::string fresh_path();

/// Returns whether a store at fresh_uri() can be closed and opened again.
bool persists();

#ifdef DCB_TEST_SQLITE3
/// Opens a connection to a database with a WAL, with the program's own SQLite.
sqlite3 *open_sqlite3(const std::string &path);
#endif

/// How a call ended: with the status and the message of the dcb::error that it threw, or with ok.
struct outcome {
    dcb::status status = dcb::status::ok;
    std::string message = "no exception";
};

inline bool operator==(const outcome &actual, dcb::status expected) {
    return actual.status == expected;
}

inline std::ostream &operator<<(std::ostream &out, const outcome &o) {
    return out << dcb::status_name(o.status) << " (" << o.message << ')';
}

template <class Call> outcome outcome_of(Call call) {
    try {
        call();
    } catch (const dcb::error &e) {
        return {e.status(), e.what()};
    }
    return {};
}

} // namespace unit

/// Checks that the expression throws a dcb::error with this status.
#define CHECK_FAILS(expected, ...)                                                                 \
    CHECK(unit::outcome_of([&] { static_cast<void>(__VA_ARGS__); }) == dcb::status::expected)

namespace dcb {

/// Prints a status by its name. doctest finds this function in the namespace of the enum.
inline doctest::String toString(status code) {
    return std::string(status_name(code)).c_str();
}

} // namespace dcb

/// Prints the elements of a vector.
template <class T> struct doctest::StringMaker<std::vector<T>> {
    static String convert(const std::vector<T> &values) {
        String text = "[";
        const char *separator = "";
        for (const T &value : values) {
            text += separator;
            text += toString(value);
            separator = ", ";
        }
        return text + "]";
    }
};

#endif // DCB_TEST_UNIT_HPP

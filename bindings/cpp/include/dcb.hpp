/// \file
/// libdcb for C++: an embeddable event store with Dynamic Consistency Boundaries.
///
/// Header-only C++17 over `dcb.h`. Handles are move-only and close themselves; failures are
/// exceptions, dcb::error, with a type of its own for a failed append condition,
/// dcb::condition_failed; text goes in as `std::string_view` and comes out as such. What is said of
/// durability, snapshots and threads in `dcb.h` holds here.
///
/// \code
///     dcb::store store("sqlite:courses.db");
///     const auto course = dcb::tagged("course:c1");
///     auto past = store.read_all(course);
///     store.append(dcb::event("CourseDefined", {"course:c1"}, R"({"capacity": 20})"),
///                  {course, past.position});
///     for (const dcb::event_view &e : store.read(course)) {
///         std::cout << e.position() << ' ' << e.type() << ' ' << e.data() << '\n';
///     }
/// \endcode
///
/// JSON values instead of JSON text: `dcb/json.hpp`, which needs nlohmann/json.

#ifndef DCB_HPP
#define DCB_HPP

#include <dcb/call.hpp>
#include <dcb/cursor.hpp>
#include <dcb/decider.hpp>
#include <dcb/error.hpp>
#include <dcb/event.hpp>
#include <dcb/projection.hpp>
#include <dcb/query.hpp>
#include <dcb/store.hpp>
#include <dcb/subscription.hpp>

namespace dcb {

/// The version of the library that runs, such as `0.1.0`.
inline std::string_view version() noexcept {
    return dcb_version();
}

/// The version of the C interface of the library that runs.
inline std::uint32_t abi_version() noexcept {
    return dcb_abi_version();
}

} // namespace dcb

#endif // DCB_HPP

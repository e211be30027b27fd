/// \file
/// libdcb for C++: an embeddable event store with Dynamic Consistency Boundaries.
///
/// The headers need C++17 and `dcb.h`, whose guarantees of durability, snapshots and threads apply.
/// Handles are move-only and close themselves. Failures are exceptions: dcb::error, and
/// dcb::condition_failed for a failed append condition. Texts of events are `std::string_view`s.
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
/// For JSON values instead of JSON text, include `dcb/json.hpp`, which needs nlohmann/json.

#ifndef DCB_HPP
#define DCB_HPP

#include <dcb/call.hpp>
#include <dcb/cursor.hpp>
#include <dcb/decider.hpp>
#include <dcb/decision.hpp>
#include <dcb/error.hpp>
#include <dcb/event.hpp>
#include <dcb/projection.hpp>
#include <dcb/query.hpp>
#include <dcb/request_id.hpp>
#include <dcb/store.hpp>
#include <dcb/subscription.hpp>

namespace dcb {

/// Returns the version of the library that the program runs with, such as `0.1.0`.
inline std::string_view version() noexcept {
    return dcb_version();
}

/// Returns the version of the C interface of the library that the program runs with.
inline std::uint32_t abi_version() noexcept {
    return dcb_abi_version();
}

} // namespace dcb

#endif // DCB_HPP

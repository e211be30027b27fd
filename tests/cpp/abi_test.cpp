// The frozen layout of the C interface, checked from C++.

#include "unit.hpp"

#include <dcb.hpp>
#include <dcb_host.h>

#include <cstddef>
#include <type_traits>

static_assert(sizeof(dcb_error) == 256);
static_assert(offsetof(dcb_error, status) == 0);
static_assert(offsetof(dcb_error, detail) == 4);
static_assert(offsetof(dcb_error, position) == 8);
static_assert(offsetof(dcb_error, message) == 16);
static_assert(sizeof(dcb_str) == 2 * sizeof(void *));
static_assert(sizeof(dcb_buf) == 3 * sizeof(void *));
static_assert(offsetof(dcb_event, timestamp_us) == 8);
static_assert(offsetof(dcb_event, type) == 16);
static_assert(offsetof(dcb_event, tags) == 16 + 4 * sizeof(dcb_str));
static_assert(sizeof(dcb_event) == 16 + 4 * sizeof(dcb_str) + 2 * sizeof(void *));
static_assert(offsetof(dcb_call, size) == 0);
static_assert(offsetof(dcb_call, timeout_ms) == 8);
static_assert(offsetof(dcb_call, cancel) == 16);
static_assert(sizeof(dcb_value) == 16 + sizeof(dcb_str));
static_assert(offsetof(dcb_value, bytes) == 16);
static_assert(offsetof(dcb_reply, changes) == sizeof(dcb_str));
static_assert(offsetof(dcb_reply, message) == sizeof(dcb_str) + 12);
static_assert(sizeof(dcb_host) == 8 * sizeof(void *));
static_assert(offsetof(dcb_host, release) == 7 * sizeof(void *));

template <dcb::status Cpp, int C> constexpr bool same = static_cast<int>(Cpp) == C;
static_assert(same<dcb::status::ok, DCB_OK>);
static_assert(same<dcb::status::condition_failed, DCB_CONDITION_FAILED>);
static_assert(same<dcb::status::duplicate_id, DCB_DUPLICATE_ID>);
static_assert(same<dcb::status::invalid_argument, DCB_INVALID_ARGUMENT>);
static_assert(same<dcb::status::too_large, DCB_TOO_LARGE>);
static_assert(same<dcb::status::busy, DCB_BUSY>);
static_assert(same<dcb::status::timeout, DCB_TIMEOUT>);
static_assert(same<dcb::status::cancelled, DCB_CANCELLED>);
static_assert(same<dcb::status::read_only, DCB_READ_ONLY>);
static_assert(same<dcb::status::full, DCB_FULL>);
static_assert(same<dcb::status::io, DCB_IO>);
static_assert(same<dcb::status::corrupt, DCB_CORRUPT>);
static_assert(same<dcb::status::unsupported_format, DCB_UNSUPPORTED_FORMAT>);
static_assert(same<dcb::status::closed, DCB_CLOSED>);
static_assert(same<dcb::status::unavailable, DCB_UNAVAILABLE>);
static_assert(same<dcb::status::internal, DCB_INTERNAL>);
static_assert(same<dcb::status::no_memory, DCB_NO_MEMORY>);

template <class Handle>
constexpr bool move_only =
    !std::is_copy_constructible_v<Handle> && !std::is_copy_assignable_v<Handle> &&
    std::is_nothrow_move_constructible_v<Handle> && std::is_nothrow_move_assignable_v<Handle>;
static_assert(move_only<dcb::store>);
static_assert(move_only<dcb::cursor>);
static_assert(move_only<dcb::cancel>);
static_assert(move_only<dcb::buffer>);
static_assert(move_only<dcb::subscription>);

// A query without items cannot be made, and neither can one of text that was not validated.
static_assert(!std::is_default_constructible_v<dcb::query>);
static_assert(!std::is_constructible_v<dcb::query, const char *>);
static_assert(!std::is_default_constructible_v<dcb::tag>);
static_assert(!std::is_default_constructible_v<dcb::event>);

TEST_CASE("the library has the version of its header") {
    CHECK(dcb::version() == DCB_VERSION);
    CHECK(dcb::abi_version() == static_cast<std::uint32_t>(DCB_ABI_VERSION));
}

TEST_CASE("a status has a name") {
    CHECK(dcb::status_name(dcb::status::ok) == "ok");
    CHECK(dcb::status_name(dcb::status::condition_failed) == "condition_failed");
    CHECK(dcb::status_name(dcb::status::no_memory) == "no_memory");
}

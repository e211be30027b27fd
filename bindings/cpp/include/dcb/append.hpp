/// \file
/// The events and the result of an append.

#ifndef DCB_APPEND_HPP
#define DCB_APPEND_HPP

#include <dcb/detail/request.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#if defined(__has_include) && __cplusplus > 202002L
#if __has_include(<expected>)
#include <expected>
#endif
#endif

namespace dcb {

namespace detail {
struct appender;
} // namespace detail

/// The events of an append: one event, a list in braces, or a vector. They are borrowed for the
/// call.
class event_list {
  public:
    event_list(const event &one) noexcept : events_(&one, 1) {}
    event_list(std::initializer_list<event> events) noexcept
        : events_(events.begin(), events.size()) {}
    event_list(const std::vector<event> &events) noexcept : events_(events) {}

  private:
    friend struct detail::appender;
    detail::slice<event> events_;
};

/// The result of an append such as store::try_append: either the events are stored, or a condition
/// failed.
class append_result {
  public:
    /// Returns whether the events are stored.
    explicit operator bool() const noexcept { return stored_; }

    /// Returns the position of the last event if the events are stored. If a condition failed,
    /// returns the lowest position because of which any of the conditions fails.
    [[nodiscard]] std::int64_t position() const noexcept { return position_; }

    /// Stored: whether an earlier append with the same ids had stored the events already.
    [[nodiscard]] bool is_repeated() const noexcept { return stored_ && detail_ != 0; }

    /// Refused: the index of the first condition that fails, in the order in which they were given.
    [[nodiscard]] std::size_t condition() const noexcept {
        return stored_ ? 0 : static_cast<std::size_t>(detail_);
    }

#if defined(__cpp_lib_expected)
    /// Returns position(), as a value if the events are stored, and as an error if not.
    [[nodiscard]] std::expected<std::int64_t, std::int64_t> expected() const {
        if (stored_) {
            return position_;
        }
        return std::unexpected(position_);
    }
#endif

  private:
    friend struct detail::appender;
    append_result(bool stored, std::int64_t position, std::int32_t detail) noexcept
        : position_(position), detail_(detail), stored_(stored) {}
    std::int64_t position_;
    std::int32_t detail_;
    bool stored_;
};

namespace detail {

/// Appends by a function of the library: `native(request, last, failure)` calls it.
struct appender {
    template <class Native>
    static append_result append(const event_list &list, slice<append_condition> conditions,
                                bool is_try, const Native &native) {
        const std::string request = append_request(list.events_, conditions);
        return append_request_of(request, is_try, native, &list.events_);
    }

    template <class Native>
    static append_result append_json(std::string_view request, bool is_try, const Native &native) {
        return append_request_of(request, is_try, native, nullptr);
    }

  private:
    template <class Native>
    static append_result append_request_of(std::string_view request, bool is_try,
                                           const Native &native, const slice<event> *events) {
        dcb_error failure;
        std::int64_t last = 0;
        const dcb_status code = native(request, last, failure);
        const auto status = static_cast<dcb::status>(code);
        if (is_try && status == dcb::status::condition_failed) {
            return {false, failure.position, failure.detail};
        }
        if (events != nullptr && status == dcb::status::invalid_argument) {
            throw error(status, in_callers_text(failure.message, request, *events), failure.detail);
        }
        check(code, failure);
        return {true, last, failure.detail};
    }
};

} // namespace detail
} // namespace dcb

#endif // DCB_APPEND_HPP

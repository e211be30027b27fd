/// \file
/// The store: opened by its URI, appended to, read, waited on.

#ifndef DCB_STORE_HPP
#define DCB_STORE_HPP

#include <dcb/cursor.hpp>
#include <dcb/detail/request.hpp>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if defined(__has_include) && __cplusplus > 202002L
#if __has_include(<expected>)
#include <expected>
#endif
#endif

namespace dcb {

/// How a store is opened.
struct open_options {
    /// Refuse appends, and write nothing to the database; where the log and its index are missing
    /// beside it, they are made. It is for files: in memory a store would stay empty, and is
    /// refused.
    bool read_only = false;

    /// The caller vouches that nobody writes the file while it is open. Implies `read_only`.
    /// Refused where there is a log (-wal) that is not empty, or a journal: it would be passed
    /// over.
    bool immutable = false;

    /// Create the file if there is none.
    bool create = true;

    /// Take a store into a database that holds other tables already.
    bool adopt = false;

    /// How long a call waits for a lock, unless its call_options say; below zero without end.
    std::chrono::milliseconds busy_timeout{5000};
};

/// The events of an append: one, a list in braces or a vector. Borrowed for the call.
class event_list {
  public:
    event_list(const event &one) noexcept : events_(&one, 1) {}
    event_list(std::initializer_list<event> events) noexcept
        : events_(events.begin(), events.size()) {}
    event_list(const std::vector<event> &events) noexcept : events_(events) {}

  private:
    friend class store;
    detail::slice<event> events_;
};

/// What store::try_append answers: the events are stored, or a condition failed.
class append_result {
  public:
    /// Whether the events are stored.
    explicit operator bool() const noexcept { return stored_; }

    /// Stored: the position of the last event. Refused: the lowest position that makes any of the
    /// conditions fail.
    [[nodiscard]] std::int64_t position() const noexcept { return position_; }

#if defined(__cpp_lib_expected)
    /// The position of the last event, or the position that a condition failed for.
    [[nodiscard]] std::expected<std::int64_t, std::int64_t> expected() const {
        if (stored_) {
            return position_;
        }
        return std::unexpected(position_);
    }
#endif

  private:
    friend class store;
    append_result(bool stored, std::int64_t position) noexcept
        : position_(position), stored_(stored) {}
    std::int64_t position_;
    bool stored_;
};

/// Text that the library made. Move-only.
class buffer {
  public:
    buffer(buffer &&other) noexcept : buf_(std::exchange(other.buf_, dcb_buf{})) {}
    buffer &operator=(buffer &&other) noexcept {
        std::swap(buf_, other.buf_);
        return *this;
    }
    ~buffer() { dcb_buf_free(&buf_); }

    /// The text; it lives as long as this object.
    [[nodiscard]] std::string_view view() const noexcept { return {buf_.data, buf_.len}; }

  private:
    friend class store;
    buffer() = default;
    dcb_buf buf_{};
};

/// The events of a whole read, with storage of their own.
struct read_result {
    std::vector<sequenced_event> events;

    /// Safe as the `after` of a condition with the same query; see cursor::position.
    std::int64_t position;
};

class subscription;

/// A sequence of events with conditional appends. Move-only; any number of threads may call it at
/// once, but it must neither be closed, destroyed nor moved from while another one does.
///
/// Every operation throws dcb::error when it fails.
class store {
  public:
    /// Opens the store that `uri` names: `memory:`, `sqlite:PATH`, `file:...`, `sqlite::memory:`.
    explicit store(std::string_view uri, const open_options &options = {})
        : busy_timeout_(options.busy_timeout) {
        if (uri.find('\0') != std::string_view::npos) {
            detail::invalid("uri", "must not contain NUL");
        }
        const auto boolean = [](bool value) { return value ? "true" : "false"; };
        std::string json = R"({"read_only":)";
        json += boolean(options.read_only);
        json += R"(,"immutable":)";
        json += boolean(options.immutable);
        json += R"(,"create":)";
        json += boolean(options.create);
        json += R"(,"adopt":)";
        json += boolean(options.adopt);
        json += R"(,"busy_timeout_ms":)" + std::to_string(options.busy_timeout.count()) + "}";

        dcb_error failure;
        dcb_store *handle = nullptr;
        detail::check(dcb_open(std::string(uri).c_str(), json.c_str(), &handle, &failure), failure);
        handle_.reset(handle);
    }

    /// Stores all events or none, and gives the position of the last one. They are durable when
    /// this returns. Throws dcb::condition_failed if an event that matches one of the conditions'
    /// queries has a position above that condition's `after`.
    ///
    /// Events with ids that are all stored already, just so, are not stored again, and the position
    /// that they have is given: after `io`, `unavailable` or `internal`, which leave the outcome
    /// unknown, append them again.
    std::int64_t append(event_list events, const std::vector<append_condition> &conditions = {},
                        const call_options &options = {}) {
        return append_events(events, conditions, options, false).position();
    }
    /// As above, under one condition.
    std::int64_t append(event_list events, const append_condition &condition,
                        const call_options &options = {}) {
        return append_events(events, {&condition, 1}, options, false).position();
    }

    /// As append, from an append request document.
    std::int64_t append_json(std::string_view request, const call_options &options = {}) {
        dcb_error failure;
        std::int64_t last = 0;
        detail::check(append_native(request, options, last, failure), failure);
        return last;
    }

    /// As append, for callers to whom a failed condition is no exception.
    [[nodiscard]] append_result try_append(event_list events,
                                           const std::vector<append_condition> &conditions = {},
                                           const call_options &options = {}) {
        return append_events(events, conditions, options, true);
    }
    /// As above, under one condition.
    [[nodiscard]] append_result try_append(event_list events, const append_condition &condition,
                                           const call_options &options = {}) {
        return append_events(events, {&condition, 1}, options, true);
    }

    /// As try_append, from an append request document.
    [[nodiscard]] append_result try_append_json(std::string_view request,
                                                const call_options &options = {}) {
        dcb_error failure;
        std::int64_t last = 0;
        const dcb_status code = append_native(request, options, last, failure);
        if (static_cast<status>(code) == status::condition_failed) {
            return {false, failure.position};
        }
        detail::check(code, failure);
        return {true, last};
    }

    /// The events that match, as a range that fetches them while it is gone through.
    [[nodiscard]] cursor read(const query &q, const read_options &options = {},
                              const call_options &call = {}) const {
        return read_cursor(detail::read_request(q, options), options.batch_size, call);
    }

    /// As read, from a read request document.
    [[nodiscard]] cursor read_cursor(std::string_view request,
                                     std::size_t batch_size = read_options{}.batch_size,
                                     const call_options &options = {}) const {
        dcb_error failure;
        dcb_cursor *handle = nullptr;
        const detail::native_call call(options, busy_timeout_);
        detail::check(dcb_cursor_open(native(), request.data(), request.size(), call.get(), &handle,
                                      &failure),
                      failure);
        return {handle, batch_size, options, busy_timeout_};
    }

    /// The events that match, copied.
    [[nodiscard]] read_result read_all(const query &q, const read_options &options = {},
                                       const call_options &call = {}) const {
        cursor events = read(q, options, call);
        read_result result{};
        for (const event_view &e : events) {
            result.events.push_back(static_cast<sequenced_event>(e));
        }
        result.position = events.position();
        return result;
    }

    /// Answers a read request document with a read result document.
    [[nodiscard]] buffer read_json(std::string_view request,
                                   const call_options &options = {}) const {
        buffer result;
        dcb_error failure;
        const detail::native_call call(options, busy_timeout_);
        detail::check(
            dcb_read(native(), request.data(), request.size(), call.get(), &result.buf_, &failure),
            failure);
        return result;
    }

    /// The position of the newest event; 0 in an empty store.
    [[nodiscard]] std::int64_t head(const call_options &options = {}) const {
        dcb_error failure;
        std::int64_t head = 0;
        const detail::native_call call(options, busy_timeout_);
        detail::check(dcb_head(native(), call.get(), &head, &failure), failure);
        return head;
    }

    /// The number of events.
    [[nodiscard]] std::int64_t count(const call_options &options = {}) const {
        dcb_error failure;
        std::int64_t count = 0;
        const detail::native_call call(options, busy_timeout_);
        detail::check(dcb_count(native(), call.get(), &count, &failure), failure);
        return count;
    }

    /// Describes the store for a person who looks for a cause: a JSON object, whose keys
    /// dcb_diagnose lists.
    [[nodiscard]] buffer diagnose(const call_options &options = {}) const {
        buffer result;
        dcb_error failure;
        const detail::native_call call(options, busy_timeout_);
        detail::check(dcb_diagnose(native(), call.get(), &result.buf_, &failure), failure);
        return result;
    }

    /// Returns the head as soon as it is above `after`, or nothing when the time is up. `after` is
    /// -1 or more; -1 is as 0. Throws `cancelled` within 50 ms after the call's dcb::cancel is
    /// triggered.
    [[nodiscard]] std::optional<std::int64_t> wait(std::int64_t after,
                                                   const call_options &options = {}) const {
        dcb_error failure;
        std::int64_t head = 0;
        const detail::native_call call(options, forever);
        const dcb_status code = dcb_wait(native(), after, call.get(), &head, &failure);
        if (static_cast<status>(code) == status::timeout) {
            return std::nullopt;
        }
        detail::check(code, failure);
        return head;
    }

    /// The matching events above a position, and then those that are appended, as they come. See
    /// dcb::subscription, whose header has to be included.
    [[nodiscard]] subscription subscribe(query q, std::int64_t after = 0,
                                         const call_options &options = {}) const;

    /// Closes the store, as its destructor does. Every later call on the store, or on one of its
    /// cursors, throws dcb::error with `closed`; so does a call on a store that was moved from.
    void close() noexcept { handle_.reset(); }

    /// Returns the C handle, which this object owns; null if the store is closed.
    [[nodiscard]] dcb_store *get() const noexcept { return handle_.get(); }

  private:
    append_result append_events(const event_list &list, detail::slice<append_condition> conditions,
                                const call_options &options, bool is_try) {
        const std::string request = detail::append_request(list.events_, conditions);
        dcb_error failure;
        std::int64_t last = 0;
        const dcb_status code = append_native(request, options, last, failure);
        if (is_try && static_cast<status>(code) == status::condition_failed) {
            return {false, failure.position};
        }
        if (static_cast<status>(code) == status::invalid_argument) {
            throw error(status::invalid_argument,
                        detail::in_callers_text(failure.message, request, list.events_));
        }
        detail::check(code, failure);
        return {true, last};
    }

    [[nodiscard]] dcb_store *native() const {
        if (!handle_) {
            throw error(status::closed, "the store is closed");
        }
        return handle_.get();
    }

    dcb_status append_native(std::string_view request, const call_options &options,
                             std::int64_t &last, dcb_error &failure) {
        const detail::native_call call(options, busy_timeout_);
        return dcb_append(native(), request.data(), request.size(), call.get(), &last, &failure);
    }

    struct closer {
        void operator()(dcb_store *handle) const noexcept { dcb_close(handle); }
    };
    std::unique_ptr<dcb_store, closer> handle_;
    std::chrono::milliseconds busy_timeout_;
};

} // namespace dcb

#endif // DCB_STORE_HPP

/// \file
/// Reading the events of a store, one batch at a time.

#ifndef DCB_CURSOR_HPP
#define DCB_CURSOR_HPP

#include <dcb/call.hpp>
#include <dcb/detail/input_range.hpp>
#include <dcb/event.hpp>
#include <dcb/query.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace dcb {

/// Which of the matching events a read returns, and in which direction.
struct read_options {
    /// Only events above this position. The default is the start; less than -1 is an error.
    std::int64_t after = 0;

    /// Only events below this position. A negative one is an error.
    std::optional<std::int64_t> before{};

    /// The maximum number of events. A negative one is an error.
    std::optional<std::int64_t> limit{};

    /// Whether the newest event comes first. The meaning of `after` and `before` does not change.
    bool backwards = false;

    /// The number of events that a cursor fetches at once during iteration. 0 is an error.
    std::size_t batch_size = 256;
};

/// A batch of events. They are valid until the next call on their cursor.
class event_batch {
  public:
    event_batch(const dcb_event *events, std::size_t size) noexcept
        : events_(events), size_(size) {}

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] event_view operator[](std::size_t i) const noexcept {
        return event_view(events_[i]);
    }

  private:
    const dcb_event *events_;
    std::size_t size_;
};

/// A read in progress: a range of events that can be iterated over once. Move-only; for one thread
/// at a time.
///
/// A cursor reads the snapshot that was taken when it was made, so it does not return events that
/// are appended later. Between calls it holds no database transaction and blocks nobody. It may
/// outlive its store; then its calls throw status::closed.
///
/// \code
///     dcb::cursor events = store.read(dcb::tagged("course:c1"));
///     for (const dcb::event_view &e : events) { ... }
///     condition.after = events.position();
/// \endcode
///
/// After an error with `busy`, `timeout`, `cancelled` or `unavailable`, begin() and next() continue
/// the read. Every other error is permanent. Moving a cursor invalidates its iterators.
class cursor {
  public:
    using iterator = detail::input_iterator<cursor>;

    /// A cursor that was moved from can only be assigned to and destroyed.
    cursor(cursor &&other) noexcept
        : handle_(std::move(other.handle_)), events_(std::exchange(other.events_, nullptr)),
          size_(std::exchange(other.size_, 0)), at_(std::exchange(other.at_, 0)),
          batch_size_(other.batch_size_), options_(std::move(other.options_)),
          default_timeout_(other.default_timeout_),
          current_(std::exchange(other.current_, event_view())) {}
    cursor &operator=(cursor &&other) noexcept {
        handle_ = std::move(other.handle_);
        events_ = std::exchange(other.events_, nullptr);
        size_ = std::exchange(other.size_, 0);
        at_ = std::exchange(other.at_, 0);
        batch_size_ = other.batch_size_;
        options_ = std::move(other.options_);
        default_timeout_ = other.default_timeout_;
        current_ = std::exchange(other.current_, event_view());
        return *this;
    }

    /// Fetches the next event, and returns an iterator to it. So a second loop continues after the
    /// last event of the first one.
    [[nodiscard]] iterator begin() { return iterator(*this); }
    [[nodiscard]] iterator end() noexcept { return {}; }

    /// Returns at most `max` of the next events: fewer if they are large, none only at the end.
    /// Do not mix it with iteration, since it skips the events that an iteration has fetched and
    /// not shown yet.
    [[nodiscard]] event_batch next(std::size_t max, const call_options &options = {}) {
        fetch(max, options);
        const event_batch batch(events_, size_);
        at_ = size_;
        return batch;
    }

    /// Returns the position up to which every matching event has been read.
    ///
    /// At the end of the read it is safe as the `after` of a condition with the same query. Before
    /// the end it is the position of the last event that was shown. In a backward read it is always
    /// the head of the snapshot, or `before` - 1 if that is lower; with a limit of 0 it is the
    /// `after` of the read.
    [[nodiscard]] std::int64_t position() const noexcept {
        // In a forward read the batch may extend beyond the event that the caller has seen.
        const bool ahead = at_ + 1 < size_ && events_[at_].position < events_[at_ + 1].position;
        return ahead ? events_[at_].position : dcb_cursor_position(handle_.get());
    }

  private:
    friend class store;
    friend class subscription;
    friend iterator;

    cursor(dcb_cursor *handle, std::size_t batch_size, const call_options &options,
           std::chrono::milliseconds default_timeout)
        : handle_(handle), batch_size_(batch_size), options_(options),
          default_timeout_(default_timeout) {}

    bool advance() {
        if (at_ + 1 < size_) {
            ++at_;
        } else {
            fetch(batch_size_, options_);
            if (size_ == 0) {
                return false;
            }
        }
        current_ = event_view(events_[at_]);
        return true;
    }

    [[nodiscard]] const event_view &current() const noexcept { return current_; }

    void fetch(std::size_t max, const call_options &options) {
        // If the call fails, the events of the batch before it are gone.
        events_ = nullptr;
        size_ = 0;
        at_ = 0;
        current_ = event_view();
        if (!handle_) {
            detail::invalid("cursor", "was moved from");
        }
        dcb_error failure;
        const detail::native_call call(options, default_timeout_);
        detail::check(dcb_cursor_next(handle_.get(), max, call.get(), &events_, &size_, &failure),
                      failure);
    }

    struct close {
        void operator()(dcb_cursor *handle) const noexcept { dcb_cursor_close(handle); }
    };
    std::unique_ptr<dcb_cursor, close> handle_;
    const dcb_event *events_ = nullptr;
    std::size_t size_ = 0;
    std::size_t at_ = 0;
    std::size_t batch_size_;
    call_options options_;
    std::chrono::milliseconds default_timeout_;
    event_view current_;
};

namespace detail {

inline std::string read_request(const query &q, const read_options &options) {
    std::string out = R"({"query":)";
    write_query(out, q);
    out += R"(,"after":)" + std::to_string(options.after);
    if (options.before) {
        out += R"(,"before":)" + std::to_string(*options.before);
    }
    if (options.limit) {
        out += R"(,"limit":)" + std::to_string(*options.limit);
    }
    out += options.backwards ? R"(,"backwards":true})" : "}";
    return out;
}

} // namespace detail
} // namespace dcb

#endif // DCB_CURSOR_HPP

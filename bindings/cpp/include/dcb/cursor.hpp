/// \file
/// Reading a store's events, one batch after the other.

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

/// Which of the matching events are read, and in which direction.
struct read_options {
    /// Only events above this position. 0: from the start. Below -1: an error.
    std::int64_t after = 0;

    /// Only events below this position. Negative: an error.
    std::optional<std::int64_t> before{};

    /// At most so many events. Negative: an error.
    std::optional<std::int64_t> limit{};

    /// The newest first. `after` and `before` keep their meaning.
    bool backwards = false;

    /// How many events a cursor fetches at once while it is iterated over. 0: an error.
    std::size_t batch_size = 256;
};

/// A batch of events, which live until the cursor's next call.
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

/// A read in progress: a range that is gone through once. Move-only; one thread at a time.
///
/// Its snapshot is taken when it is made: what is appended later is not seen. It holds no database
/// transaction between calls, so a forgotten one blocks nobody. It may outlive its store, whose end
/// it answers with status::closed.
///
/// \code
///     dcb::cursor events = store.read(dcb::tagged("course:c1"));
///     for (const dcb::event_view &e : events) { ... }
///     condition.after = events.position();
/// \endcode
///
/// After an error with `busy`, `timeout` or `cancelled`, begin() and next() go on where the read
/// stood; other errors stay. Moving a cursor invalidates its iterators.
class cursor {
  public:
    using iterator = detail::input_iterator<cursor>;

    /// What was moved from may be assigned to and destroyed, and nothing else.
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

    /// Stands on the next event, and fetches it; so a second loop goes on after the event that the
    /// first one ended with.
    [[nodiscard]] iterator begin() { return iterator(*this); }
    [[nodiscard]] iterator end() noexcept { return {}; }

    /// The next `max` events at most, fewer where they are large; none only at the end. Not to be
    /// mixed with iteration: what an iteration has fetched and not yet shown is passed over.
    [[nodiscard]] event_batch next(std::size_t max, const call_options &options = {}) {
        fetch(max, options);
        const event_batch batch(events_, size_);
        at_ = size_;
        return batch;
    }

    /// At the end: the position up to which every matching event has been read, which is safe as
    /// the `after` of a condition with the same query. Before the end: that of the last event that
    /// was shown. Backwards, throughout: the head of the snapshot, or `before` - 1 if that is
    /// lower; with a limit of 0 the read's `after`.
    [[nodiscard]] std::int64_t position() const noexcept {
        // Forward, the batch may reach beyond the event that the caller has seen.
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
        // Should the call fail, nothing of the batch before it is left to be shown.
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

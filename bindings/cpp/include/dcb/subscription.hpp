/// \file
/// Following a store: reading its events, and those that are appended, as they come.

#ifndef DCB_SUBSCRIPTION_HPP
#define DCB_SUBSCRIPTION_HPP

#include <dcb/store.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace dcb {

/// The matching events above a position: those that are stored, and then those that are appended,
/// as they come. Move-only; for one thread at a time.
///
/// The range ends when its dcb::cancel is triggered, or when no matching event has come for as long
/// as its timeout. Without either it does not end. No event is missed, and none comes twice. Events
/// of this process come within a millisecond, those of other processes within 25 ms.
///
/// \code
///     dcb::cancel stop;
///     for (const dcb::event_view &e : store.subscribe(dcb::query::all(), seen, {{}, &stop})) {
///         ...
///     }
/// \endcode
///
/// After a timeout, begin() continues where the subscription ended. Errors other than `timeout` and
/// `cancelled` are thrown. The store must outlive the subscription; cancel it and leave its loop
/// before you close the store.
///
/// A subscription throws dcb::history_rewound if the head of the store is lower than the position
/// from which it goes on, since it would miss the events up to that position. It looks when a loop
/// begins, and once a second while it waits. A standby that is behind is no reason: the primary is
/// asked, too. It does not notice a history that was rewound and has grown beyond that position
/// before it looks.
class subscription {
  public:
    using iterator = detail::input_iterator<subscription>;

    /// Waits for the next event, and returns an iterator to it. So a second loop continues after
    /// the last event of the first one.
    [[nodiscard]] iterator begin() { return iterator(*this); }
    [[nodiscard]] iterator end() noexcept { return {}; }

    /// Returns the position from which to continue: every matching event up to it has been shown.
    [[nodiscard]] std::int64_t position() const noexcept {
        return events_ ? events_->position() : after_;
    }

    /// Returns why the range ended, `timeout` or `cancelled`; `ok` if it has not ended.
    [[nodiscard]] dcb::status status() const noexcept { return status_; }

  private:
    friend class store;
    friend iterator;
    using clock = std::chrono::steady_clock;

    /// How often a subscription that waits looks whether the history was rewound.
    static constexpr std::chrono::milliseconds look_every{1000};

    subscription(const store &from, query q, std::int64_t after, const call_options &options)
        : store_(&from), query_(std::move(q)), after_(after), options_(options) {}

    bool advance() {
        status_ = dcb::status::ok;
        const auto start = clock::now();
        try {
            if (!is_checked_) {
                check_history(lock_options());
                is_checked_ = true;
            }
            for (;;) {
                if (!events_) {
                    events_ = store_->read(query_, from_here(), lock_options());
                }
                if (events_->advance()) {
                    return true;
                }
                after_ = events_->position();
                events_.reset();
                if (after_ < announced_) {
                    // A read to the end reaches every head that a wait has returned before it.
                    throw history_rewound(announced_, after_);
                }
                if (!wait(start)) {
                    status_ = dcb::status::timeout;
                    is_checked_ = false;
                    return false;
                }
            }
        } catch (const error &e) {
            // The next call begins a new read after the last event that was shown.
            after_ = position();
            events_.reset();
            is_checked_ = false;
            if (e.status() != dcb::status::cancelled) {
                throw;
            }
            status_ = dcb::status::cancelled;
            return false;
        }
    }

    /// Waits for an event above `after_`, and returns whether there is one. It may not match: that
    /// is no reason to wait longer than the timeout.
    [[nodiscard]] bool wait(clock::time_point start) {
        for (;;) {
            call_options rest = remaining(start);
            if (rest.timeout == std::chrono::milliseconds::zero()) {
                return false;
            }
            if (rest.timeout < std::chrono::milliseconds::zero() || rest.timeout > look_every) {
                rest.timeout = look_every;
            }
            if (const auto head = store_->wait(after_, rest)) {
                announced_ = *head;
                return true;
            }
            // Without waiting for anything, so that the timeout holds.
            check_history({std::chrono::milliseconds::zero(), options_.cancel});
        }
    }

    /// Looks for the event at the position of the subscription. While a server is down or silent,
    /// or a lock is held, the next look is soon enough.
    void check_history(const call_options &options) const {
        if (after_ <= 0) {
            return;
        }
        std::int64_t head = 0;
        bool is_there = true;
        try {
            head = store_->head(options);
            is_there = head >= after_ || has_event_at(after_, options);
        } catch (const error &failure) {
            switch (failure.status()) {
            case dcb::status::busy:
            case dcb::status::timeout:
            case dcb::status::unavailable:
                return;
            default:
                throw;
            }
        }
        if (!is_there) {
            throw history_rewound(after_, head);
        }
    }

    /// The head of a standby says little, since it may be behind. A read asks the primary, too.
    [[nodiscard]] bool has_event_at(std::int64_t position, const call_options &options) const {
        read_options one;
        one.after = position - 1;
        one.limit = 1;
        cursor events = store_->read(query::all(), one, options);
        return events.advance() && events.current().position() == position;
    }

    [[nodiscard]] const event_view &current() const noexcept { return events_->current(); }

    [[nodiscard]] read_options from_here() const {
        read_options options;
        options.after = after_;
        return options;
    }

    /// The timeout of a subscription limits the wait for an event, not the wait for a lock.
    [[nodiscard]] call_options lock_options() const { return {std::nullopt, options_.cancel}; }

    [[nodiscard]] call_options remaining(clock::time_point start) const {
        using std::chrono::milliseconds;
        if (!options_.timeout || *options_.timeout < milliseconds::zero()) {
            return {forever, options_.cancel};
        }
        const auto passed = std::chrono::duration_cast<milliseconds>(clock::now() - start);
        return {std::max(*options_.timeout - passed, milliseconds::zero()), options_.cancel};
    }

    const store *store_;
    query query_;
    std::int64_t after_;
    call_options options_;
    std::optional<cursor> events_;
    dcb::status status_ = dcb::status::ok;
    std::int64_t announced_ = 0; // the head that the last wait returned
    bool is_checked_ = false;
};

inline subscription store::subscribe(query q, std::int64_t after,
                                     const call_options &options) const {
    return {*this, std::move(q), after, options};
}

} // namespace dcb

#endif // DCB_SUBSCRIPTION_HPP

/// \file
/// Following a store.

#ifndef DCB_SUBSCRIPTION_HPP
#define DCB_SUBSCRIPTION_HPP

#include <dcb/store.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace dcb {

/// The matching events above a position, and then those that are appended, as they come: a range
/// that ends when its dcb::cancel is triggered, or when no matching event has come for as long as
/// its time-out says. Without either it does not end. Move-only; one thread at a time.
///
/// Nothing is missed and nothing comes twice. Catching up and following are the same loop of read
/// and wait. Events of this process come within a millisecond, others' within 25 ms.
///
/// \code
///     dcb::cancel stop;
///     for (const dcb::event_view &e : store.subscribe(dcb::query::all(), seen, {{}, &stop})) {
///         ...
///     }
/// \endcode
///
/// After a time-out, begin() goes on where the subscription stood. An error other than `timeout`
/// and `cancelled` is thrown. The store has to outlive the subscription; cancel it and leave its
/// loop before the store is closed.
class subscription {
  public:
    using iterator = detail::input_iterator<subscription>;

    /// Stands on the next event, and waits for it; so a second loop goes on after the event that
    /// the first one ended with.
    [[nodiscard]] iterator begin() { return iterator(*this); }
    [[nodiscard]] iterator end() noexcept { return {}; }

    /// Where to go on from: every matching event up to this position has been shown.
    [[nodiscard]] std::int64_t position() const noexcept {
        return events_ ? events_->position() : after_;
    }

    /// Why the range has ended: `timeout` or `cancelled`; `ok` as long as it has not.
    [[nodiscard]] dcb::status status() const noexcept { return status_; }

  private:
    friend class store;
    friend iterator;
    using clock = std::chrono::steady_clock;

    subscription(const store &from, query q, std::int64_t after, const call_options &options)
        : store_(&from), query_(std::move(q)), after_(after), options_(options) {}

    bool advance() {
        status_ = dcb::status::ok;
        const auto start = clock::now();
        try {
            for (;;) {
                if (!events_) {
                    events_ = store_->read(query_, from_here(), lock_options());
                }
                if (events_->advance()) {
                    return true;
                }
                after_ = events_->position();
                events_.reset();
                const call_options rest = remaining(start);
                // Events that do not match are news to a wait, and no reason to go on.
                const bool is_over = rest.timeout == std::chrono::milliseconds::zero();
                if (is_over || !store_->wait(after_, rest)) {
                    status_ = dcb::status::timeout;
                    return false;
                }
            }
        } catch (const error &e) {
            // What was shown is behind; the next call begins a new read there.
            after_ = position();
            events_.reset();
            if (e.status() != dcb::status::cancelled) {
                throw;
            }
            status_ = dcb::status::cancelled;
            return false;
        }
    }

    [[nodiscard]] const event_view &current() const noexcept { return events_->current(); }

    [[nodiscard]] read_options from_here() const {
        read_options options;
        options.after = after_;
        return options;
    }

    /// The time-out is one for events, not for locks.
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
};

inline subscription store::subscribe(query q, std::int64_t after,
                                     const call_options &options) const {
    return {*this, std::move(q), after, options};
}

} // namespace dcb

#endif // DCB_SUBSCRIPTION_HPP

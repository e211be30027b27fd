/// \file
/// The order of the appends and the transactions of a program. Not for direct use.

#ifndef DCB_DETAIL_GATE_HPP
#define DCB_DETAIL_GATE_HPP

#include <dcb/call.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>

namespace dcb::detail {

/// When a call that has begun now has to end, and what ends it before.
class call_deadline {
  public:
    using clock = std::chrono::steady_clock;
    using milliseconds = std::chrono::milliseconds;

    call_deadline(dcb_store *store, const call_options &options, milliseconds default_timeout)
        : store_(store), cancel_(options.cancel) {
        const milliseconds timeout = options.timeout.value_or(default_timeout);
        if (timeout >= milliseconds::zero()) {
            // So far away that it cannot be told from never, and no sum overflows.
            end_ = clock::now() + std::min(timeout, milliseconds(std::chrono::hours(24 * 365)));
        }
    }

    /// Returns how much time is left, or less than zero if there is no limit.
    [[nodiscard]] milliseconds left() const {
        if (end_ == never) {
            return forever;
        }
        return std::max(std::chrono::ceil<milliseconds>(end_ - clock::now()), milliseconds::zero());
    }

    [[nodiscard]] bool is_over() const { return end_ != never && clock::now() >= end_; }

    /// Returns when to look again whether the call was cancelled or is over.
    [[nodiscard]] clock::time_point next_look(milliseconds pause) const {
        return std::min(clock::now() + pause, end_);
    }

    /// Throws if the call was cancelled.
    void check_cancel() const {
        if (cancel_ == nullptr) {
            return;
        }
        // A wait for a position that no event can have, which returns at once.
        const native_call call({milliseconds::zero(), cancel_}, milliseconds::zero());
        dcb_error failure;
        std::int64_t head = 0;
        const dcb_status code =
            dcb_wait(store_, std::numeric_limits<std::int64_t>::max(), call.get(), &head, &failure);
        if (static_cast<status>(code) == status::cancelled) {
            throw error(status::cancelled, failure.message);
        }
    }

    /// Returns the options of a call that takes the rest of the time.
    [[nodiscard]] call_options rest() const { return {left(), cancel_}; }

  private:
    dcb_store *store_;
    const cancel *cancel_;
    // Not std::optional: GCC 12 at -O3 takes its value for uninitialized.
    static constexpr clock::time_point never = clock::time_point::max();
    clock::time_point end_ = never;
};

/// Lets in any number of appends at once, which the library commits together, or one transaction of
/// the program. Who comes first enters first.
///
/// SQLite itself lets those that wait for its lock try in turn, so a transaction beside many
/// appends would hardly ever get it.
class gate {
  public:
    /// Enters, and throws `busy` or `cancelled` if that takes too long. A thread cannot enter while
    /// it has a transaction inside.
    void enter(bool is_transaction, const call_deadline &deadline) {
        std::unique_lock lock(mutex_);
        if (inside_ == std::this_thread::get_id()) {
            throw error(status::invalid_argument,
                        "this thread has a transaction of the store open: append by "
                        "sqlite3_transaction::append");
        }
        const std::uint64_t number = next_++;
        queue_.push_back({number, is_transaction});
        try {
            while (queue_.front().number != number || !admits(is_transaction)) {
                if (deadline.is_over()) {
                    throw error(status::busy, "timed out waiting for the appends and transactions "
                                              "before this one");
                }
                changed_.wait_until(lock, deadline.next_look(std::chrono::milliseconds(25)));
                lock.unlock();
                deadline.check_cancel();
                lock.lock();
            }
        } catch (...) {
            if (!lock.owns_lock()) {
                lock.lock();
            }
            queue_.erase(std::find_if(queue_.begin(), queue_.end(),
                                      [&](const entrant &e) { return e.number == number; }));
            changed_.notify_all(); // it may have been what the others waited for
            throw;
        }
        queue_.pop_front();
        if (is_transaction) {
            inside_ = std::this_thread::get_id();
        } else {
            ++appends_;
        }
        if (!queue_.empty()) {
            changed_.notify_all();
        }
    }

    void leave(bool is_transaction) noexcept {
        const std::lock_guard lock(mutex_);
        if (is_transaction) {
            inside_ = std::thread::id();
        } else {
            --appends_;
        }
        if (!queue_.empty()) {
            changed_.notify_all();
        }
    }

    /// Returns whether the thread has a transaction inside.
    [[nodiscard]] bool is_inside() {
        const std::lock_guard lock(mutex_);
        return inside_ == std::this_thread::get_id();
    }

  private:
    struct entrant {
        std::uint64_t number;
        bool is_transaction;
    };

    [[nodiscard]] bool admits(bool is_transaction) const noexcept {
        return inside_ == std::thread::id() && (!is_transaction || appends_ == 0);
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<entrant> queue_;
    std::uint64_t next_ = 0;
    int appends_ = 0;
    std::thread::id inside_; // of the thread that has a transaction inside
};

} // namespace dcb::detail

#endif // DCB_DETAIL_GATE_HPP

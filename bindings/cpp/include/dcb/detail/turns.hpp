/// \file
/// The order of the decisions that have lost to others. Not for direct use.

#ifndef DCB_DETAIL_TURNS_HPP
#define DCB_DETAIL_TURNS_HPP

#include <dcb/query.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dcb::detail {

/// The queries of the conditions of a decision; what is null is none.
using guard_queries = std::array<const query *, 2>;

/// Orders the decisions of a store that have lost to another one at least once: the oldest of them
/// goes next. A decision waits for each older loser that is going to append an event which it must
/// not miss. It would lose to that one, or make it lose again. Decisions that do not affect each
/// other never wait.
///
/// This is about who goes first, and no more: whether an append conflicts is up to its conditions
/// alone.
class turns {
    /// The place of a decision, guarded by the mutex.
    struct place {
        /// What the decision appends if it decides as it did before it lost.
        std::vector<sequenced_event> expected{};
        /// The number of older places to wait for, and the younger ones that wait for this one.
        int blockers = 0;
        std::vector<std::shared_ptr<place>> blocks{};
        std::condition_variable moved{};
    };

  public:
    using clock = std::chrono::steady_clock;

    /// How long a decision waits for one that does not finish. That one may be slow, or it may even
    /// wait for this decision, which was made within it.
    static constexpr std::chrono::milliseconds stuck_after{250};

    /// The turn of a decision, which it gives up at the end. An empty one has nobody to wait for.
    class turn {
      public:
        turn() = default;
        turn(turn &&other) noexcept
            : queue_(std::exchange(other.queue_, nullptr)), place_(std::move(other.place_)) {}
        turn &operator=(turn &&other) noexcept {
            std::swap(queue_, other.queue_);
            std::swap(place_, other.place_);
            return *this;
        }
        ~turn() {
            if (queue_ != nullptr) {
                queue_->leave(place_);
            }
        }

        explicit operator bool() const noexcept { return queue_ != nullptr; }

        /// Returns whether there is nobody to wait for.
        [[nodiscard]] bool is_next() const {
            if (queue_ == nullptr) {
                return true;
            }
            const std::lock_guard lock(queue_->mutex_);
            return place_->blockers == 0;
        }

        /// Waits until there is nobody to wait for, until `end`, or until those before do not get
        /// on. Calls `look` now and then, which may throw.
        template <class Look> void wait(clock::time_point end, const Look &look) const {
            if (queue_ == nullptr) {
                return;
            }
            std::unique_lock lock(queue_->mutex_);
            int before = place_->blockers;
            clock::time_point stuck = clock::now() + stuck_after;
            while (place_->blockers > 0) {
                const clock::time_point now = clock::now();
                if (now >= stuck || now >= end) {
                    return;
                }
                lock.unlock();
                look();
                lock.lock();
                if (place_->blockers == before) {
                    place_->moved.wait_until(lock, std::min({stuck, end, now + look_every}));
                }
                if (place_->blockers != before) {
                    before = place_->blockers;
                    stuck = clock::now() + stuck_after;
                }
            }
        }

      private:
        friend class turns;
        turn(turns &queue, std::shared_ptr<place> own) noexcept
            : queue_(&queue), place_(std::move(own)) {}

        turns *queue_ = nullptr;
        std::shared_ptr<place> place_;
    };

    /// Takes the last place for a decision that lost.
    template <class Events>
    [[nodiscard]] turn enter(const guard_queries &guards, const Events &decided) {
        auto own = std::make_shared<place>();
        for (const auto &e : decided) {
            sequenced_event expected;
            expected.type = e.type();
            for (const std::string_view text : e.tags()) {
                expected.tags.emplace_back(text);
            }
            own->expected.push_back(std::move(expected));
        }
        const std::lock_guard lock(mutex_);
        places_.push_back(own);
        try {
            block(own, guards);
        } catch (...) {
            places_.pop_back();
            throw;
        }
        ++waiting_;
        return turn(*this, std::move(own));
    }

    /// Returns a turn for a decision that begins, for which nobody waits.
    [[nodiscard]] turn visit(const guard_queries &guards) {
        if (waiting_ == 0) {
            return {};
        }
        auto own = std::make_shared<place>();
        const std::lock_guard lock(mutex_);
        block(own, guards);
        return own->blockers == 0 ? turn() : turn(*this, std::move(own));
    }

  private:
    /// How often a decision that waits looks whether its call was cancelled.
    static constexpr std::chrono::milliseconds look_every{25};

    /// Makes a place wait for those that it would lose to. If it throws, some may keep it until
    /// they leave, which does no harm.
    void block(const std::shared_ptr<place> &own, const guard_queries &guards) {
        for (const std::shared_ptr<place> &older : places_) {
            if (older != own && defeats(*older, guards)) {
                older->blocks.push_back(own);
                ++own->blockers;
            }
        }
    }

    /// Returns whether a guard matches an event that the decision at a place is going to append.
    static bool defeats(const place &older, const guard_queries &guards) {
        return std::any_of(
            older.expected.begin(), older.expected.end(), [&](const sequenced_event &e) {
                return std::any_of(guards.begin(), guards.end(), [&](const query *guard) {
                    return guard != nullptr && guard->matches(e);
                });
            });
    }

    /// Gives up a place.
    void leave(const std::shared_ptr<place> &own) noexcept {
        const std::lock_guard lock(mutex_);
        const auto found = std::find(places_.begin(), places_.end(), own);
        if (found != places_.end()) {
            places_.erase(found);
            --waiting_;
        }
        for (const std::shared_ptr<place> &younger : own->blocks) {
            --younger->blockers;
            younger->moved.notify_one();
        }
        own->blocks.clear();
    }

    /// The number of places, so that a decision sees without the mutex that there is none.
    std::atomic<int> waiting_{0};
    std::mutex mutex_;
    std::vector<std::shared_ptr<place>> places_; // the oldest first
};

} // namespace dcb::detail

#endif // DCB_DETAIL_TURNS_HPP

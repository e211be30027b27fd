/// \file
/// The states that a cached decider remembers, and how a read continues from one. Not for direct
/// use.

#ifndef DCB_DETAIL_STATE_CACHE_HPP
#define DCB_DETAIL_STATE_CACHE_HPP

#include <dcb/projection.hpp>
#include <dcb/store.hpp>

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

namespace dcb::detail {

/// The states of the queries that were used last, at most so many. For any number of threads.
template <class State> class state_cache {
  public:
    /// A state, and the last event that it has seen. Nobody changes it, so threads share it.
    struct remembered {
        sequenced_event last;
        State state;
    };

    explicit state_cache(std::size_t max) : max_(max) {}

    /// Returns what is remembered under a key, or null.
    [[nodiscard]] std::shared_ptr<const remembered> find(const std::string &key) {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto found = places_.find(key);
        if (found == places_.end()) {
            return nullptr;
        }
        used_.splice(used_.begin(), used_, found->second);
        return found->second->second;
    }

    /// Remembers a state under a key, and forgets the one that was used longest ago if there are
    /// too many.
    void keep(const std::string &key, std::shared_ptr<const remembered> what) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (const auto found = places_.find(key); found != places_.end()) {
            std::swap(found->second->second, what);
            used_.splice(used_.begin(), used_, found->second);
            return;
        }
        used_.emplace_front(key, std::move(what));
        try {
            places_.emplace(key, used_.begin());
        } catch (...) {
            used_.pop_front();
            throw;
        }
        if (used_.size() > max_) {
            places_.erase(used_.back().first);
            used_.pop_back();
        }
    }

  private:
    using list = std::list<std::pair<std::string, std::shared_ptr<const remembered>>>;

    std::size_t max_;
    std::mutex mutex_;
    list used_; ///< the one that was used last is in front
    std::unordered_map<std::string, typename list::iterator> places_;
};

/// What tells a store from all others of the process.
struct store_number {
    [[nodiscard]] static std::uint64_t of(const store &s) noexcept { return s.number_; }
};

/// Returns the key of a query's state in a store.
inline std::string state_key(const store &in, const query &q) {
    std::string key = std::to_string(store_number::of(in)) + ' ';
    write_query(key, q);
    return key;
}

/// Returns whether two reads have returned the same event.
inline bool is_same_event(const sequenced_event &a, const sequenced_event &b) {
    return a.position == b.position && a.timestamp == b.timestamp && a.type == b.type &&
           a.tags == b.tags && a.data == b.data && a.id == b.id && a.metadata == b.metadata;
}

/// Does what read_state does, and continues from a remembered state if there is one that is valid.
///
/// A file that an older backup was restored into has other events from some position on, with other
/// timestamps. So if the store still has the last event that the state has seen, it has all events
/// before that one.
template <class State, class See>
read_state_result<State> read_cached(const store &from, const projection<State> &what,
                                     const query *more, const See &see, const call_options &options,
                                     state_cache<State> &cache) {
    constexpr std::size_t batch_size = 256;
    const std::string key = state_key(from, what.query);
    const auto known = cache.find(key);
    State state = known ? known->state : what.initial_state;
    std::optional<sequenced_event> last;
    bool is_valid = known == nullptr;
    // The state sees the events of its own query, after the one that it has seen last.
    const auto fold = [&](cursor &events, bool is_mixed) {
        for (;;) {
            const event_batch batch = events.next(batch_size, options);
            std::optional<event_view> newest;
            for (std::size_t i = 0; i < batch.size(); ++i) {
                const event_view e = batch[i];
                if (!is_valid) {
                    if (!is_same_event(static_cast<sequenced_event>(e), known->last)) {
                        return;
                    }
                    is_valid = true;
                    continue;
                }
                if (is_mixed) {
                    see(e);
                }
                if (!is_mixed || what.query.matches(e)) {
                    state = what.evolve(std::move(state), e);
                    newest = e;
                }
            }
            if (newest) {
                last = static_cast<sequenced_event>(*newest);
            }
            if (batch.empty()) {
                return;
            }
        }
    };
    std::int64_t position = 0;
    if (known) {
        read_options above;
        above.after = known->last.position - 1;
        cursor events = from.read(what.query, above, options);
        fold(events, false);
        position = events.position();
        if (is_valid && more != nullptr) {
            read_options up_to;
            up_to.before = position + 1;
            for (const event_view &e : from.read(*more, up_to, options)) {
                see(e);
            }
        }
    }
    if (!is_valid) {
        state = what.initial_state;
    }
    if (!known || !is_valid) {
        is_valid = true;
        cursor events = from.read(more != nullptr ? what.query | *more : what.query, {}, options);
        fold(events, more != nullptr);
        position = events.position();
    }
    if (last) {
        using remembered = typename state_cache<State>::remembered;
        cache.keep(key, std::make_shared<const remembered>(remembered{*std::move(last), state}));
    }
    return {std::move(state), position};
}

} // namespace dcb::detail

#endif // DCB_DETAIL_STATE_CACHE_HPP

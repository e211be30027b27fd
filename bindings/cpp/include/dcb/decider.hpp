/// \file
/// Deciders, and the command handler that runs them against a store.

#ifndef DCB_DECIDER_HPP
#define DCB_DECIDER_HPP

#include <dcb/projection.hpp>
#include <dcb/store.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace dcb {

/// A decision, as three pure functions and a state to start from.
///
/// All functions are required. A decider with one that is not set throws std::invalid_argument,
/// which names it, when it is folded or given to a dcb::command_handler.
template <class State, class Command> struct decider {
    /// Selects the events that the decision about a command rests on. Required.
    std::function<dcb::query(const Command &)> query;

    /// Returns the events that the command leads to, or none if there is nothing to do. Throws any
    /// exception to reject the command. Required.
    std::function<std::vector<event>(const State &, const Command &)> decide;

    /// Returns the state after one more event, which the query matches. Required.
    std::function<State(State, const event_view &)> evolve;

    /// The state before any event.
    State initial_state{};

    /// Returns the state after a range of events, each an event_view or a sequenced_event.
    template <class Range> [[nodiscard]] State fold(Range &&events) const {
        detail::check_function(evolve, "decider::evolve");
        State state = initial_state;
        for (const auto &e : events) {
            state = evolve(std::move(state), e);
        }
        return state;
    }
};

/// How often a decision is made again after its append condition failed, and how long to wait
/// before that.
///
/// The wait before attempt `n` + 1 is random: between zero and `min_delay` * 2^(n - 1), capped at
/// `max_delay`.
struct retry_policy {
    /// The number of attempts, the first one included; 1 means no retry. Less than 1 is an error.
    int attempts = 10;

    /// The upper bound of the first wait.
    std::chrono::microseconds min_delay = std::chrono::milliseconds(1);

    /// The upper bound of every wait.
    std::chrono::microseconds max_delay = std::chrono::milliseconds(100);
};

namespace detail {

/// The events of a decision, and the condition under which it still holds.
struct decision {
    std::vector<event> events;
    append_condition unchanged;
};

inline void check_policy(const retry_policy &retry) {
    if (retry.attempts < 1) {
        invalid("attempts", "must be at least 1");
    }
}

/// Returns a seed that differs between threads, even if the system has no random device.
inline std::minstd_rand::result_type random_seed() {
    try {
        return std::random_device{}();
    } catch (const std::exception &) {
        const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
        const std::size_t own = std::hash<std::thread::id>{}(std::this_thread::get_id());
        return static_cast<std::minstd_rand::result_type>(static_cast<std::size_t>(now) ^ own);
    }
}

/// Waits between attempt number `attempt` and the next one.
inline void back_off(const store &in, const retry_policy &retry, int attempt,
                     const call_options &options) {
    using std::chrono::microseconds;
    microseconds longest = std::min(retry.min_delay, retry.max_delay);
    for (int i = 1; i < attempt && longest < retry.max_delay; ++i) {
        longest = longest > retry.max_delay / 2 ? retry.max_delay : longest * 2;
    }
    if (longest <= microseconds::zero()) {
        return;
    }
    thread_local std::minstd_rand random{random_seed()};
    const microseconds delay(
        std::uniform_int_distribution<microseconds::rep>(0, longest.count())(random));
    if (options.cancel == nullptr) {
        std::this_thread::sleep_for(delay);
        return;
    }
    // A wait for a position that no event can have sleeps until its timeout, and can be cancelled.
    static_cast<void>(
        in.wait(std::numeric_limits<std::int64_t>::max(),
                {std::chrono::ceil<std::chrono::milliseconds>(delay), options.cancel}));
}

/// Appends the events that `decide()` returns, and calls it again if the condition fails.
template <class Decide>
std::optional<std::int64_t> append_decided(store &to, const retry_policy &retry,
                                           const call_options &options, const Decide &decide) {
    for (int attempt = 1;; ++attempt) {
        const decision made = decide();
        if (made.events.empty()) {
            return std::nullopt;
        }
        if (attempt == retry.attempts) {
            return to.append(made.events, made.unchanged, options);
        }
        if (const append_result result = to.try_append(made.events, made.unchanged, options)) {
            return result.position();
        }
        back_off(to, retry, attempt, options);
    }
}

} // namespace detail

/// Makes a decision on the state of a projection, and appends the events that follow from it.
///
/// `decide` is called with the state and returns a `std::vector<event>`, which is empty if there is
/// nothing to do. The events are appended under the condition that no event which the projection's
/// query matches has been appended since the read. If one has, everything is done again with the
/// new state, as often as `retry` allows.
///
/// Returns the position of the last event that was appended, or nothing if `decide` returned no
/// events. Exceptions of `decide` are passed on. Throws dcb::condition_failed if the last attempt
/// fails, dcb::error if the store fails, and std::invalid_argument if `decide` or the projection's
/// `evolve` is not set. The call options apply to each call on the store.
template <class State, class Decide>
std::optional<std::int64_t> decide(store &in, const projection<State> &on, const Decide &decide,
                                   const call_options &options = {},
                                   const retry_policy &retry = {}) {
    detail::check_policy(retry);
    detail::check_function(decide, "decide");
    return detail::append_decided(in, retry, options, [&] {
        const decision_model<State> model = project(in, on, options);
        return detail::decision{decide(model.state), model.condition};
    });
}

/// Runs a decider against a store.
///
/// For each command the handler reads, decides, and appends under the condition that no event which
/// the decider's query matches has been appended since. If one has, it does all of this again. Any
/// number of threads may call a handler at once, provided that the decider's functions allow it.
/// The store must outlive the handler.
template <class State, class Command> class command_handler {
  public:
    /// Throws std::invalid_argument if a function of the decider is not set, and dcb::error if the
    /// policy allows no attempt.
    command_handler(store &to, decider<State, Command> how, retry_policy retry = {})
        : store_(&to), decider_(std::move(how)), retry_(retry) {
        detail::check_policy(retry_);
        detail::check_function(decider_.query, "decider::query");
        detail::check_function(decider_.decide, "decider::decide");
        detail::check_function(decider_.evolve, "decider::evolve");
    }

    /// Returns the position of the last event that was appended, or nothing if the decider returned
    /// no events.
    ///
    /// Exceptions of the decider are passed on. Throws dcb::condition_failed if the last attempt
    /// fails, and dcb::error if the store fails. The call options apply to each call on the store.
    std::optional<std::int64_t> handle(const Command &command,
                                       const call_options &options = {}) const {
        const query q = decider_.query(command);
        return detail::append_decided(*store_, retry_, options, [&] {
            cursor past = store_->read(q, {}, options);
            const State state = decider_.fold(past);
            std::vector<event> events = decider_.decide(state, command);
            return detail::decision{std::move(events), {q, past.position()}};
        });
    }

  private:
    store *store_;
    decider<State, Command> decider_;
    retry_policy retry_;
};

} // namespace dcb

#endif // DCB_DECIDER_HPP

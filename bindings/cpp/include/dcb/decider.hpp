/// \file
/// Deciders, and the handler that carries out their decisions.

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

/// A decision as four pure functions.
template <class State, class Command> struct decider {
    /// The events on which the decision about a command rests.
    std::function<dcb::query(const Command &)> query;

    /// The events that the command leads to; none if there is nothing to do. Throws, whatever it
    /// likes, to refuse.
    std::function<std::vector<event>(const State &, const Command &)> decide;

    /// The state after one more event.
    std::function<State(State, const event_view &)> evolve;

    /// The state before any event.
    std::function<State()> initial_state = [] { return State{}; };

    /// The state after a range of events, each an event_view or a sequenced_event.
    template <class Range> [[nodiscard]] State fold(Range &&events) const {
        State state = initial_state();
        for (const auto &e : events) {
            state = evolve(std::move(state), e);
        }
        return state;
    }
};

/// How often a refused append is decided anew, and how long the handler waits before it.
///
/// The wait before try `n` + 1 is drawn evenly from zero to `first_delay` * 2^(n - 1), `max_delay`
/// at most, so that rivals do not meet again.
struct retry_policy {
    /// Tries in all; 1 is no retry.
    int attempts = 10;
    std::chrono::microseconds first_delay = std::chrono::milliseconds(1);
    std::chrono::microseconds max_delay = std::chrono::milliseconds(100);
};

namespace detail {

/// What was decided, and the condition under which the decision still holds.
struct decision {
    std::vector<event> events;
    append_condition unchanged;
};

inline void check_policy(const retry_policy &retry) {
    if (retry.attempts < 1) {
        invalid("attempts", "must be at least 1");
    }
}

/// Where random numbers begin: somewhere else in each thread, also where the system has none.
inline std::minstd_rand::result_type random_seed() {
    try {
        return std::random_device{}();
    } catch (const std::exception &) {
        const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
        const std::size_t own = std::hash<std::thread::id>{}(std::this_thread::get_id());
        return static_cast<std::minstd_rand::result_type>(static_cast<std::size_t>(now) ^ own);
    }
}

/// Waits before the try that comes after the `attempt`th.
inline void back_off(const store &in, const retry_policy &retry, int attempt,
                     const call_options &options) {
    using std::chrono::microseconds;
    microseconds longest = std::min(retry.first_delay, retry.max_delay);
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
    // A wait for a position that no event can have sleeps, and ends when it is cancelled.
    static_cast<void>(
        in.wait(std::numeric_limits<std::int64_t>::max(),
                {std::chrono::ceil<std::chrono::milliseconds>(delay), options.cancel}));
}

/// Appends what `decide()` decides, and asks it again if something has come in between.
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

/// Decides on what a projection, or a join of several, finds: `decide` is given its state, and
/// gives the events that follow, a `std::vector<event>`; none if there is nothing to do. They are
/// appended under the condition that nothing has changed since, and if something has, `decide` is
/// asked again, with the new state.
///
/// Gives the position of the last event that was appended, or nothing if none was. What `decide`
/// throws comes out as it is. Throws dcb::condition_failed when the tries are used up, and
/// dcb::error when the store fails. The call options hold for each try.
template <class State, class Decide>
std::optional<std::int64_t> decide(store &in, const projection<State> &on, const Decide &decide,
                                   const call_options &options = {},
                                   const retry_policy &retry = {}) {
    detail::check_policy(retry);
    return detail::append_decided(in, retry, options, [&] {
        const decision_model<State> model = project(in, on, options);
        return detail::decision{decide(model.state), model.condition};
    });
}

/// Handles commands: reads, decides, appends under the condition that nothing has changed since,
/// and begins again if something has. Any number of threads may call it at once, if they may call
/// the decider's functions. The store has to outlive it.
template <class State, class Command> class command_handler {
  public:
    /// Throws dcb::error if the policy allows no try at all.
    command_handler(store &to, decider<State, Command> how, retry_policy retry = {})
        : store_(&to), decider_(std::move(how)), retry_(retry) {
        detail::check_policy(retry_);
    }

    /// Gives the position of the last event that was appended, or nothing if the decider decided
    /// on none, in which case nothing is appended.
    ///
    /// What `decide` throws comes out as it is. Throws dcb::condition_failed when the tries are
    /// used up, and dcb::error when the store fails. The call options hold for each try.
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

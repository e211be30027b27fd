/// \file
/// Deciders, and the command handler that runs them against a store.

#ifndef DCB_DECIDER_HPP
#define DCB_DECIDER_HPP

#include <dcb/decision.hpp>
#include <dcb/detail/gate.hpp>
#include <dcb/detail/request_events.hpp>
#include <dcb/detail/state_cache.hpp>
#include <dcb/detail/turns.hpp>
#include <dcb/projection.hpp>
#include <dcb/request_id.hpp>
#include <dcb/store.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace dcb {

namespace detail {

/// What a function returns that decides with such a value.
template <class Value> struct deciding { using type = decided<Value>; };
template <> struct deciding<void> { using type = std::vector<event>; };

/// The type of the value in what a function returned that decides.
template <class Result> struct value_of { using type = void; };
template <class Value> struct value_of<decided<Value>> { using type = Value; };

} // namespace detail

/// A decision, as three pure functions and a state to start from.
///
/// `decide` is required, and so are `query` and `evolve` unless there is a `projection`. A decider
/// with one that is not set throws std::invalid_argument, which names it, when it is folded or
/// given to a dcb::command_handler. A `Value` is what a decision has to return to its caller, such
/// as the number of the invoice that it makes.
template <class State, class Command, class Value = void> struct decider {
    /// Selects the events that the decision about a command rests on. Required.
    std::function<dcb::query(const Command &)> query;

    /// Returns the events that the command leads to, or none if there is nothing to do: a
    /// `std::vector<event>`, or a `decided<Value>` if there is a value. Throws any exception to
    /// reject the command. Required.
    std::function<typename detail::deciding<Value>::type(const State &, const Command &)> decide;

    /// Returns the state after one more event, which the query matches. Required.
    std::function<State(State, const event_view &)> evolve;

    /// The state before any event.
    State initial_state{};

    /// Restrict what the state is computed from to the newest events of the query, and so what a
    /// decision reads: see projection::last and projection::since. The append is still conditional
    /// on all events of the query.
    std::int64_t last = 0;
    std::string since{};

    /// Returns what a decision about the command has to know, in place of the other members except
    /// `decide`, which must not be set beside it. It suits a state that dcb::compose makes of
    /// several, and one for which it matters what the command says.
    std::function<dcb::projection<State>(const Command &)> projection{};

    /// What a cached decider remembers. Leave it to cached().
    std::shared_ptr<detail::state_cache<State>> cache{};

    /// Returns the decider with a memory for the states of so many queries, those that were used
    /// last. A decision of a dcb::command_handler whose state is remembered reads the last event
    /// that the state has seen and those after it, in place of the whole history. The append has
    /// the same condition as without the memory. So a decision comes to the same result, only
    /// faster if its history is long; measure before you use it for a short one.
    ///
    /// A state is used only in the dcb::store that it was read from, and only if that still has the
    /// last event that the state has seen. If the store was restored from a backup and has another
    /// history since, the decision reads that one.
    ///
    /// A copy of a `State` must not share what `evolve` or `decide` changes, as one with a
    /// std::shared_ptr to it would. Copies of the decider share the memory: do not change their
    /// members. Throws std::invalid_argument if `states` is 0, or if there is a `projection`, whose
    /// meaning depends on more than its query, or a `last` or `since`, which read little anyway.
    [[nodiscard]] decider cached(std::size_t states) const {
        if (states == 0) {
            throw std::invalid_argument("decider::cached: states must be 1 or more");
        }
        decider with_memory = *this;
        with_memory.cache = std::make_shared<detail::state_cache<State>>(states);
        with_memory.check_cache();
        return with_memory;
    }

    /// Returns the state after a range of events, each an event_view or a sequenced_event. It takes
    /// the events as they are: it knows no command, and so neither the query nor what `last` and
    /// `since` exclude of it; the fold of model() does.
    template <class Range> [[nodiscard]] State fold(Range &&events) const {
        detail::check_function(evolve, "decider::evolve");
        State state = initial_state;
        for (const auto &e : events) {
            state = evolve(std::move(state), e);
        }
        return state;
    }

    /// Returns what the decider knows about the command as a projection.
    [[nodiscard]] dcb::projection<State> model(const Command &command) const {
        if (projection) {
            return projection(command);
        }
        detail::check_function(query, "decider::query");
        return {query(command), initial_state, evolve, last, since};
    }

    /// Throws std::invalid_argument if a function is not set that is required, or one is that has
    /// no place beside `projection`.
    void check() const {
        detail::check_function(decide, "decider::decide");
        check_cache();
        if (!projection) {
            detail::check_function(query, "decider::query");
            detail::check_function(evolve, "decider::evolve");
        } else if (query || evolve || last != 0 || !since.empty()) {
            throw std::invalid_argument("decider::projection takes the place of query, evolve, "
                                        "last and since, and one of these is set");
        }
    }

    /// Throws std::invalid_argument if the decider remembers states that it must not.
    void check_cache() const {
        if (cache && (projection || last != 0 || !since.empty())) {
            throw std::invalid_argument(
                "decider::cached: the decider must not have a projection, last or since");
        }
    }
};

namespace detail {

inline void check_policy(const retry_policy &retry) {
    if (retry.attempts < 0) {
        invalid("attempts", "must not be negative");
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

/// Returns how long to wait between attempt number `attempt` and the next one. It is random, so
/// that two decisions which conflicted do not meet again.
inline std::chrono::microseconds delay_after(int attempt, const retry_policy &retry) {
    using std::chrono::microseconds;
    microseconds longest = std::min(retry.min_delay, retry.max_delay);
    for (int i = 1; i < attempt && longest < retry.max_delay; ++i) {
        longest = longest > retry.max_delay / 2 ? retry.max_delay : longest * 2;
    }
    if (longest <= microseconds::zero()) {
        return microseconds::zero();
    }
    thread_local std::minstd_rand random{random_seed()};
    return microseconds(
        std::uniform_int_distribution<microseconds::rep>(0, longest.count())(random));
}

/// Returns when no further attempt may begin, of a decision that began at `start`.
inline turns::clock::time_point end_of(turns::clock::time_point start, const retry_policy &retry) {
    // So far away that it cannot be told from never, and no sum overflows.
    constexpr std::chrono::microseconds never = std::chrono::hours(24 * 365);
    const bool is_limited = retry.timeout >= std::chrono::microseconds::zero();
    return start + (is_limited ? std::min(retry.timeout, never) : never);
}

/// Waits for the delay, or until the call is cancelled.
inline void back_off(const store &in, std::chrono::microseconds delay,
                     const call_options &options) {
    if (delay <= std::chrono::microseconds::zero()) {
        return; // the read that follows notices a cancel
    }
    if (options.cancel == nullptr) {
        std::this_thread::sleep_for(delay);
        return;
    }
    // A wait for a position that no event can have sleeps until its timeout, and can be cancelled.
    static_cast<void>(
        in.wait(std::numeric_limits<std::int64_t>::max(),
                {std::chrono::ceil<std::chrono::milliseconds>(delay), options.cancel}));
}

/// The decisions of a store that have lost.
struct store_turns {
    [[nodiscard]] static std::shared_ptr<turns> of(const store &s) { return s.turns_; }
};

/// Throws the conflict as a retry_error if the policy allows no attempt after a further delay.
inline void check_retry(const append_result &conflict, const retry_policy &retry, int attempts,
                        std::chrono::microseconds elapsed, std::chrono::microseconds delay) {
    const bool is_last = retry.attempts != 0 && attempts >= retry.attempts;
    const bool is_late = retry.timeout >= std::chrono::microseconds::zero() &&
                         (elapsed >= retry.timeout || delay >= retry.timeout - elapsed);
    if (is_last || is_late) {
        throw retry_error(conflict.position(), conflict.condition(), attempts, elapsed);
    }
}

/// Returns the decision that stored the events of a request.
template <class Value> decision<Value> repeat(const stored_request &stored, int attempts) {
    decision<Value> made;
    made.first = stored.first;
    made.last = stored.last;
    made.attempts = attempts;
    made.repeated = true;
    if constexpr (!std::is_void_v<Value>) {
        if (stored.value) {
            made.value = value_codec<Value>::decode(*stored.value);
        }
    }
    return made;
}

/// Reads, decides and appends, and does all of it again if a condition fails. `append` is called
/// with the events, their conditions and the number of attempts, and returns an append_result.
///
/// `request` is a pointer to a request_id, or of the type std::nullptr_t: then the value needs no
/// value_codec. `cache` is null, or has states of this projection's query and evolve. `guard` is
/// the query of the condition; if it is null, that is the projection's.
template <class Value, class State, class Decide, class Request, class Append>
decision<Value> make_decision(const store &in, const projection<State> &on, const Decide &decide,
                              Request request, const call_options &options,
                              const retry_policy &retry, const Append &append,
                              state_cache<State> *cache = nullptr, const query *guard = nullptr) {
    using std::chrono::steady_clock;
    check_policy(retry);
    const steady_clock::time_point start = steady_clock::now();
    const auto elapsed = [&] {
        return std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - start);
    };
    constexpr bool is_request = !std::is_null_pointer_v<Request>;
    std::optional<query> asked;
    if constexpr (is_request) {
        asked = tagged(request->tag());
    }
    const guard_queries guards{guard != nullptr ? guard : &on.query, asked ? &*asked : nullptr};
    const std::shared_ptr<turns> queue = store_turns::of(in);
    const auto wait_for_turn = [&](const turns::turn &own) {
        if (!own.is_next()) {
            const call_deadline call(in.get(), options, forever);
            own.wait(end_of(start, retry), [&] { call.check_cancel(); });
        }
    };
    if (queue) {
        wait_for_turn(queue->visit(guards));
    }
    turns::turn own;
    for (int attempt = 1;; ++attempt) {
        stored_request stored;
        const auto see = [&](const event_view &e) {
            if constexpr (is_request) {
                stored.see(e, *request);
            }
        };
        const query *const more = asked ? &*asked : nullptr;
        const auto [state, position] = cache != nullptr
                                           ? read_cached(in, on, more, see, options, *cache)
                                           : read_state(in, on, more, see, options);
        if constexpr (is_request) {
            if (stored.first != 0) {
                return repeat<Value>(stored, attempt);
            }
        }
        auto result = decide(state);
        decision<Value> made;
        made.attempts = attempt;
        std::optional<std::string> encoded;
        std::vector<event> events;
        if constexpr (std::is_void_v<Value>) {
            events = std::move(result);
        } else {
            events = std::move(result.events);
            if constexpr (is_request) {
                encoded = value_codec<Value>::encode(result.value);
            }
            made.value = std::move(result.value);
        }
        if (events.empty()) {
            return made;
        }
        std::vector<append_condition> conditions;
        conditions.emplace_back(*guards[0], position);
        if constexpr (is_request) {
            events = mark_request(events, *request, encoded);
            conditions.emplace_back(*asked, position);
        }
        const append_result appended = append(events, conditions, attempt);
        if (appended) {
            made.last = appended.position();
            made.first = made.last - static_cast<std::int64_t>(events.size()) + 1;
            made.repeated = appended.is_repeated();
            return made;
        }
        // The queue takes the place of the first wait.
        const std::chrono::microseconds delay =
            attempt > 1 ? delay_after(attempt - 1, retry) : std::chrono::microseconds::zero();
        check_retry(appended, retry, attempt, elapsed(), delay);
        if (!own && queue) {
            own = queue->enter(guards, events);
        }
        back_off(in, delay, options);
        wait_for_turn(own);
        check_retry(appended, retry, attempt, elapsed(), std::chrono::microseconds::zero());
    }
}

/// Makes a decision whose events the store itself appends.
template <class Value, class State, class Decide, class Request>
decision<Value> decide_on(store &in, const projection<State> &on, const Decide &decide,
                          Request request, const call_options &options, const retry_policy &retry,
                          state_cache<State> *cache = nullptr, const query *guard = nullptr) {
    check_function(on.evolve, "projection::evolve");
    return make_decision<Value>(
        in, on, decide, request, options, retry,
        [&](const std::vector<event> &events, const std::vector<append_condition> &conditions,
            int) { return in.try_append(events, conditions, options); },
        cache, guard);
}

} // namespace detail

/// Makes a decision on the state of a projection, and appends the events that follow from it.
///
/// `decide` is called with the state and returns a `std::vector<event>`, which is empty if there is
/// nothing to do; or, if the decision has a value of its own, a dcb::decided. The events are
/// appended under the condition that no event which the projection's query matches has been
/// appended since the read. If one has, everything is done again with the new state, as long as
/// `retry` allows.
///
/// Exceptions of `decide` are passed on. Throws dcb::retry_error, which is a dcb::condition_failed,
/// once the retries are used up, dcb::error if the store fails, and std::invalid_argument if
/// `decide` or the projection's `evolve` is not set. The call options apply to each call on the
/// store.
template <class State, class Decide>
auto decide(store &in, const projection<State> &on, const Decide &decide,
            const call_options &options = {}, const retry_policy &retry = {}) {
    using result = std::decay_t<std::invoke_result_t<const Decide &, const State &>>;
    detail::check_function(decide, "decide");
    return detail::decide_on<typename detail::value_of<result>::type>(in, on, decide, nullptr,
                                                                      options, retry);
}

/// Makes the decision of a request, or returns what it was if it has been made; see
/// dcb::request_id.
template <class State, class Decide>
auto decide(store &in, const projection<State> &on, const Decide &decide, const request_id &request,
            const call_options &options = {}, const retry_policy &retry = {}) {
    using result = std::decay_t<std::invoke_result_t<const Decide &, const State &>>;
    detail::check_function(decide, "decide");
    return detail::decide_on<typename detail::value_of<result>::type>(in, on, decide, &request,
                                                                      options, retry);
}

/// Runs a decider against a store.
///
/// For each command the handler reads, decides, and appends under the condition that no event which
/// the decider's query matches has been appended since. If one has, it does all of this again. Any
/// number of threads may call a handler at once, provided that the decider's functions allow it.
/// The store must outlive the handler.
template <class State, class Command, class Value = void> class command_handler {
  public:
    /// `condition_query` returns the query that guards the append. If it is not set, that is the
    /// decider's. A narrower query lets more appends pass that do not affect each other; a wider
    /// one also rejects the append for events that the decision did not read.
    ///
    /// Throws as decider::check does, and dcb::error if the number of attempts is negative.
    command_handler(store &to, decider<State, Command, Value> how, retry_policy retry = {},
                    std::function<query(const Command &)> condition_query = {})
        : store_(&to), decider_(std::move(how)), retry_(retry),
          condition_query_(std::move(condition_query)) {
        detail::check_policy(retry_);
        decider_.check();
    }

    /// Decides about the command, appends the events, and returns what happened.
    ///
    /// Exceptions of the decider are passed on. Throws dcb::retry_error, which is a
    /// dcb::condition_failed, once the retries are used up, and dcb::error if the store fails. The
    /// call options apply to each call on the store.
    decision<Value> handle(const Command &command, const call_options &options = {}) const {
        return run(command, nullptr, options);
    }

    /// Decides about the command of a request, or returns what was decided if that has been done;
    /// see dcb::request_id.
    decision<Value> handle(const Command &command, const request_id &request,
                           const call_options &options = {}) const {
        return run(command, &request, options);
    }

  private:
    template <class Request>
    decision<Value> run(const Command &command, Request request,
                        const call_options &options) const {
        const auto decide = [&](const State &state) { return decider_.decide(state, command); };
        std::optional<query> guard;
        if (condition_query_) {
            guard = condition_query_(command);
        }
        return detail::decide_on<Value>(*store_, decider_.model(command), decide, request, options,
                                        retry_, decider_.cache.get(), guard ? &*guard : nullptr);
    }

    store *store_;
    decider<State, Command, Value> decider_;
    retry_policy retry_;
    std::function<query(const Command &)> condition_query_;
};

} // namespace dcb

#endif // DCB_DECIDER_HPP

/// \file
/// Projections, and the decision models that are read with them.

#ifndef DCB_PROJECTION_HPP
#define DCB_PROJECTION_HPP

#include <dcb/store.hpp>

#include <functional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace dcb {

namespace detail {

template <class F> struct is_nullable_function : std::is_pointer<F> {};
template <class R, class... Args>
struct is_nullable_function<std::function<R(Args...)>> : std::true_type {};

/// Throws unless `f` can be called; `name` says whose function is missing.
template <class F> void check_function(const F &f, const char *name) {
    if constexpr (is_nullable_function<F>::value) {
        if (!f) {
            throw std::invalid_argument(std::string(name) + " is not set");
        }
    }
}

} // namespace detail

/// A state that is computed from the events that a query matches.
///
/// A small projection answers one question, such as how many seats of a course are taken. The
/// function dcb::compose makes one projection of several.
///
/// \code
///     dcb::projection<int> taken{
///         dcb::of_type("StudentSubscribed").tagged("course:c1"), 0,
///         [](int seats, const dcb::event_view &) { return seats + 1; }};
/// \endcode
template <class State> struct projection {
    /// Selects the events that the state is computed from. Required.
    dcb::query query;

    /// The state before any event.
    State initial_state{};

    /// Returns the state after one more event, which `query` matches. Required.
    std::function<State(State, const event_view &)> evolve;

    /// Returns the state after a range of events, each an event_view or a sequenced_event. Events
    /// that the query does not match are skipped. Throws std::invalid_argument if `evolve` is not
    /// set.
    template <class Range> [[nodiscard]] State fold(Range &&events) const {
        detail::check_function(evolve, "projection::evolve");
        State state = initial_state;
        for (const auto &each : events) {
            const event_view &e = each;
            if (query.matches(e)) {
                state = evolve(std::move(state), e);
            }
        }
        return state;
    }
};

/// The place of one projection in a larger state, made by dcb::part_of for dcb::compose.
template <class Whole> class part {
  public:
    /// Places `projection` where `field` says; see dcb::part_of.
    template <class State, class Field>
    part(projection<State> projection, Field field) : query_(projection.query) {
        detail::check_function(projection.evolve, "projection::evolve");
        initialize_ = [initial = projection.initial_state, field](Whole &whole) {
            std::invoke(field, whole) = initial;
        };
        evolve_ = [projection = std::move(projection), field](Whole &whole, const event_view &e) {
            if (projection.query.matches(e)) {
                State &state = std::invoke(field, whole);
                state = projection.evolve(std::move(state), e);
            }
        };
    }

  private:
    template <class W, class... Rest>
    friend projection<W> compose(part<W> first, const Rest &...rest);

    query query_;
    std::function<void(Whole &)> initialize_;
    std::function<void(Whole &, const event_view &)> evolve_;
};

/// Places a projection in a larger state: `field` is the member of `Whole` that holds the
/// projection's state. Throws std::invalid_argument if the projection's `evolve` is not set.
template <class State, class Whole>
[[nodiscard]] part<Whole> part_of(projection<State> projection, State Whole::*field) {
    return {std::move(projection), field};
}

/// Composes projections into one, whose state is a struct with a member for each of them.
///
/// The query of the result is the union of their queries, so one append condition guards them all.
/// Each projection evolves its own member, with the events that its own query matches. The other
/// members of the state are value-initialized. A composed projection can be composed again.
///
/// \code
///     struct course_state { bool exists; int capacity; int taken; };
///     const auto course = dcb::compose(dcb::part_of(exists("c1"), &course_state::exists),
///                                      dcb::part_of(capacity("c1"), &course_state::capacity),
///                                      dcb::part_of(taken("c1"), &course_state::taken));
/// \endcode
template <class Whole, class... Rest>
[[nodiscard]] projection<Whole> compose(part<Whole> first, const Rest &...rest) {
    static_assert((std::is_same_v<Rest, part<Whole>> && ...),
                  "every part must belong to the same state");
    query together = (first.query_ | ... | rest.query_);
    const std::vector<part<Whole>> parts{std::move(first), rest...};
    Whole initial{};
    for (const part<Whole> &each : parts) {
        each.initialize_(initial);
    }
    return {std::move(together), std::move(initial), [parts](Whole whole, const event_view &e) {
                for (const part<Whole> &each : parts) {
                    each.evolve_(whole, e);
                }
                return whole;
            }};
}

/// Composes projections into one whose state is the tuple of their states, in their order.
///
/// \code
///     const auto course = dcb::compose(exists("c1"), capacity("c1"), taken("c1"));
/// \endcode
template <class... States>
[[nodiscard]] projection<std::tuple<States...>> compose(projection<States>... projections) {
    static_assert(sizeof...(States) > 0, "compose at least one projection");
    (detail::check_function(projections.evolve, "projection::evolve"), ...);
    query together = (... | projections.query);
    std::tuple<States...> initial{projections.initial_state...};
    return {std::move(together), std::move(initial),
            [all = std::make_tuple(std::move(projections)...)](std::tuple<States...> states,
                                                               const event_view &e) {
                const auto evolve = [&](const auto &projection, auto &state) {
                    if (projection.query.matches(e)) {
                        state = projection.evolve(std::move(state), e);
                    }
                };
                std::apply(
                    [&](const auto &...projection) {
                        std::apply([&](auto &...state) { (evolve(projection, state), ...); },
                                   states);
                    },
                    all);
                return states;
            }};
}

/// The state that a decision rests on, and the condition under which the decision still holds.
template <class State> struct decision_model {
    State state;

    /// Fails if an event that the projection's query matches was appended after the read.
    append_condition condition;
};

/// Reads the events of a projection in one snapshot, and returns their state and the condition for
/// an append. Throws std::invalid_argument if the projection's `evolve` is not set.
///
/// \code
///     auto [state, condition] = dcb::project(store, dcb::compose(exists, capacity, taken));
///     auto &[is_defined, seats, seats_taken] = state;
///     ...
///     store.append(subscribed, condition);
/// \endcode
template <class State>
[[nodiscard]] decision_model<State> project(const store &from, const projection<State> &what,
                                            const call_options &options = {}) {
    detail::check_function(what.evolve, "projection::evolve");
    State state = what.initial_state;
    cursor events = from.read(what.query, {}, options);
    for (const event_view &e : events) {
        state = what.evolve(std::move(state), e);
    }
    return {std::move(state), {what.query, events.position()}};
}

} // namespace dcb

#endif // DCB_PROJECTION_HPP

/// \file
/// Projections, and the decision models that are read with them.

#ifndef DCB_PROJECTION_HPP
#define DCB_PROJECTION_HPP

#include <dcb/detail/window.hpp>
#include <dcb/store.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace dcb {

template <class State> struct projection;
template <class Whole> class part;

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

template <class State> std::vector<leaf<State>> leaves_of(const projection<State> &p);

/// Returns a part for each projection, at the same place in the tuple.
template <class Whole, std::size_t... Places, class... States>
std::vector<part<Whole>> tuple_parts(std::index_sequence<Places...>,
                                     const projection<States> &...projections) {
    return {part<Whole>(projections,
                        [](Whole &whole) -> States & { return std::get<Places>(whole); })...};
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
///
/// A state that needs only the newest events says so with `last` or `since`. Then no more than
/// those are read. The append is still conditional on all events of the query: whatever the
/// projection would see if it came now makes the append conflict.
///
/// \code
///     dcb::projection<int> number{dcb::of_type("InvoiceCreated"), 0, number_of};
///     number.last = 1; // reads one event, however many there are
/// \endcode
template <class State> struct projection {
    /// Selects the events that the state is computed from. Required.
    dcb::query query;

    /// The state before any event.
    State initial_state{};

    /// Returns the state after one more event, which `query` matches. Required.
    std::function<State(State, const event_view &)> evolve;

    /// Restricts the projection to so many of these events, the newest ones. With 1, the state
    /// depends on the last event alone. 0 means all events. A negative number is an error.
    std::int64_t last = 0;

    /// Restricts the projection to the newest of these events that has this type, such as a closing
    /// balance, and those after it. If no event has it, and if it is empty, that is all events.
    std::string since{};

    /// The projections that this one is composed of, if one of them has a `last` or `since`. Leave
    /// it to dcb::compose.
    std::vector<detail::leaf<State>> parts{};

    /// Returns the state after a range of events in the order of their positions, each an
    /// event_view or a sequenced_event. Events that the query does not match, or that `last` and
    /// `since` exclude, are skipped. Throws std::invalid_argument if `evolve` is not set.
    template <class Range> [[nodiscard]] State fold(Range &&events) const {
        detail::check_function(evolve, "projection::evolve");
        State state = initial_state;
        if (const auto leaves = detail::leaves_of(*this); detail::has_limit(leaves)) {
            std::vector<sequenced_event> all;
            for (const auto &each : events) {
                const event_view &e = each;
                all.push_back(static_cast<sequenced_event>(e));
            }
            detail::fold_leaves(state, leaves, all);
            return state;
        }
        for (const auto &each : events) {
            const event_view &e = each;
            if (query.matches(e)) {
                state = evolve(std::move(state), e);
            }
        }
        return state;
    }
};

namespace detail {

/// Returns the projections that `p` is composed of if one of them has a limit, or else `p` itself,
/// which may have one of its own.
template <class State> std::vector<leaf<State>> leaves_of(const projection<State> &p) {
    if (p.last < 0) {
        invalid("projection::last", "must not be negative");
    }
    if (!p.parts.empty() && p.last == 0 && p.since.empty()) {
        return p.parts;
    }
    return {leaf<State>{{p.query, p.last, p.since},
                        [evolve = p.evolve](State &state, const event_view &e) {
                            state = evolve(std::move(state), e);
                        }}};
}

} // namespace detail

/// The place of one projection in a larger state, made by dcb::part_of for dcb::compose.
template <class Whole> class part {
  public:
    /// Places `projection` where `field` says; see dcb::part_of.
    template <class State, class Field>
    part(const projection<State> &projection, Field field) : query_(projection.query) {
        detail::check_function(projection.evolve, "projection::evolve");
        initialize_ = [initial = projection.initial_state, field](Whole &whole) {
            std::invoke(field, whole) = initial;
        };
        for (detail::leaf<State> each : detail::leaves_of(projection)) {
            leaves_.push_back({std::move(each.window), [evolve = std::move(each.evolve),
                                                        field](Whole &whole, const event_view &e) {
                                   evolve(std::invoke(field, whole), e);
                               }});
        }
    }

  private:
    template <class W, class... Rest>
    friend projection<W> compose(part<W> first, const Rest &...rest);
    template <class... States>
    friend projection<std::tuple<States...>> compose(projection<States>... projections);

    /// Composes parts into one projection, which starts from `initial`.
    static projection<Whole> together(const std::vector<part> &parts, Whole initial) {
        query union_of_all = parts.front().query_;
        for (std::size_t i = 1; i < parts.size(); ++i) {
            union_of_all = std::move(union_of_all) | parts[i].query_;
        }
        std::vector<detail::leaf<Whole>> leaves;
        for (const part &each : parts) {
            leaves.insert(leaves.end(), each.leaves_.begin(), each.leaves_.end());
        }
        projection<Whole> composed{std::move(union_of_all), std::move(initial), {}};
        if (detail::has_limit(leaves)) {
            composed.parts = leaves;
        }
        composed.evolve = [leaves = std::move(leaves)](Whole whole, const event_view &e) {
            for (const detail::leaf<Whole> &each : leaves) {
                if (each.window.query.matches(e)) {
                    each.evolve(whole, e);
                }
            }
            return whole;
        };
        return composed;
    }

    query query_;
    std::function<void(Whole &)> initialize_;
    std::vector<detail::leaf<Whole>> leaves_;
};

/// Places a projection in a larger state: `field` is the member of `Whole` that holds the
/// projection's state. Throws std::invalid_argument if the projection's `evolve` is not set.
template <class State, class Whole>
[[nodiscard]] part<Whole> part_of(const projection<State> &projection, State Whole::*field) {
    return {projection, field};
}

/// Composes projections into one, whose state is a struct with a member for each of them.
///
/// The query of the result is the union of their queries, so one append condition guards them all.
/// Each projection evolves its own member, with the events that its own query matches, as far as
/// its `last` and `since` allow. The `evolve` of the result itself knows neither. The other members
/// of the state are value-initialized. A composed projection can be composed again.
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
    const std::vector<part<Whole>> parts{std::move(first), rest...};
    Whole initial{};
    for (const part<Whole> &each : parts) {
        each.initialize_(initial);
    }
    return part<Whole>::together(parts, std::move(initial));
}

/// Composes projections into one whose state is the tuple of their states, in their order.
///
/// \code
///     const auto course = dcb::compose(exists("c1"), capacity("c1"), taken("c1"));
/// \endcode
template <class... States>
[[nodiscard]] projection<std::tuple<States...>> compose(projection<States>... projections) {
    static_assert(sizeof...(States) > 0, "compose at least one projection");
    using whole = std::tuple<States...>;
    whole initial{projections.initial_state...};
    return part<whole>::together(
        detail::tuple_parts<whole>(std::index_sequence_for<States...>(), projections...),
        std::move(initial));
}

/// The state that a decision rests on, and the condition under which the decision still holds.
template <class State> struct decision_model {
    State state;

    /// Fails if an event that the projection's query matches was appended after the read.
    append_condition condition;
};

namespace detail {

/// A state, and the position as of which it was read.
template <class State> struct read_state_result {
    State state;
    std::int64_t position;
};

/// Reads the events of a projection, and those of `more` if it is not null, as of one position.
/// Calls `see` with each event of `more`, and perhaps with others.
template <class State, class See>
read_state_result<State> read_state(const store &from, const projection<State> &what,
                                    const query *more, const See &see,
                                    const call_options &options) {
    State state = what.initial_state;
    if (const auto leaves = leaves_of(what); has_limit(leaves)) {
        const std::int64_t position = from.head(options);
        const auto wanted = more != nullptr ? std::optional<query>(*more) : std::nullopt;
        const auto events = read_windows(from, leaves, wanted, position, options);
        for (const sequenced_event &e : events) {
            see(event_view(e));
        }
        fold_leaves(state, leaves, events);
        return {std::move(state), position};
    }
    cursor events = from.read(more != nullptr ? what.query | *more : what.query, {}, options);
    for (const event_view &e : events) {
        see(e);
        if (more == nullptr || what.query.matches(e)) {
            state = what.evolve(std::move(state), e);
        }
    }
    return {std::move(state), events.position()};
}

} // namespace detail

/// Reads the events of a projection as of one position, and returns their state and the condition
/// for an append. Throws std::invalid_argument if the projection's `evolve` is not set.
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
    auto [state, position] = detail::read_state(
        from, what, nullptr, [](const auto &) {}, options);
    return {std::move(state), {what.query, position}};
}

} // namespace dcb

#endif // DCB_PROJECTION_HPP

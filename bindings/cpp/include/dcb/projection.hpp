/// \file
/// Decision models: what a decision rests on, and the condition that guards it.

#ifndef DCB_PROJECTION_HPP
#define DCB_PROJECTION_HPP

#include <dcb/store.hpp>

#include <functional>
#include <tuple>
#include <utility>

namespace dcb {

/// One question to the past: the events that bear on it, and how they change the answer.
///
/// \code
///     dcb::projection<int> seats{
///         dcb::of_type("StudentSubscribed").tagged("course:c1"), 0,
///         [](int &taken, const dcb::event_view &) { ++taken; }};
/// \endcode
template <class State> struct projection {
    dcb::query query;
    State initial{};

    /// Called with each matching event, in the order of positions.
    std::function<void(State &, const event_view &)> apply;
};

/// Several projections as one: its query is the union of theirs, its state their states side by
/// side, and each sees only the events that its own query matches. A join may be joined again.
template <class... States>
[[nodiscard]] projection<std::tuple<States...>> join(projection<States>... parts) {
    static_assert(sizeof...(States) > 0, "join at least one projection");
    auto together = (... | parts.query);
    std::tuple<States...> initial{parts.initial...};
    return {std::move(together), std::move(initial),
            [all = std::make_tuple(std::move(parts)...)](std::tuple<States...> &states,
                                                         const event_view &e) {
                const auto show = [&](const auto &part, auto &state) {
                    if (part.query.matches(e)) {
                        part.apply(state, e);
                    }
                };
                std::apply(
                    [&](const auto &...part) {
                        std::apply([&](auto &...state) { (show(part, state), ...); }, states);
                    },
                    all);
            }};
}

/// What a projection found, and the condition under which it still holds.
template <class State> struct decision_model {
    State state;

    /// Fails if an event has been appended since that the projection would have seen.
    append_condition condition;
};

/// Reads what bears on the projection, in one snapshot.
///
/// \code
///     auto [state, condition] = dcb::project(store, dcb::join(exists, capacity, seats));
///     auto &[exists, capacity, taken] = state;
///     ...
///     store.append(subscribed, condition);
/// \endcode
template <class State>
[[nodiscard]] decision_model<State> project(const store &from, const projection<State> &what,
                                            const call_options &options = {}) {
    State state = what.initial;
    cursor events = from.read(what.query, {}, options);
    for (const event_view &e : events) {
        what.apply(state, e);
    }
    return {std::move(state), {what.query, events.position()}};
}

} // namespace dcb

#endif // DCB_PROJECTION_HPP

/// \file
/// Which of the events of a query a projection needs, and how they are read. Not for direct use.

#ifndef DCB_DETAIL_WINDOW_HPP
#define DCB_DETAIL_WINDOW_HPP

#include <dcb/store.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dcb::detail {

/// The newest events of a query: see projection::last and projection::since.
struct window {
    dcb::query query;
    std::int64_t last;
    std::string since;

    [[nodiscard]] bool is_limited() const noexcept { return last != 0 || !since.empty(); }

    /// Returns the index of the first event in the window, of events in the order of their
    /// positions.
    [[nodiscard]] std::size_t start(const std::vector<sequenced_event> &events) const noexcept {
        if (!is_limited()) {
            return 0;
        }
        std::int64_t found = 0;
        for (std::size_t i = events.size(); i-- > 0;) {
            if (!query.matches(events[i])) {
                continue;
            }
            if (++found == last || (!since.empty() && events[i].type == since)) {
                return i;
            }
        }
        return 0;
    }

    /// Returns the query for those events of the window's query that have the type `since`, or
    /// nothing if there cannot be one.
    [[nodiscard]] std::optional<dcb::query> since_query() const {
        if (since.empty()) {
            return std::nullopt;
        }
        if (query.is_all()) {
            return of_type(since);
        }
        std::vector<query_item> items;
        for (const query_item &item : query.items()) {
            const std::vector<std::string> &types = item.types();
            if (types.empty() || std::find(types.begin(), types.end(), since) != types.end()) {
                const query_item narrowed = of_type(since);
                items.push_back(item.tags().empty() ? narrowed : narrowed.tagged(item.tags()));
            }
        }
        if (items.empty()) {
            return std::nullopt;
        }
        return dcb::query(std::move(items));
    }
};

/// A projection, other than a composed one, within a state.
template <class State> struct leaf {
    detail::window window;
    std::function<void(State &, const event_view &)> evolve;
};

template <class State> bool has_limit(const std::vector<leaf<State>> &leaves) noexcept {
    return std::any_of(leaves.begin(), leaves.end(),
                       [](const leaf<State> &each) { return each.window.is_limited(); });
}

/// Applies to the state what each leaf needs of the events, which are in the order of their
/// positions.
template <class State>
void fold_leaves(State &state, const std::vector<leaf<State>> &leaves,
                 const std::vector<sequenced_event> &events) {
    std::vector<std::size_t> starts;
    for (const leaf<State> &each : leaves) {
        starts.push_back(each.window.start(events));
    }
    for (std::size_t at = 0; at < events.size(); ++at) {
        const event_view e = events[at];
        for (std::size_t i = 0; i < leaves.size(); ++i) {
            if (at >= starts[i] && leaves[i].window.query.matches(e)) {
                leaves[i].evolve(state, e);
            }
        }
    }
}

/// Returns what the leaves need of the events up to `position`, and all events of `more` if there
/// is such a query, in the order of their positions.
///
/// Events are only ever added above the head. So if `position` was the head, all reads together
/// show the store as it was then.
template <class State>
std::vector<sequenced_event> read_windows(const store &from, const std::vector<leaf<State>> &leaves,
                                          std::optional<query> more, std::int64_t position,
                                          const call_options &call) {
    std::vector<sequenced_event> events;
    const auto add = [&](const query &q, read_options options) {
        options.before = position + 1;
        read_result found = from.read_all(q, options, call);
        std::move(found.events.begin(), found.events.end(), std::back_inserter(events));
        return found.events.size();
    };
    for (const leaf<State> &each : leaves) {
        const window &w = each.window;
        if (!w.is_limited()) {
            more = more ? *more | w.query : w.query;
            continue;
        }
        read_options options;
        if (const auto since = w.since_query()) {
            read_options newest;
            newest.limit = 1;
            newest.backwards = true;
            if (add(*since, newest) > 0) {
                options.after = events.back().position;
            }
        }
        if (w.last > 0) {
            options.limit = w.last;
            options.backwards = true;
        }
        add(w.query, options);
    }
    if (more) { // what is needed as a whole is one read
        add(*more, {});
    }
    std::sort(events.begin(), events.end(), [](const sequenced_event &a, const sequenced_event &b) {
        return a.position < b.position;
    });
    const auto is_same = [](const sequenced_event &a, const sequenced_event &b) {
        return a.position == b.position;
    };
    events.erase(std::unique(events.begin(), events.end(), is_same), events.end());
    return events;
}

} // namespace dcb::detail

#endif // DCB_DETAIL_WINDOW_HPP

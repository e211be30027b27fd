/// \file
/// Queries and append conditions.
///
/// \code
///     dcb::query q = dcb::of_type("CourseDefined", "CapacityChanged").tagged("course:c1") |
///                    dcb::of_type("StudentSubscribed").tagged(dcb::tag("student", id));
/// \endcode

#ifndef DCB_QUERY_HPP
#define DCB_QUERY_HPP

#include <dcb/event.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace dcb {

namespace detail {

/// Whether at most one of the types is a text, and the others are tags.
template <class... Tags>
inline constexpr bool is_unambiguous = ((std::is_base_of_v<tag, Tags> ? 0 : 1) + ... + 0) <= 1;

} // namespace detail

/// An item of a query. It matches an event that has one of its types and all of its tags.
///
/// An item without types matches events of every type, and one without tags events with any tags.
/// Items are made by dcb::of_type and dcb::tagged.
class query_item {
  public:
    query_item() = default;

    /// Returns an item that matches events of these types, too. Name at least one.
    template <class... Names> [[nodiscard]] query_item of_type(const Names &...names) const {
        static_assert(sizeof...(Names) > 0, "name at least one type");
        query_item narrowed = *this;
        (narrowed.add_type(std::string(names)), ...);
        return narrowed;
    }

    /// Returns an item that matches only events which have these tags, too. Name at least one.
    ///
    /// The arguments are objects of dcb::tag, at most one of them a text: `tagged("course:c1")`,
    /// `tagged(dcb::tag("course", id), dcb::tag("student", "s1"))`.
    template <class... Tags, std::enable_if_t<detail::is_unambiguous<Tags...>, int> = 0>
    [[nodiscard]] query_item tagged(const Tags &...tags) const {
        static_assert(sizeof...(Tags) > 0, "name at least one tag");
        query_item narrowed = *this;
        (narrowed.tags_.emplace_back(tag(tags)), ...);
        return narrowed;
    }

    /// Several texts do not compile, since `tagged("student", id)` looks like a key and its value.
    /// Write `tagged(dcb::tag("student", id))`, or call `tagged` once for each text.
    template <class... Tags, std::enable_if_t<!detail::is_unambiguous<Tags...>, int> = 0>
    query_item tagged(const Tags &...several_texts) const = delete;

    /// Returns an item that matches events of these types, too. Throws dcb::error if the list is
    /// empty, since an item without types matches every type.
    [[nodiscard]] query_item of_type(const std::vector<std::string> &names) const {
        if (names.empty()) {
            detail::invalid("types", "name at least one");
        }
        query_item narrowed = *this;
        for (const std::string &name : names) {
            narrowed.add_type(name);
        }
        return narrowed;
    }

    /// Returns an item that matches only events which have these tags, too. Throws dcb::error if
    /// the list is empty, since an item without tags matches any tags.
    [[nodiscard]] query_item tagged(const std::vector<tag> &tags) const {
        if (tags.empty()) {
            detail::invalid("tags", "name at least one");
        }
        query_item narrowed = *this;
        narrowed.tags_.insert(narrowed.tags_.end(), tags.begin(), tags.end());
        return narrowed;
    }

    [[nodiscard]] const std::vector<std::string> &types() const noexcept { return types_; }
    [[nodiscard]] const std::vector<tag> &tags() const noexcept { return tags_; }

    /// Returns whether the item matches the event.
    [[nodiscard]] bool matches(const event_view &e) const noexcept {
        const bool type_fits = types_.empty() || std::any_of(types_.begin(), types_.end(),
                                                             [&](const std::string &type) {
                                                                 return type == e.type();
                                                             });
        return type_fits &&
               std::all_of(tags_.begin(), tags_.end(), [&](const tag &t) { return e.has_tag(t); });
    }

  private:
    void add_type(std::string name) {
        detail::check_name("type", name);
        types_.push_back(std::move(name));
    }

    std::vector<std::string> types_;
    std::vector<tag> tags_;
};

/// Returns an item that matches events of these types; see query_item::of_type.
template <class... Names> [[nodiscard]] query_item of_type(const Names &...names) {
    return query_item().of_type(names...);
}
/// Returns an item that matches events of these types; see query_item::of_type.
[[nodiscard]] inline query_item of_type(const std::vector<std::string> &names) {
    return query_item().of_type(names);
}

/// Returns an item that matches events which have all of these tags; see query_item::tagged.
template <class... Tags, std::enable_if_t<detail::is_unambiguous<Tags...>, int> = 0>
[[nodiscard]] query_item tagged(const Tags &...tags) {
    return query_item().tagged(tags...);
}
/// Several texts do not compile; see query_item::tagged.
template <class... Tags, std::enable_if_t<!detail::is_unambiguous<Tags...>, int> = 0>
query_item tagged(const Tags &...several_texts) = delete;
/// Returns an item that matches events which have all of these tags; see query_item::tagged.
[[nodiscard]] inline query_item tagged(const std::vector<tag> &tags) {
    return query_item().tagged(tags);
}

/// A query matches an event that any of its items matches. The query all() matches every event.
class query {
  public:
    /// Returns the query that matches every event.
    [[nodiscard]] static query all() { return query(); }

    /// Makes a query of one item. It is implicit, so that an item can be used as a query.
    query(query_item item) { items_.push_back(std::move(item)); }

    /// Makes a query of several items. Throws dcb::error if the list is empty: use all() to match
    /// every event.
    explicit query(std::vector<query_item> items) : items_(std::move(items)) {
        if (items_.empty()) {
            detail::invalid("query", "must have at least one item");
        }
    }

    /// Returns whether this is all().
    [[nodiscard]] bool is_all() const noexcept { return items_.empty(); }

    /// Returns the items. The query all() has none.
    [[nodiscard]] const std::vector<query_item> &items() const noexcept { return items_; }

    /// Returns whether the query matches the event.
    [[nodiscard]] bool matches(const event_view &e) const noexcept {
        return is_all() || std::any_of(items_.begin(), items_.end(),
                                       [&](const query_item &item) { return item.matches(e); });
    }

    /// Returns the query that matches what `a` or `b` matches.
    friend query operator|(query a, const query &b) {
        if (a.is_all() || b.is_all()) {
            return all();
        }
        a.items_.insert(a.items_.end(), b.items_.begin(), b.items_.end());
        return a;
    }

  private:
    query() = default;
    std::vector<query_item> items_;
};

/// Returns the query that matches what `a` or `b` matches.
[[nodiscard]] inline query operator|(query_item a, query_item b) {
    return query(std::move(a)) | query(std::move(b));
}

/// A condition of an append: the append fails if an event that matches the query has a position
/// above `after`.
struct append_condition {
    append_condition(query fail_if_events_match_, std::int64_t after_)
        : fail_if_events_match(std::move(fail_if_events_match_)), after(after_) {}

    /// The events that must not have been appended.
    query fail_if_events_match;

    /// The position up to which the caller knows all matching events, such as cursor::position at
    /// the end of a read. With 0 the condition fails if any event matches.
    std::int64_t after;
};

namespace detail {

inline void write_query(std::string &out, const query &q) {
    if (q.is_all()) {
        out += "null";
        return;
    }
    out += R"({"items":)";
    write_list(out, q.items(), [](std::string &to, const query_item &item) {
        const char *comma = "";
        to += '{';
        if (!item.types().empty()) {
            to += R"("types":)";
            write_list(to, item.types(),
                       [](std::string &s, std::string_view t) { write_string(s, t); });
            comma = ",";
        }
        if (!item.tags().empty()) {
            to += comma;
            to += R"("tags":)";
            write_list(to, item.tags(),
                       [](std::string &s, std::string_view t) { write_string(s, t); });
        }
        to += '}';
    });
    out += '}';
}

inline void write_condition(std::string &out, const append_condition &condition) {
    out += R"({"failIfEventsMatch":)";
    write_query(out, condition.fail_if_events_match);
    out += R"(,"after":)";
    out += std::to_string(condition.after);
    out += '}';
}

} // namespace detail
} // namespace dcb

#endif // DCB_QUERY_HPP

// Queries: how to make them, and what they match.

#include "unit.hpp"

#include <dcb/query.hpp>

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

dcb::sequenced_event one(std::string type, std::vector<std::string> tags) {
    dcb::sequenced_event e;
    e.type = std::move(type);
    e.tags = std::move(tags);
    return e;
}

// Whether `tagged` compiles with arguments of these types.
template <class, class... Tags> struct takes : std::false_type {};
template <class... Tags>
struct takes<std::void_t<decltype(dcb::tagged(std::declval<const Tags &>()...))>, Tags...>
    : std::true_type {};
template <class, class... Tags> struct item_takes : std::false_type {};
template <class... Tags>
struct item_takes<std::void_t<decltype(dcb::query_item().tagged(std::declval<const Tags &>()...))>,
                  Tags...> : std::true_type {};
template <class... Tags>
constexpr bool compiles = takes<void, Tags...>::value &&item_takes<void, Tags...>::value;
template <class... Tags>
constexpr bool is_refused = !takes<void, Tags...>::value && !item_takes<void, Tags...>::value;

using text = const char *;
static_assert(compiles<text>);
static_assert(compiles<std::string>);
static_assert(compiles<text, dcb::tag>);
static_assert(compiles<dcb::tag, dcb::tag, dcb::tag>);
static_assert(compiles<std::vector<dcb::tag>>);
// tagged("student", id) looks like a key and its value, and would be two tags.
static_assert(is_refused<text, text>);
static_assert(is_refused<text, std::string>);
static_assert(is_refused<std::string, std::string_view>);
static_assert(is_refused<char[8], char[3]>);
static_assert(is_refused<dcb::tag, text, text>);

} // namespace

TEST_CASE("an item names types and tags") {
    const auto item = dcb::of_type("A", std::string("B")).tagged("x:1", dcb::tag("y", "2"));
    CHECK(item.matches(one("A", {"x:1", "y:2", "z"})));
    CHECK(item.matches(one("B", {"y:2", "x:1"})));
    CHECK(!item.matches(one("C", {"x:1", "y:2"})));
    CHECK(!item.matches(one("A", {"x:1"})));
    CHECK(dcb::query_item().matches(one("C", {})));
    CHECK(dcb::tagged("x:1").matches(one("C", {"x:1"})));
    CHECK(dcb::of_type("A").of_type("B").matches(one("B", {})));
}

TEST_CASE("names in a query are validated at once") {
    CHECK_FAILS(invalid_argument, dcb::of_type(""));
    CHECK_FAILS(invalid_argument, dcb::tagged("x:"));
    CHECK_FAILS(too_large, dcb::of_type(std::string(256, 'a')));
    CHECK_FAILS(invalid_argument, dcb::of_type(std::vector<std::string>{}));
    CHECK_FAILS(invalid_argument, dcb::tagged(std::vector<dcb::tag>{}));
    CHECK_FAILS(invalid_argument, dcb::query(std::vector<dcb::query_item>{}));
}

TEST_CASE("a query is the union of its items") {
    const dcb::query q = dcb::of_type("A").tagged("x:1") | dcb::of_type("B").tagged("y:1");
    CHECK(q.items().size() == 2u);
    CHECK(q.matches(one("A", {"x:1"})));
    CHECK(q.matches(one("B", {"y:1"})));
    CHECK(!q.matches(one("A", {"y:1"})));
    const dcb::query three = q | dcb::tagged("z:1");
    CHECK(three.items().size() == 3u);
    CHECK((q | dcb::query::all()).is_all());
    CHECK((dcb::query::all() | q).is_all());
    CHECK(dcb::query::all().matches(one("C", {})));
}

TEST_CASE("a store and a query match the same events") {
    dcb::store store = unit::fresh_store();
    for (const char *type : {"A", "B", "C"}) {
        for (const std::vector<dcb::tag> &tags :
             {std::vector<dcb::tag>{}, {"x:1"}, {"y:1"}, {"x:1", "y:1"}}) {
            store.append(dcb::event(type, tags));
        }
    }
    const auto all = store.read_all(dcb::query::all()).events;
    CHECK(all.size() == 12u);
    for (const dcb::query &q :
         {dcb::query(dcb::query_item()), dcb::query(dcb::of_type("A", "B")),
          dcb::query(dcb::tagged("x:1")), dcb::query(dcb::tagged("x:1").tagged("y:1")),
          dcb::of_type("A").tagged("x:1") | dcb::of_type("C").tagged("y:1")}) {
        std::size_t expected = 0;
        for (const dcb::sequenced_event &e : all) {
            expected += q.matches(e) ? 1u : 0u;
        }
        std::size_t found = 0;
        for (const dcb::event_view &e : store.read(q)) {
            CHECK(q.matches(e));
            ++found;
        }
        CHECK(found == expected);
    }
}

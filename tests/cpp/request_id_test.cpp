// Request ids: a decision that is made once.

#include "unit.hpp"

#include <dcb/decider.hpp>
#include <dcb/json.hpp>

#include <cstdint>
#include <fstream>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

struct name_taken : std::runtime_error {
    name_taken() : std::runtime_error("the name is taken") {}
};

dcb::projection<bool> is_claimed(const std::string &name) {
    return {dcb::tagged(dcb::tag("user", name)), false,
            [](bool, const dcb::event_view &) { return true; }};
}

constexpr std::int64_t many_digits = (std::int64_t{1} << 62) + 1; // more than a double has

/// Claims a user name: whoever asks second is told that it is taken.
template <class... Request>
dcb::decision<std::int64_t> claim(dcb::store &store, const std::string &name,
                                  const Request &...request) {
    return dcb::decide(
        store, is_claimed(name),
        [&](bool claimed) {
            if (claimed) {
                throw name_taken();
            }
            return dcb::decided<std::int64_t>{
                {dcb::event("UserRegistered", {{"user", name}}).metadata(R"({"by": "test"})"),
                 dcb::event("WelcomeSent", {{"user", name}})},
                many_digits};
        },
        request...);
}

const dcb::projection<int> counted{dcb::of_type("A"), 0,
                                   [](int n, const dcb::event_view &) { return n + 1; }};

std::vector<dcb::event> one_more(int) {
    return {dcb::event("A")};
}

/// A value that nlohmann/json converts.
struct receipt {
    std::string name;
    int number = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(receipt, name, number)

/// A value with a codec of its own, which nlohmann/json does not know.
struct grade {
    char letter;
};

} // namespace

template <> struct dcb::value_codec<grade> {
    static std::string encode(const grade &value) { return std::to_string(value.letter); }
    static grade decode(std::string_view text) { return {dcb::value_codec<char>::decode(text)}; }
};

TEST_CASE("a request is decided once") {
    dcb::store store = unit::fresh_store();
    store.append(dcb::event("First"));
    for (int i = 0; i < 3; ++i) {
        CAPTURE(i);
        const auto made = claim(store, "ada", dcb::request_id("r1"));
        CHECK(made.first == 2);
        CHECK(made.last == 3);
        CHECK(made.attempts == 1);
        CHECK(made.repeated == (i > 0));
        CHECK(made.value == many_digits);
    }
    CHECK_THROWS_AS(claim(store, "ada", dcb::request_id("r2")), name_taken);
    CHECK_THROWS_AS(claim(store, "ada"), name_taken);
    const auto stored = store.read_all(dcb::tagged(dcb::request_id("r1").tag())).events;
    REQUIRE(stored.size() == 2);
    CHECK(stored[0].metadata == R"({"by": "test","dcb_value":"4611686018427387905"})");
    CHECK(!stored[1].metadata);
    CHECK(store.head() == 3);
}

TEST_CASE("a request of a command handler is decided once") {
    dcb::store store = unit::fresh_store();
    dcb::decider<int, std::string, receipt> decider;
    decider.query = [](const std::string &) -> dcb::query { return dcb::of_type("Sold"); };
    decider.evolve = [](int n, const dcb::event_view &) { return n + 1; };
    decider.decide = [](const int &sold, const std::string &name) {
        return dcb::decided<receipt>{{dcb::event("Sold").id(name)}, {name + " \"\xc3\xbc\"", sold}};
    };
    const dcb::command_handler handler(store, decider);
    for (const bool repeated : {false, true}) {
        const auto made = handler.handle("x", dcb::request_id("r1"));
        CHECK(made.repeated == repeated);
        REQUIRE(made.value);
        CHECK(made.value->name == "x \"\xc3\xbc\"");
        CHECK(made.value->number == 0);
    }
    CHECK(handler.handle("y", dcb::request_id("r2")).value->number == 1);
    CHECK(store.read_all(dcb::query::all()).events[0].id == "x");
}

TEST_CASE("values of several types are stored") {
    dcb::store store = unit::fresh_store();
    int number = 0;
    const auto round = [&](const auto &value) {
        using type = std::decay_t<decltype(value)>;
        const dcb::request_id request(std::to_string(++number));
        const auto once = [&](int) { return dcb::decided<type>{one_more(0), value}; };
        static_cast<void>(dcb::decide(store, counted, once, request));
        const auto again = dcb::decide(store, counted, once, request);
        CHECK(again.repeated);
        REQUIRE(again.value);
        return *again.value;
    };
    CHECK(round(true));
    CHECK(!round(false));
    CHECK(round(std::numeric_limits<std::int64_t>::min()) ==
          std::numeric_limits<std::int64_t>::min());
    CHECK(round(std::numeric_limits<std::uint64_t>::max()) ==
          std::numeric_limits<std::uint64_t>::max());
    const std::string text = "\"\\\x01\n\xf0\x9f\x98\x80</script>";
    CHECK(round(text) == text);
    CHECK(round(grade{'b'}).letter == 'b');
    CHECK(round(1.5) == 1.5);
    CHECK(round(std::vector<std::string>{"a", "b"}) == std::vector<std::string>{"a", "b"});
}

TEST_CASE("a stored value of another type is an error") {
    dcb::store store = unit::fresh_store();
    const dcb::request_id request("r1");
    static_cast<void>(claim(store, "ada", request));
    const auto as = [&](auto value) {
        const auto decide = [&](int) { return dcb::decided<decltype(value)>{{}, value}; };
        return unit::outcome_of(
            [&] { static_cast<void>(dcb::decide(store, counted, decide, request)); });
    };
    CHECK(as(0) == dcb::status::invalid_argument);
    CHECK(as(false) == dcb::status::invalid_argument);
    CHECK(as(std::string()).message ==
          "the value of the request: 4611686018427387905 is not a string");
    CHECK(as(std::int64_t{0}) == dcb::status::ok);
}

TEST_CASE("of requests that race one is decided") {
    dcb::store store = unit::fresh_store();
    constexpr int rounds = 5;
    constexpr int racing = 6;
    for (int round = 0; round < rounds; ++round) {
        std::vector<dcb::decision<int>> made(racing);
        std::vector<std::thread> threads;
        for (int i = 0; i < racing; ++i) {
            threads.emplace_back([&, i] {
                // No two depend on the same events, so only the request makes them conflict.
                const dcb::projection<int> own{
                    dcb::of_type("Own" + std::to_string(i)), 0,
                    [](int n, const dcb::event_view &) { return n + 1; }};
                made[static_cast<std::size_t>(i)] = dcb::decide(
                    store, own,
                    [&](int) {
                        return dcb::decided<int>{one_more(0), i};
                    },
                    dcb::request_id("round " + std::to_string(round)));
            });
        }
        for (std::thread &thread : threads) {
            thread.join();
        }
        int first = 0;
        for (const dcb::decision<int> &each : made) {
            first += each.repeated ? 0 : 1;
            CHECK(each.last == round + 1);
            CHECK(each.first == each.last);
            CHECK(each.value == made[0].value);
        }
        CHECK(first == 1);
    }
    CHECK(store.head() == rounds);
}

TEST_CASE("a request without an event is decided again") {
    dcb::store store = unit::fresh_store();
    int decisions = 0;
    for (int i = 0; i < 2; ++i) {
        const auto made = dcb::decide(
            store, counted,
            [&](int) {
                ++decisions;
                return std::vector<dcb::event>{};
            },
            dcb::request_id("r1"));
        CHECK(made.last == 0);
        CHECK(!made.repeated);
    }
    CHECK(decisions == 2);
}

TEST_CASE("a request sees no event that its model does not match") {
    dcb::store store = unit::fresh_store();
    const auto all = dcb::projection<int>{dcb::query::all(), 0, counted.evolve};
    for (const std::string id : {"r1", "r2", "r1"}) {
        static_cast<void>(dcb::decide(store, counted, one_more, dcb::request_id(id)));
        static_cast<void>(dcb::decide(store, all, one_more, dcb::request_id("all " + id)));
    }
    CHECK(store.head() == 4);
    // The events of a request that are of another type do not count.
    store.append(dcb::event("B", {dcb::request_id("r3").tag()}));
    bool is_called = false;
    const auto made = dcb::decide(
        store, counted,
        [&](int) {
            is_called = true;
            return one_more(0);
        },
        dcb::request_id("r3"));
    CHECK(!is_called);
    CHECK(made.first == 5);
    // A request that was decided without a value has none.
    CHECK(!claim(store, "ada", dcb::request_id("r3")).value);
}

TEST_CASE("a request beside a projection of the newest events") {
    dcb::store store = unit::fresh_store();
    dcb::projection<int> newest = counted;
    newest.last = 2;
    for (int i = 0; i < 4; ++i) {
        int seen = -1;
        for (const bool repeated : {false, true}) {
            const auto made = dcb::decide(
                store, newest,
                [&](int n) {
                    seen = n;
                    return one_more(n);
                },
                dcb::request_id(std::to_string(i)));
            CHECK(made.repeated == repeated);
            CHECK(made.last == i + 1);
        }
        CHECK(seen == std::min(i, 2));
    }
}

TEST_CASE("what a request refuses") {
    dcb::store store = unit::fresh_store();
    CHECK_FAILS(invalid_argument, dcb::request_id(""));
    const auto message = [&](const dcb::event &e) {
        const auto decide = [&](int) { return dcb::decided<int>{{e}, 1}; };
        const auto outcome = unit::outcome_of(
            [&] { static_cast<void>(dcb::decide(store, counted, decide, dcb::request_id("r"))); });
        CHECK(outcome == dcb::status::invalid_argument);
        return outcome.message;
    };
    const std::string own = "events[0].tags: the key dcb_request is that of a request_id";
    CHECK(message(dcb::event("A", {dcb::request_id("s").tag()})) == own);
    CHECK(message(dcb::event("A", {dcb::bare_tag("dcb_request")})) == own);
    const std::string object = "events[0].metadata: must be an object";
    for (const char *text :
         {"[1]", "null", "\"{}\"", "{]", "{\"a\"}", "{\"a\":1,}", "{} {}", "{1:2}"}) {
        CAPTURE(text);
        CHECK(message(dcb::event("A").metadata(text)) == object);
    }
    const std::string taken =
        "events[0].metadata: the key dcb_value is that of the decision's value";
    CHECK(message(dcb::event("A").metadata(R"({"dcb_value":1})")) == taken);
    CHECK(message(dcb::event("A").metadata(R"({"a":{"b":"}"},"dcb\u005fvalue":1})")) == taken);
    CHECK_FAILS(invalid_argument, dcb::decide(
                                      store, counted,
                                      [&](int) {
                                          return dcb::decided<std::string>{one_more(0), "\xff"};
                                      },
                                      dcb::request_id("r")));
    CHECK(store.head() == 0);
}

TEST_CASE("the value of a request is added to any metadata") {
    dcb::store store = unit::fresh_store();
    int number = 0;
    for (const char *text : {"{}", " { } ", "{\n\"by\": \"}\" }\n", R"({"a":[{"dcb_value":1}]})"}) {
        CAPTURE(text);
        const dcb::request_id request(std::to_string(++number));
        for (const bool repeated : {false, true}) {
            const auto made = dcb::decide(
                store, counted,
                [&](int) {
                    return dcb::decided<std::string>{{dcb::event("A").metadata(text)}, "v"};
                },
                request);
            CHECK(made.repeated == repeated);
            CHECK(made.value == "v");
        }
    }
}

TEST_CASE("members of an object are found as nlohmann/json finds them") {
    std::minstd_rand random{7};
    const auto pick = [&](std::size_t below) {
        return std::uniform_int_distribution<std::size_t>(0, below - 1)(random);
    };
    const std::vector<std::string> keys{"dcb_value", "a", "", "\"", "\\", "\xc3\xbc", "\n", "}"};
    const std::vector<std::string> values{
        "1",        "-1.5e3", "true",       "null", "\"}\"",
        "\"\\\"\"", "[]",     "[1,[2,{}]]", "{}",   "{\"dcb_value\":[{}]}"};
    const auto text_of = [&] {
        std::string text = "{";
        for (std::size_t i = pick(4); i > 0; --i) {
            const bool is_ascii = pick(2) == 0;
            text += nlohmann::json(keys[pick(keys.size())]).dump(-1, ' ', is_ascii);
            text += pick(2) == 0 ? ":" : " : ";
            text += values[pick(values.size())] + (pick(2) == 0 ? "" : "\n");
            text += i > 1 ? "," : "";
        }
        return text + "}";
    };
    int valid = 0;
    for (int round = 0; round < 3000; ++round) {
        std::string text = text_of();
        if (pick(2) == 0) { // perhaps not valid any more
            text.erase(pick(text.size()), 1);
        }
        CAPTURE(text);
        // In memory of its own size, so that the address sanitizer sees a byte too many.
        const std::vector<char> exact(text.begin(), text.end());
        const dcb::detail::json_member found =
            dcb::detail::find_member({exact.data(), exact.size()}, "dcb_value");
        const auto parsed = nlohmann::json::parse(text, nullptr, false);
        if (!parsed.is_object()) {
            continue;
        }
        ++valid;
        CHECK(found.is_object);
        CHECK(found.is_empty == parsed.empty());
        CHECK(found.value.has_value() == parsed.contains("dcb_value"));
        if (found.value) {
            CHECK(nlohmann::json::parse(*found.value) == parsed["dcb_value"]);
        }
    }
    CHECK(valid > 1000);
}

/// The file is shared with the Go package: each recognises the other's requests.
TEST_CASE("requests are stored as Go stores them") {
    std::ifstream file(DCB_REQUEST_IDS);
    const auto vectors = nlohmann::json::parse(file);
    for (const auto &vector : vectors.at("tags")) {
        const auto hex = vector.at("id_hex").get<std::string>();
        CAPTURE(hex);
        std::string id;
        for (std::size_t i = 0; i < hex.size(); i += 2) {
            id += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
        }
        CHECK(dcb::request_id(id).tag().text() == vector.at("tag").get<std::string>());
    }
    CHECK(vectors.at("tags").size() >= 10);
    int number = 0;
    for (const auto &vector : vectors.at("values")) {
        const auto metadata = vector.at("metadata").get<std::string>();
        CAPTURE(metadata);
        dcb::store store = unit::fresh_store();
        const dcb::request_id request(std::to_string(++number));
        const auto value = vector.at("value").get<std::string>();
        // What another program has stored is read.
        store.append(dcb::event("A", {request.tag()}).metadata(metadata));
        const auto decide = [&](int) { return dcb::decided<std::string>{one_more(0), value}; };
        CHECK(dcb::decide(store, counted, decide, request).value == value);
        // What this one stores has the same content.
        const dcb::request_id own("own");
        static_cast<void>(dcb::decide(store, counted, decide, own));
        const auto stored = store.read_all(dcb::tagged(own.tag())).events.at(0).metadata;
        const auto expected = nlohmann::json::parse(metadata).at("dcb_value").get<std::string>();
        const auto actual = nlohmann::json::parse(*stored).at("dcb_value").get<std::string>();
        CHECK(nlohmann::json::parse(actual) == nlohmann::json::parse(expected));
    }
    CHECK(number >= 3);
}

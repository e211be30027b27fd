// Opening a store, appending, waiting, and their errors.

#include "unit.hpp"

#include <dcb/store.hpp>
#include <dcb/subscription.hpp>

#include <chrono>
#include <string>
#include <string_view>
#include <thread>

using namespace std::chrono_literals;

TEST_CASE("an invalid URI is refused") {
    CHECK_FAILS(invalid_argument, dcb::store("nonsense:"));
    CHECK_FAILS(invalid_argument, dcb::store(std::string_view("memory:\0x", 9)));
}

TEST_CASE("an event is found by its id") {
    dcb::store store = unit::fresh_store();
    CHECK(!store.find("one"));
    store.append({dcb::event("A").id("zero"),
                  dcb::event("B", {"x:1"}, R"({ "n" : 1 })").id("one").metadata("{}")});
    const auto found = store.find("one");
    REQUIRE(found);
    CHECK(found->position == 2);
    CHECK(found->type == "B");
    CHECK(found->tags == std::vector<std::string>{"x:1"});
    CHECK(found->data == R"({ "n" : 1 })");
    CHECK(found->id.value() == "one");
    CHECK(found->metadata.value() == "{}");
    CHECK(!store.find("x:1"));
    CHECK_FAILS(invalid_argument, (void)store.find(""));
    CHECK_FAILS(invalid_argument, (void)store.find(std::string_view("a\0b", 3)));
    CHECK_FAILS(too_large, (void)store.find(std::string(256, 'i')));
    dcb::cancel cancel;
    cancel.trigger();
    dcb::call_options cancelled;
    cancelled.cancel = &cancel;
    CHECK_FAILS(cancelled, (void)store.find("one", cancelled));
    store.close();
    CHECK_FAILS(closed, (void)store.find("one"));
}

TEST_CASE("events are appended and read") {
    dcb::store store = unit::fresh_store();
    const auto start = std::chrono::system_clock::now() - 1s;
    CHECK(store.append(dcb::event("A", {"x:1", dcb::bare_tag("y")}, R"({ "n" : 1e400 })")) == 1);
    CHECK(store.append({dcb::event("B"), dcb::event("C").metadata(R"({"by": "me"})")}) == 3);
    CHECK(store.append(std::vector<dcb::event>{dcb::event("D").id("d1")}) == 4);
    CHECK(store.head() == 4);
    CHECK(store.count() == 4);
    CHECK(store.diagnose().view().find(R"("head":4)") != std::string_view::npos);

    const dcb::read_result all = store.read_all(dcb::query::all());
    CHECK(all.position == 4);
    CHECK(all.events.size() == 4u);
    CHECK(all.events.at(0).data == R"({ "n" : 1e400 })");
    CHECK(all.events.at(0).tags.size() == 2u);
    CHECK(!all.events.at(0).id);
    CHECK(!all.events.at(0).metadata);
    CHECK(all.events.at(0).timestamp > start);
    CHECK(all.events.at(1).data == "null");
    CHECK(all.events.at(2).metadata.value() == R"({"by": "me"})");
    CHECK(all.events.at(3).id.value() == "d1");
}

TEST_CASE("an append without events is an error") {
    dcb::store store = unit::fresh_store();
    CHECK_FAILS(invalid_argument, store.append(std::vector<dcb::event>{}));
}

TEST_CASE("a failed condition has a type and a position") {
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("A", {"x:1"}), dcb::event("A", {"x:1"})});
    const dcb::append_condition none_since{dcb::tagged("x:1"), 1};
    try {
        store.append(dcb::event("B"), none_since);
        FAIL_CHECK("the append does not fail");
    } catch (const dcb::condition_failed &e) {
        CHECK(e.position() == 2);
        CHECK(e.status() == dcb::status::condition_failed);
        CHECK(std::string_view(e.what()).find('2') != std::string_view::npos);
    }
    CHECK(store.append(dcb::event("B"), {dcb::tagged("x:1"), 2}) == 3);
}

TEST_CASE("try_append returns a conflict") {
    dcb::store store = unit::fresh_store();
    const auto first = store.try_append(dcb::event("A", {"x:1"}), {dcb::tagged("x:1"), 0});
    CHECK(static_cast<bool>(first));
    CHECK(first.position() == 1);
    const auto second = store.try_append(dcb::event("A", {"x:1"}), {dcb::tagged("x:1"), 0});
    CHECK(!second);
    CHECK(second.position() == 1);
    CHECK_FAILS(invalid_argument, store.try_append_json("{}"));
#if defined(__cpp_lib_expected)
    CHECK(first.expected().value() == 1);
    CHECK(second.expected().error() == 1);
#endif
}

TEST_CASE("several conditions keep their own after") {
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("A", {"x:1"}), dcb::event("B", {"y:1"})});
    CHECK(store.append(dcb::event("C"), {{dcb::tagged("x:1"), 1}, {dcb::tagged("y:1"), 2}}) == 3);
    const std::vector<dcb::append_condition> stale{{dcb::tagged("y:1"), 1},
                                                   {dcb::tagged("x:1"), 0}};
    CHECK(store.try_append(dcb::event("C"), stale).position() == 1);
}

TEST_CASE("an append with ids can be repeated") {
    dcb::store store = unit::fresh_store();
    const std::vector<dcb::event> events{dcb::event("A").id("1"), dcb::event("B").id("2")};
    const dcb::append_condition first_one{dcb::query::all(), 0};
    CHECK(store.append(events, first_one) == 2);
    CHECK(store.append(events, first_one) == 2);
    CHECK_FAILS(duplicate_id, store.append(dcb::event("Z").id("2")));
    CHECK_FAILS(invalid_argument, store.append({dcb::event("A").id("3"), dcb::event("B")}));
    CHECK(store.head() == 2);
}

TEST_CASE("JSON documents are passed to the library") {
    dcb::store store = unit::fresh_store();
    CHECK(store.append_json(R"({"events":[{"type":"A","tags":["x:1"],"data":1}]})") == 1);
    const dcb::buffer result = store.read_json(R"({"query":{"items":[{"tags":["x:1"]}]}})");
    CHECK(result.view().find(R"("position":1)") != std::string_view::npos);
    const dcb::buffer everything = store.read_json("");
    CHECK(everything.view() == result.view());
    CHECK_FAILS(invalid_argument, store.append_json(""));
    CHECK_FAILS(invalid_argument, store.read_json("{"));
    dcb::cursor cursor = store.read_cursor("{}");
    CHECK(cursor.next(10).size() == 1u);
}

TEST_CASE("an error names the place") {
    dcb::store store = unit::fresh_store();
    CHECK_THROWS_WITH_AS(store.append_json(R"({"events":[{"type":"A"},{"type":"B","tags":[""]}]})"),
                         doctest::Contains("events[1].tags[0]"), dcb::error);
}

TEST_CASE("a store in a file can be opened again") {
    const std::string uri = unit::fresh_uri();
    {
        dcb::store store(uri);
        store.append(dcb::event("A"));
    }
    dcb::store again(uri);
    CHECK(again.head() == (unit::persists() ? 1 : 0));
}

TEST_CASE("options are passed to the library") {
    if (!unit::persists()) {
        return;
    }
    const std::string uri = unit::fresh_uri();
    dcb::open_options options;
    options.create = false;
    CHECK_THROWS_AS(dcb::store(uri, options), dcb::error);
    dcb::store writer(uri);
    writer.append(dcb::event("A"));
    options = {};
    options.read_only = true;
    dcb::store reader(uri, options);
    CHECK(reader.head() == 1);
    CHECK_FAILS(read_only, reader.append(dcb::event("B")));
    options.max_readers = 1;
    CHECK(dcb::store(uri, options).head() == 1);
    options.cache_bytes = 0;
    CHECK(dcb::store(uri, options).head() == 1);
    options.cache_bytes = -1;
    CHECK_FAILS(invalid_argument, dcb::store(uri, options));
    options.cache_bytes.reset();
    options.max_readers = 0;
    CHECK_FAILS(invalid_argument, dcb::store(uri, options));
}

TEST_CASE("a store for imports keeps timestamps") {
    dcb::open_options options;
    options.import = true;
    dcb::store store(unit::fresh_uri(), options);
    using std::chrono::microseconds;
    for (const std::int64_t micros :
         {std::int64_t(0), std::int64_t(-1), std::int64_t(951782400000000),
          std::int64_t(1795407137123456), std::int64_t(-62135596800000000),
          std::int64_t(253402300799999999)}) {
        CAPTURE(micros);
        const dcb::timestamp time{microseconds(micros)};
        const auto position = store.append(dcb::event("A").timestamp(time));
        dcb::read_options last;
        last.after = position - 1;
        CHECK(store.read_all(dcb::query::all(), last).events.at(0).timestamp == time);
    }
    CHECK_FAILS(invalid_argument,
                dcb::event("A").timestamp(dcb::timestamp{microseconds(253402300800000000)}));
    dcb::store other = unit::fresh_store();
    CHECK_FAILS(invalid_argument,
                other.append(dcb::event("A").timestamp(dcb::timestamp{microseconds(0)})));
}

TEST_CASE("a wait ends with an event, a timeout or a cancel") {
    dcb::store store = unit::fresh_store();
    CHECK(!store.wait(0, {0ms}));
    CHECK(!store.wait(0, {5ms}));
    store.append(dcb::event("A"));
    CHECK(store.wait(0).value() == 1);

    std::thread appender([&] { store.append(dcb::event("B")); });
    CHECK(store.wait(1, {dcb::forever}).value() == 2);
    appender.join();

    const dcb::cancel stop;
    std::thread canceller([&] { stop.trigger(); });
    CHECK_FAILS(cancelled, store.wait(2, {{}, &stop}));
    canceller.join();
    CHECK_FAILS(cancelled, store.wait(2, {1s, &stop}));
}

TEST_CASE("a cancelled call does nothing") {
    dcb::store store = unit::fresh_store();
    const dcb::cancel stop;
    stop.trigger();
    CHECK_FAILS(cancelled, store.append(dcb::event("A"), {}, {{}, &stop}));
    CHECK(store.head() == 0);
}

TEST_CASE("a store moves") {
    dcb::store store = unit::fresh_store();
    store.append(dcb::event("A"));
    dcb::store moved = std::move(store);
    CHECK(moved.head() == 1);
    moved = unit::fresh_store();
    CHECK(moved.head() == 0);
}

TEST_CASE("a closed store says so") {
    dcb::store store = unit::fresh_store();
    const auto says_closed = [&](auto call) {
        try {
            static_cast<void>(call());
            FAIL_CHECK("the call does not fail");
        } catch (const dcb::error &e) {
            CHECK(e.status() == dcb::status::closed);
            CHECK(std::string_view(e.what()) == "the store is closed");
        }
    };
    const auto every_call_says_closed = [&] {
        const auto everything = dcb::query::all();
        says_closed([&] { return store.append(dcb::event("A")); });
        says_closed([&] { return store.append(dcb::event("A"), {everything, 0}); });
        says_closed([&] { return store.append_json("{}"); });
        says_closed([&] { return store.try_append(dcb::event("A")).position(); });
        says_closed([&] { return store.try_append_json("{}").position(); });
        says_closed([&] { return store.read(everything).position(); });
        says_closed([&] { return store.read_cursor("{}").position(); });
        says_closed([&] { return store.read_all(everything).position; });
        says_closed([&] { return store.read_json("{}").view().size(); });
        says_closed([&] { return store.head(); });
        says_closed([&] { return store.count(); });
        says_closed([&] { return store.diagnose().view().size(); });
        says_closed([&] { return store.wait(0); });
        says_closed([&] { return store.find("id"); });
        says_closed([&] { return store.backup("copy.db"); });
        says_closed([&] { return *store.subscribe(everything).begin(); });
        CHECK(store.get() == nullptr);
    };
    store.close();
    every_call_says_closed();
    store.close();
    store = unit::fresh_store();
    const dcb::store moved = std::move(store);
    every_call_says_closed();
    CHECK(moved.head() == 0);
}

TEST_CASE("a cancel that was moved from is refused") {
    dcb::store store = unit::fresh_store();
    dcb::cancel stop;
    const dcb::cancel moved = std::move(stop);
    CHECK_FAILS(invalid_argument, store.append(dcb::event("A"), {}, {{}, &stop}));
    CHECK(store.append(dcb::event("A"), {}, {{}, &moved}) == 1);
}

TEST_CASE("an error in data names the column in that text") {
    dcb::store store = unit::fresh_store();
    const dcb::event valid("First", {"x:1"}, "{}");
    const auto fails = [&](const dcb::event &e, std::string_view expected) {
        for (const bool tries : {false, true}) {
            CAPTURE(tries);
            try {
                if (tries) {
                    static_cast<void>(store.try_append({valid, e}, {dcb::query::all(), 7}));
                } else {
                    store.append({valid, e});
                }
                FAIL_CHECK("the append does not fail");
            } catch (const dcb::error &error) {
                CHECK(error.status() == dcb::status::invalid_argument);
                CHECK(std::string_view(error.what()) == expected);
            }
        }
    };
    struct {
        std::string text;
        std::string problem;
    } cases[] = {
        {R"({"a":})", "not valid JSON: expected value at line 1 column 6"},
        {"[1,\n 2,\n ,3]", "not valid JSON: expected value at line 3 column 2"},
        {"[1,\n\n01]", "not valid JSON: invalid number at line 3 column 2"},
        {"nul", "not valid JSON: expected ident at line 1 column 4"},
        {"\"\xff\"", "not valid UTF-8 at byte 1"},
        {"{}\n{}", "not valid JSON: trailing characters at line 2 column 1"},
    };
    for (const auto &[text, problem] : cases) {
        fails(dcb::event("Second", {"y:1"}, text), "events[1].data: " + problem);
        fails(dcb::event("Second", {}, "\n1").metadata(text), "events[1].metadata: " + problem);
    }
    fails(dcb::event("Second", {}, "1 2"),
          "events[1].data: not valid JSON: trailing characters at line 1 column 3");
    // Other errors have no column. In a document of the caller the column stays as it is.
    fails(dcb::event("Second").metadata("1"), "events[1].metadata: must be an object or null");
    CHECK_THROWS_WITH_AS(store.append_json(R"({"events":[{"type":"A","data":nul}]})"),
                         "events[0].data: not valid JSON: expected ident at line 1 column 34",
                         dcb::error);
    CHECK(store.head() == 0);
}

TEST_CASE("many threads share a store") {
    dcb::store store = unit::fresh_store();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 25; ++i) {
                store.append(dcb::event("A"));
                CHECK(store.head() > 0);
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK(store.read_all(dcb::query::all()).events.size() == 100u);
}

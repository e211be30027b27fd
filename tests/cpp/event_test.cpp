// Events, their names, and the JSON text that is embedded in a request.

#include "unit.hpp"

#include <dcb/event.hpp>
#include <dcb/query.hpp>

#include <random>

TEST_CASE("a tag has a key and a value") {
    CHECK(dcb::tag("course", "c1").text() == "course:c1");
    CHECK(dcb::tag("url", "http://a").text() == "url:http://a");
    CHECK(dcb::tag("k:" + std::string(253, 'a')).text().size() == 255u);
    CHECK_FAILS(invalid_argument, dcb::tag(""));
    CHECK_FAILS(invalid_argument, dcb::tag(":value"));
    CHECK_FAILS(invalid_argument, dcb::tag("key:"));
    CHECK_FAILS(invalid_argument, dcb::tag("a:b", "c"));
    CHECK_FAILS(invalid_argument, dcb::tag("", "c"));
    CHECK_FAILS(invalid_argument, dcb::tag("key", ""));
    CHECK_FAILS(invalid_argument, dcb::tag(std::string("a:\0b", 4)));
    CHECK_FAILS(too_large, dcb::tag(std::string(256, 'a')));
}

TEST_CASE("a bare tag is made explicitly") {
    CHECK(dcb::bare_tag("vip").text() == "vip");
    CHECK(dcb::bare_tag(std::string(255, 'a')).text().size() == 255u);
    CHECK_FAILS(invalid_argument, dcb::bare_tag(""));
    CHECK_FAILS(invalid_argument, dcb::bare_tag("key:value"));
    CHECK_FAILS(too_large, dcb::bare_tag(std::string(256, 'a')));

    // In each of these the value is missing, or is in the place of a second tag.
    const std::string id = "s1";
    CHECK_FAILS(invalid_argument, dcb::tag("student"));
    CHECK_FAILS(invalid_argument, dcb::event("Subscribed", {"student"}));
    CHECK_FAILS(invalid_argument, dcb::event("Subscribed", {"student", id}));
    CHECK_FAILS(invalid_argument, dcb::tagged("student"));
    CHECK_FAILS(invalid_argument, dcb::tagged(std::vector<dcb::tag>{"student", id}));
    CHECK_THROWS_WITH_AS(dcb::tag("student"),
                         "tag: \"student\" has no value; for a tag without one, use bare_tag",
                         dcb::error);
}

TEST_CASE("a tag that was read can be appended") {
    dcb::store store = unit::fresh_store();
    store.append(dcb::event("A", {dcb::bare_tag("vip"), "course:c1"}));
    const auto first = store.read_all(dcb::tagged(dcb::bare_tag("vip"))).events.at(0);
    std::vector<dcb::tag> tags;
    for (const std::string &text : first.tags) {
        tags.push_back(dcb::tag::parse(text));
    }
    store.append(dcb::event("B", tags));
    CHECK(store.read_all(dcb::tagged(tags)).events.size() == 2u);
    CHECK_FAILS(invalid_argument, dcb::tag::parse("key:"));
    CHECK_FAILS(invalid_argument, dcb::tag::parse(""));
}

TEST_CASE("a name is UTF-8") {
    for (const char *good : {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xED\x9F\xBF",
                             "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF", "a\x7F"}) {
        CAPTURE(std::string(good));
        CHECK(dcb::bare_tag(good).text() == good);
    }
    for (const char *bad : {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80",
                            "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
                            "\xE2\x82", "\xE2\x28\xA1", "a\xC3\x28"}) {
        CAPTURE(std::string(bad));
        CHECK_FAILS(invalid_argument, dcb::bare_tag(bad));
    }
}

TEST_CASE("an event has a valid type and id") {
    CHECK_FAILS(invalid_argument, dcb::event(""));
    CHECK_FAILS(invalid_argument, dcb::event("\xFF"));
    CHECK_FAILS(too_large, dcb::event(std::string(256, 'a')));
    CHECK_FAILS(invalid_argument, dcb::event("T").id(""));
    CHECK_FAILS(too_large, dcb::event("T").id(std::string(256, 'a')));
    dcb::event e("T");
    e.id("i").metadata("{}");
    CHECK(e.id().value() == "i");
    CHECK(e.metadata().value() == "{}");
}

TEST_CASE("data is a single JSON value") {
    for (const char *value : {"null", " 1 ", "\"a,b:c}\"", "\"\\\"\"", "{\"a\":[1,{}]}", "[]"}) {
        CAPTURE(std::string(value));
        CHECK(dcb::event("T", {}, value).data() == value);
        CHECK(dcb::event("T").metadata(value).metadata().value() == value);
    }
    for (const char *value : {"", " \t\r\n", "1,2", "1},{", "}", "]", "{", "[", "\"", "\"\\\"",
                              "null,\"type\":\"X\"", "1:2", "null}],\"condition\":[{}"}) {
        CAPTURE(std::string(value));
        CHECK_FAILS(invalid_argument, dcb::event("T", {}, value));
        CHECK_FAILS(invalid_argument, dcb::event("T").metadata(value));
    }
}

TEST_CASE("no data can add to a request") {
    // Text that passes the check of the header is refused by the store, or is one value.
    dcb::store store = unit::fresh_store();
    for (const char *value : {"1 2", "{}{}", "[}", "{]", "nul", "\"\n\"", "{\"a\"}", "[1,]"}) {
        CAPTURE(std::string(value));
        CHECK_FAILS(invalid_argument, store.append(dcb::event("T", {}, value)));
    }
    CHECK(store.head() == 0);
}

TEST_CASE("random data adds nothing to a request") {
    // The data is made of random pieces that end values, strings and objects, or follow them.
    const std::vector<std::string> pieces{"{",        "}",
                                          "[",        "]",
                                          ",",        ":",
                                          "\"",       "\\",
                                          "\\\"",     "1",
                                          "-",        "null",
                                          "\"type\"", " ",
                                          "\"data\"", "\"tags\"",
                                          "\n",       "e",
                                          "{}",       "\x01",
                                          "\\u0022",  "\"id\":\"i\"",
                                          "}]",       "},{\"type\":\"X\""};
    std::minstd_rand random(20261123);
    dcb::store store("memory:");
    int stored = 0;
    int refused = 0;
    for (int i = 0; i < 20000; ++i) {
        std::string data;
        for (auto left = 1 + random() % 8; left > 0; --left) {
            data += pieces[random() % pieces.size()];
        }
        CAPTURE(data);
        try {
            store.append(dcb::event("T", {"t:1"}, data));
            ++stored;
        } catch (const dcb::error &e) {
            CHECK(e.status() == dcb::status::invalid_argument);
            ++refused;
            continue;
        }
        const dcb::read_result all = store.read_all(dcb::query::all(), [&] {
            dcb::read_options newest;
            newest.after = stored - 1;
            return newest;
        }());
        CHECK(all.events.size() == 1u);
        CHECK(all.events.at(0).type == "T");
        CHECK(data.find(all.events.at(0).data) != std::string::npos);
        CHECK(!all.events.at(0).id);
    }
    CHECK(stored > 100);
    CHECK(refused > 100);
}

TEST_CASE("names are escaped") {
    const std::string ugly = "q\" b\\ n\n t\t \x01 \x1F \x7F {}[]:, \xE2\x82\xAC";
    dcb::store store = unit::fresh_store();
    store.append(dcb::event(ugly, {ugly}, "1").id(ugly));
    const auto all = store.read_all(dcb::of_type(ugly).tagged(ugly)).events;
    CHECK(all.size() == 1u);
    CHECK(all.at(0).type == ugly);
    CHECK(all.at(0).tags.at(0) == ugly);
    CHECK(all.at(0).id.value() == ugly);
}

TEST_CASE("a view has everything of an event") {
    dcb::sequenced_event e;
    e.position = 7;
    e.timestamp = dcb::timestamp(std::chrono::microseconds(1234567));
    e.type = "T";
    e.tags = {"course:c1", "bare", "course:c2", "url:http://a"};
    e.data = "[1]";
    e.id = "i";
    e.metadata = "{}";
    const dcb::event_view view = e;
    CHECK(view.position() == 7);
    CHECK(view.timestamp().time_since_epoch().count() == 1234567);
    CHECK(view.type() == "T");
    CHECK(view.data() == "[1]");
    CHECK(view.id().value() == "i");
    CHECK(view.metadata().value() == "{}");
    CHECK(view.tags().size() == 4u);
    CHECK(view.tags()[3] == "url:http://a");
    std::string joined;
    // The view is destroyed before the loop begins, but the event is not.
    for (const std::string_view tag : dcb::event_view(e).tags()) {
        joined += tag;
    }
    CHECK(joined == "course:c1barecourse:c2url:http://a");
    CHECK(view.has_tag("bare"));
    CHECK(view.has_tag("course:c2"));
    CHECK(!view.has_tag("course"));
    CHECK(view.tag_value("course").value() == "c1");
    CHECK(view.tag_value("url").value() == "http://a");
    CHECK(!view.tag_value("bare"));
    CHECK(!view.tag_value("cours"));
    CHECK(!view.tag_value("url:http"));
    const auto copy = static_cast<dcb::sequenced_event>(view);
    CHECK(copy.tags == e.tags);
    CHECK(copy.id.value() == "i");
    CHECK(copy.timestamp == e.timestamp);
}

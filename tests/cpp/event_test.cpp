// Events, their names, and the JSON text that is embedded in a request.

#include "check.hpp"

#include <dcb/event.hpp>
#include <dcb/query.hpp>

#include <random>

TEST(a_tag_has_a_key_and_a_value) {
    CHECK_EQUAL(dcb::tag("course", "c1").text(), "course:c1");
    CHECK_EQUAL(dcb::tag("url", "http://a").text(), "url:http://a");
    CHECK_EQUAL(dcb::tag("k:" + std::string(253, 'a')).text().size(), 255u);
    CHECK_THROWS(invalid_argument, dcb::tag(""));
    CHECK_THROWS(invalid_argument, dcb::tag(":value"));
    CHECK_THROWS(invalid_argument, dcb::tag("key:"));
    CHECK_THROWS(invalid_argument, dcb::tag("a:b", "c"));
    CHECK_THROWS(invalid_argument, dcb::tag("", "c"));
    CHECK_THROWS(invalid_argument, dcb::tag("key", ""));
    CHECK_THROWS(invalid_argument, dcb::tag(std::string("a:\0b", 4)));
    CHECK_THROWS(too_large, dcb::tag(std::string(256, 'a')));
}

TEST(a_bare_tag_is_made_explicitly) {
    CHECK_EQUAL(dcb::bare_tag("vip").text(), "vip");
    CHECK_EQUAL(dcb::bare_tag(std::string(255, 'a')).text().size(), 255u);
    CHECK_THROWS(invalid_argument, dcb::bare_tag(""));
    CHECK_THROWS(invalid_argument, dcb::bare_tag("key:value"));
    CHECK_THROWS(too_large, dcb::bare_tag(std::string(256, 'a')));

    // In each of these the value is missing, or is in the place of a second tag.
    const std::string id = "s1";
    CHECK_THROWS(invalid_argument, dcb::tag("student"));
    CHECK_THROWS(invalid_argument, dcb::event("Subscribed", {"student"}));
    CHECK_THROWS(invalid_argument, dcb::event("Subscribed", {"student", id}));
    CHECK_THROWS(invalid_argument, dcb::tagged("student"));
    CHECK_THROWS(invalid_argument, dcb::tagged(std::vector<dcb::tag>{"student", id}));
    try {
        dcb::tag("student");
    } catch (const dcb::error &e) {
        CHECK_EQUAL(std::string_view(e.what()),
                    "tag: \"student\" has no value; for a tag without one, use bare_tag");
    }
}

TEST(a_tag_that_was_read_can_be_appended) {
    dcb::store store = check::fresh_store();
    store.append(dcb::event("A", {dcb::bare_tag("vip"), "course:c1"}));
    const auto first = store.read_all(dcb::tagged(dcb::bare_tag("vip"))).events.at(0);
    std::vector<dcb::tag> tags;
    for (const std::string &text : first.tags) {
        tags.push_back(dcb::tag::parse(text));
    }
    store.append(dcb::event("B", tags));
    CHECK_EQUAL(store.read_all(dcb::tagged(tags)).events.size(), 2u);
    CHECK_THROWS(invalid_argument, dcb::tag::parse("key:"));
    CHECK_THROWS(invalid_argument, dcb::tag::parse(""));
}

TEST(a_name_is_utf8) {
    for (const char *good : {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xED\x9F\xBF",
                             "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF", "a\x7F"}) {
        CHECK_EQUAL(dcb::bare_tag(good).text(), good);
    }
    for (const char *bad : {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80",
                            "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
                            "\xE2\x82", "\xE2\x28\xA1", "a\xC3\x28"}) {
        CHECK_THROWS(invalid_argument, dcb::bare_tag(bad));
    }
}

TEST(an_event_has_a_valid_type_and_id) {
    CHECK_THROWS(invalid_argument, dcb::event(""));
    CHECK_THROWS(invalid_argument, dcb::event("\xFF"));
    CHECK_THROWS(too_large, dcb::event(std::string(256, 'a')));
    CHECK_THROWS(invalid_argument, dcb::event("T").id(""));
    CHECK_THROWS(too_large, dcb::event("T").id(std::string(256, 'a')));
    dcb::event e("T");
    e.id("i").metadata("{}");
    CHECK_EQUAL(e.id().value(), "i");
    CHECK_EQUAL(e.metadata().value(), "{}");
}

TEST(data_is_a_single_json_value) {
    for (const char *value : {"null", " 1 ", "\"a,b:c}\"", "\"\\\"\"", "{\"a\":[1,{}]}", "[]"}) {
        CHECK_EQUAL(dcb::event("T", {}, value).data(), value);
        CHECK_EQUAL(dcb::event("T").metadata(value).metadata().value(), value);
    }
    for (const char *value : {"", " \t\r\n", "1,2", "1},{", "}", "]", "{", "[", "\"", "\"\\\"",
                              "null,\"type\":\"X\"", "1:2", "null}],\"condition\":[{}"}) {
        CHECK_THROWS(invalid_argument, dcb::event("T", {}, value));
        CHECK_THROWS(invalid_argument, dcb::event("T").metadata(value));
    }
}

TEST(no_data_can_add_to_a_request) {
    // Text that passes the check of the header is refused by the store, or is one value.
    dcb::store store = check::fresh_store();
    for (const char *value : {"1 2", "{}{}", "[}", "{]", "nul", "\"\n\"", "{\"a\"}", "[1,]"}) {
        CHECK_THROWS(invalid_argument, store.append(dcb::event("T", {}, value)));
    }
    CHECK_EQUAL(store.head(), 0);
}

TEST(random_data_adds_nothing_to_a_request) {
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
        CHECK_EQUAL(all.events.size(), 1u);
        CHECK_EQUAL(all.events.at(0).type, "T");
        CHECK(data.find(all.events.at(0).data) != std::string::npos);
        CHECK(!all.events.at(0).id);
    }
    CHECK(stored > 100);
    CHECK(refused > 100);
}

TEST(names_are_escaped) {
    const std::string ugly = "q\" b\\ n\n t\t \x01 \x1F \x7F {}[]:, \xE2\x82\xAC";
    dcb::store store = check::fresh_store();
    store.append(dcb::event(ugly, {ugly}, "1").id(ugly));
    const auto all = store.read_all(dcb::of_type(ugly).tagged(ugly)).events;
    CHECK_EQUAL(all.size(), 1u);
    CHECK_EQUAL(all.at(0).type, ugly);
    CHECK_EQUAL(all.at(0).tags.at(0), ugly);
    CHECK_EQUAL(all.at(0).id.value(), ugly);
}

TEST(a_view_has_everything_of_an_event) {
    dcb::sequenced_event e;
    e.position = 7;
    e.timestamp = dcb::timestamp(std::chrono::microseconds(1234567));
    e.type = "T";
    e.tags = {"course:c1", "bare", "course:c2", "url:http://a"};
    e.data = "[1]";
    e.id = "i";
    e.metadata = "{}";
    const dcb::event_view view = e;
    CHECK_EQUAL(view.position(), 7);
    CHECK_EQUAL(view.timestamp().time_since_epoch().count(), 1234567);
    CHECK_EQUAL(view.type(), "T");
    CHECK_EQUAL(view.data(), "[1]");
    CHECK_EQUAL(view.id().value(), "i");
    CHECK_EQUAL(view.metadata().value(), "{}");
    CHECK_EQUAL(view.tags().size(), 4u);
    CHECK_EQUAL(view.tags()[3], "url:http://a");
    std::string joined;
    // The view is destroyed before the loop begins, but the event is not.
    for (const std::string_view tag : dcb::event_view(e).tags()) {
        joined += tag;
    }
    CHECK_EQUAL(joined, "course:c1barecourse:c2url:http://a");
    CHECK(view.has_tag("bare"));
    CHECK(view.has_tag("course:c2"));
    CHECK(!view.has_tag("course"));
    CHECK_EQUAL(view.tag_value("course").value(), "c1");
    CHECK_EQUAL(view.tag_value("url").value(), "http://a");
    CHECK(!view.tag_value("bare"));
    CHECK(!view.tag_value("cours"));
    CHECK(!view.tag_value("url:http"));
    const auto copy = static_cast<dcb::sequenced_event>(view);
    CHECK(copy.tags == e.tags);
    CHECK_EQUAL(copy.id.value(), "i");
    CHECK(copy.timestamp == e.timestamp);
}

// Runs the conformance corpus through dcb.hpp. tests/conformance/README.md describes its format.
//
// usage: cpp-conformance URI FOLDER [OPTION OF DOCTEST]...
//
// With the URI `sqlite:`, each case gets its own file, with `host:` also a store on connections of
// the program's own SQLite, and with a URI of PostgreSQL its own schema. With `tx:` before that
// URI, appends are made in transactions on a connection of libpq. Other URIs are opened as they
// are. Each case is a subcase: `--subcase='read.json: a query*'` plays some of them.

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "raw_json.hpp"
#include "temporary_folder.hpp"

#ifdef DCB_TEST_LIBPQ
#include <dcb/libpq.hpp>
#endif
#ifdef DCB_TEST_SQLITE3
#include <dcb/sqlite3.hpp>
#endif
#include <dcb/store.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

using nlohmann::json;

namespace {

/// Thrown when a result differs from the expected one.
struct mismatch : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <class A, class B>
void expect_equal(const std::string &what, const A &actual, const B &expected) {
    if (!(actual == expected)) {
        throw mismatch(what + ": expected " + json(expected).dump() + ", got " +
                       json(actual).dump());
    }
}

/// Throws if there is a key that the runner does not know, since it would not check it.
void know_keys(const json &object, const std::set<std::string> &known) {
    for (const auto &[key, value] : object.items()) {
        if (known.count(key) == 0) {
            throw mismatch("the runner does not know the key " + key);
        }
    }
}

/// A way to read: its name and its result.
struct reading {
    std::vector<dcb::sequenced_event> events;
    /// Those of the events, as texts.
    std::vector<std::string> timestamps;
    std::int64_t position = 0;

    void add(dcb::sequenced_event event) {
        std::string timestamp;
        dcb::detail::write_timestamp(timestamp, event.timestamp);
        timestamps.push_back(json::parse(timestamp));
        events.push_back(std::move(event));
    }
};

reading read_document(const dcb::store &store, const std::string &request) {
    reading result;
    const dcb::buffer document = store.read_json(request);
    const auto top = raw_json::members(document.view());
    if (top.size() != 2 || top[0].first != "events" || top[1].first != "position") {
        throw mismatch("a read result has the keys events and position");
    }
    result.position = std::stoll(std::string(top[1].second));
    for (const std::string_view text : raw_json::elements(top[0].second)) {
        dcb::sequenced_event event;
        std::string keys;
        for (const auto &[key, value] : raw_json::members(text)) {
            keys += std::string(key) + ' ';
            if (key == "position") {
                event.position = std::stoll(std::string(value));
            } else if (key == "type") {
                event.type = json::parse(value);
            } else if (key == "tags") {
                event.tags = json::parse(value).get<std::vector<std::string>>();
            } else if (key == "data") {
                event.data = value;
            } else if (key == "id") {
                event.id = json::parse(value).get<std::string>();
            } else if (key == "metadata") {
                event.metadata = value;
            } else if (key == "timestamp") {
                result.timestamps.push_back(json::parse(value));
            }
        }
        std::string expected = "position type tags data ";
        expected += event.id ? "id " : "";
        expected += event.metadata ? "metadata " : "";
        expect_equal("the keys of an event", keys, expected + "timestamp ");
        result.events.push_back(std::move(event));
    }
    return result;
}

reading read_cursor(const dcb::store &store, const std::string &request, std::size_t batch) {
    reading result;
    dcb::cursor cursor = store.read_cursor(request, batch);
    for (const dcb::event_view &e : cursor) {
        result.add(static_cast<dcb::sequenced_event>(e));
    }
    result.position = cursor.position();
    return result;
}

void check_event(const dcb::sequenced_event &actual, const std::string &timestamp,
                 const json &expected) {
    know_keys(expected, {"position", "type", "tags", "data", "data_text", "id", "metadata",
                         "metadata_text", "timestamp"});
    expect_equal("timestamp", timestamp, expected.value("timestamp", timestamp));
    if (expected.contains("position")) {
        expect_equal("position", actual.position, expected["position"]);
    }
    if (expected.contains("type")) {
        expect_equal("type", actual.type, expected["type"]);
    }
    expect_equal("tags", actual.tags,
                 expected.value("tags", json::array()).get<std::vector<std::string>>());
    if (expected.contains("data_text")) {
        expect_equal("data_text", actual.data, expected["data_text"]);
    } else {
        expect_equal("data", json::parse(actual.data), expected.value("data", json()));
    }
    expect_equal("id", actual.id ? json(*actual.id) : json(), expected.value("id", json()));
    if (expected.contains("metadata_text")) {
        expect_equal("metadata_text", actual.metadata.value_or(""), expected["metadata_text"]);
    } else {
        expect_equal("metadata", actual.metadata ? json::parse(*actual.metadata) : json(),
                     expected.value("metadata", json()));
    }
}

void check_reading(const reading &actual, const json &expected) {
    std::vector<std::int64_t> positions;
    for (const dcb::sequenced_event &e : actual.events) {
        positions.push_back(e.position);
    }
    if (expected.contains("positions")) {
        expect_equal("positions", positions, expected["positions"]);
    }
    if (expected.contains("position")) {
        expect_equal("position", actual.position, expected["position"]);
    }
    if (expected.contains("events")) {
        const json &events = expected["events"];
        expect_equal("the number of events", actual.events.size(), events.size());
        for (std::size_t i = 0; i < events.size(); ++i) {
            try {
                check_event(actual.events[i], actual.timestamps.at(i), events[i]);
            } catch (const mismatch &m) {
                throw mismatch("events[" + std::to_string(i) + "]." + m.what());
            }
        }
    }
}

/// Runs `step`, which checks its own result, and compares its status with `expected`.
template <class Step> void check_outcome(const json &expected, Step step) {
    const std::string status = expected.value("status", "ok");
    try {
        step();
    } catch (const dcb::error &e) {
        const std::string came(dcb::status_name(e.status()));
        if (came != status) {
            throw mismatch("status: expected " + status + ", got " + came + ": " + e.what());
        }
        if (expected.contains("position")) {
            expect_equal("the error's position", e.position(), expected["position"]);
        }
        if (expected.contains("condition")) {
            const auto *failed = dynamic_cast<const dcb::condition_failed *>(&e);
            expect_equal("the condition", failed == nullptr ? json() : json(failed->condition()),
                         expected["condition"]);
        }
        if (expected.contains("message_contains")) {
            const std::string piece = expected["message_contains"];
            if (std::string_view(e.what()).find(piece) == std::string_view::npos) {
                throw mismatch("the message \"" + std::string(e.what()) + "\" lacks \"" + piece +
                               "\"");
            }
        }
        return;
    }
    expect_equal("status", "ok", status);
}

class player {
  public:
    player(std::string uri, std::string schema, bool import)
        : uri_(std::move(uri)), schema_(std::move(schema)), import_(import) {
        if (uri_.rfind("tx:", 0) == 0) {
            uri_.erase(0, 3);
            in_transactions_ = true;
        }
        open();
    }

    void play(const json &step) {
        know_keys(step, {"append", "append_text", "read", "read_text", "find", "head", "count",
                         "wait", "reopen", "backup", "expect"});
        const json expect = step.value("expect", json::object());
        know_keys(expect, {"status", "last", "repeated", "positions", "events", "position",
                           "condition", "message_contains", "head", "count"});
        if (step.size() != (step.contains("expect") ? 2u : 1u)) {
            throw mismatch("a step does one thing");
        }
        if (step.contains("append") || step.contains("append_text")) {
            append(request(step, "append"), expect);
        } else if (step.contains("read") || step.contains("read_text")) {
            read(request(step, "read"), expect);
        } else if (step.contains("find")) {
            find(step["find"], expect);
        } else if (step.contains("head")) {
            check_outcome(expect, [&] { compare("head", store_->head(), expect); });
        } else if (step.contains("count")) {
            check_outcome(expect, [&] { compare("count", store_->count(), expect); });
        } else if (step.contains("wait")) {
            wait(step["wait"], expect);
        } else if (step.contains("reopen")) {
            if (is_file() || is_postgres()) {
                open();
            }
        } else if (step.contains("backup")) {
            check_outcome(expect, [&] { compare("head", backup(), expect); });
        } else {
            throw mismatch("a step does something");
        }
    }

  private:
    [[nodiscard]] bool is_hosted() const { return uri_.rfind("host:", 0) == 0; }
    [[nodiscard]] bool is_file() const { return is_hosted() || uri_.rfind("sqlite:/", 0) == 0; }
    [[nodiscard]] bool is_postgres() const { return uri_.rfind("postgres", 0) == 0; }
    [[nodiscard]] std::string path() const { return uri_.substr(uri_.find(':') + 1); }

    void open() {
        dcb::open_options options;
        options.import = import_;
        if (is_postgres()) {
            options.schema = schema_;
            // The test's server does not sync, which would take most of the time.
            options.allow_fsync_off = true;
        }
        store_.reset();
#ifdef DCB_TEST_SQLITE3
        if (is_hosted()) {
            dcb::sqlite3_options hosted;
            hosted.import = import_;
            const auto open = [path = path()] {
                sqlite3 *opened = nullptr;
                dcb::check_sqlite3(nullptr, sqlite3_open(path.c_str(), &opened));
                return opened;
            };
            store_ = std::make_shared<dcb::store>(dcb::sqlite3_store(open, hosted));
            return;
        }
#endif
        if (in_transactions_) {
#ifdef DCB_TEST_LIBPQ
            store_ = std::make_shared<dcb::libpq_store>(uri_, options);
            connection_.reset(PQconnectdb(uri_.c_str()), PQfinish);
            return;
#else
            throw mismatch("this program was built without libpq");
#endif
        }
        store_ = std::make_shared<dcb::store>(uri_, options);
    }

    /// Goes on with the copy.
    std::int64_t backup() {
        if (!is_file()) {
            return store_->head();
        }
        const std::string copy = path() + ".copy";
        // A store on the program's connections makes none; one that opens the same file does.
        const std::int64_t head =
            is_hosted() ? dcb::store("sqlite:" + path()).backup(copy) : store_->backup(copy);
        uri_ = (is_hosted() ? "host:" : "sqlite:") + copy;
        open();
        return head;
    }

    static std::string request(const json &step, const std::string &key) {
        return step.contains(key) ? step[key].dump() : step[key + "_text"].get<std::string>();
    }

    static void compare(const char *key, std::int64_t actual, const json &expect) {
        if (expect.contains(key)) {
            expect_equal(key, actual, expect[key]);
        }
    }

    void append(const std::string &document, const json &expect) {
        check_outcome(expect, [&] {
            const dcb::append_result result = try_append_once(document);
            if (!result) {
                throw dcb::condition_failed("the append condition failed", result.position(),
                                            result.condition());
            }
            compare("last", result.position(), expect);
            if (expect.contains("repeated")) {
                expect_equal("repeated", result.is_repeated(), expect["repeated"]);
            }
        });
        // The same append fails in the same way when it throws.
        if (expect.value("status", "ok") != "ok") {
            check_outcome(expect, [&] { append_once(document); });
        }
    }

    dcb::append_result try_append_once(const std::string &document) {
#ifdef DCB_TEST_LIBPQ
        if (in_transactions_) {
            std::optional<dcb::append_result> result;
            transact([&](dcb::libpq_store &store, PGconn *connection) {
                result = store.try_append_json_within(connection, document);
            });
            return *result;
        }
#endif
        return store_->try_append_json(document);
    }

    void append_once(const std::string &document) {
#ifdef DCB_TEST_LIBPQ
        if (in_transactions_) {
            transact([&](dcb::libpq_store &store, PGconn *connection) {
                store.append_json_within(connection, document);
            });
            return;
        }
#endif
        store_->append_json(document);
    }

#ifdef DCB_TEST_LIBPQ
    /// Every second transaction has the lock before it appends. One in which a condition has failed
    /// can still be committed.
    template <class Append> void transact(const Append &append) {
        auto &store = static_cast<dcb::libpq_store &>(*store_);
        PGconn *const connection = connection_.get();
        is_locked_first_ = !is_locked_first_;
        if (is_locked_first_) {
            store.in_transaction(connection,
                                 [&](dcb::libpq_transaction &) { append(store, connection); });
            return;
        }
        run("BEGIN");
        try {
            append(store, connection);
        } catch (...) {
            run("ROLLBACK");
            throw;
        }
        run("COMMIT");
    }

    void run(const char *sql) {
        const std::unique_ptr<PGresult, decltype(&PQclear)> done(PQexec(connection_.get(), sql),
                                                                 PQclear);
        dcb::check_libpq(connection_.get(), done.get());
    }
#endif

    void read(const std::string &document, const json &expect) {
        const auto way = [&](const char *name, auto read) {
            try {
                check_outcome(expect, [&] { check_reading(read(), expect); });
            } catch (const mismatch &m) {
                throw mismatch(std::string(name) + ": " + m.what());
            }
        };
        way("as one document", [&] { return read_document(*store_, document); });
        way("in batches of one", [&] { return read_cursor(*store_, document, 1); });
        way("in large batches", [&] { return read_cursor(*store_, document, 1000); });
    }

    void find(const std::string &id, const json &expect) {
        check_outcome(expect, [&] {
            reading found;
            if (auto event = store_->find(id)) {
                found.add(*std::move(event));
            }
            check_reading(found, expect);
        });
    }

    void wait(const json &arguments, const json &expect) {
        know_keys(arguments, {"after", "timeout_ms"});
        const std::chrono::milliseconds timeout(arguments.at("timeout_ms").get<std::int64_t>());
        check_outcome(expect, [&] {
            const auto head = store_->wait(arguments.at("after"), {timeout});
            if (!head) {
                throw dcb::error(dcb::status::timeout, "the wait timed out");
            }
            compare("head", *head, expect);
        });
    }

    std::string uri_;
    std::string schema_;
    bool import_;
    bool in_transactions_ = false;
    std::shared_ptr<dcb::store> store_;
#ifdef DCB_TEST_LIBPQ
    std::shared_ptr<PGconn> connection_;
    bool is_locked_first_ = false;
#endif
};

struct corpus_case {
    /// The name of the file, and that of the case.
    std::string name;
    json definition;
    std::string uri;
    /// In PostgreSQL, the schema that no other case uses.
    std::string schema;
};

std::vector<corpus_case> corpus;

/// Runs one case. Returns what went wrong, or an empty text.
std::string play(const corpus_case &one) {
    std::size_t number = 0;
    try {
        know_keys(one.definition, {"name", "options", "steps"});
        const json options = one.definition.value("options", json::object());
        know_keys(options, {"import"});
        player player(one.uri, one.schema, options.value("import", false));
        for (const json &step : one.definition.at("steps")) {
            player.play(step);
            ++number;
        }
        return number == 0 ? "the case has no steps" : "";
    } catch (const std::exception &e) {
        return "step " + std::to_string(number) + ": " + e.what();
    }
}

void load_corpus(const std::string &uri, const std::filesystem::path &folder,
                 const std::filesystem::path &scratch) {
    std::vector<std::filesystem::path> files;
    for (const auto &entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() == ".json") {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    for (const std::filesystem::path &file : files) {
        for (json &one : json::parse(std::ifstream(file))) {
            const std::string number = std::to_string(corpus.size());
            const std::string own = (scratch / (number + ".db")).string();
            corpus.push_back({file.filename().string() + ": " + one.at("name").get<std::string>(),
                              std::move(one), uri == "sqlite:" || uri == "host:" ? uri + own : uri,
                              "dcb_cpp_" + std::to_string(getpid()) + "_" + number});
        }
    }
}

} // namespace

TEST_CASE("the conformance corpus") {
    for (const corpus_case &one : corpus) {
        SUBCASE(one.name.c_str()) {
            const std::string wrong = play(one);
            CHECK_MESSAGE(wrong.empty(), wrong);
        }
    }
}

int main(int argc, char **argv) try {
    if (argc < 3) {
        std::cerr << "usage: " << argv[0] << " URI FOLDER [OPTION OF DOCTEST]...\n";
        return 2;
    }
    const temporary_folder scratch;
    load_corpus(argv[1], argv[2], scratch.path());
    if (corpus.empty()) {
        throw std::runtime_error("the folder has no cases");
    }
    return doctest::Context(argc, argv).run();
} catch (const std::exception &e) {
    std::cerr << argv[0] << ": " << e.what() << '\n';
    return 1;
}

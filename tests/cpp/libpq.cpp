// A store in PostgreSQL and the program's own transactions on connections of libpq.
//
// usage: cpp-libpq [OPTION OF DOCTEST]... with the URI of a server in DCB_POSTGRES_URI

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "gateway.hpp"

#include <dcb/libpq.hpp>
#include <dcb/subscription.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

struct finish {
    void operator()(PGconn *connection) const noexcept { PQfinish(connection); }
};

std::string server() {
    const char *const uri = std::getenv("DCB_POSTGRES_URI");
    REQUIRE_MESSAGE(uri != nullptr, "DCB_POSTGRES_URI names no server");
    return uri;
}

dcb::open_options in_schema(const std::string &name) {
    dcb::open_options options;
    options.schema = name;
    // The test's server does not sync, which would take most of the time.
    options.allow_fsync_off = true;
    return options;
}

std::string next_schema() {
    static std::atomic<int> count;
    return "libpq_" + std::to_string(getpid()) + "_" + std::to_string(count++);
}

/// A program with a table, a store in the same database, and a connection.
struct shop {
    shop() : connection(PQconnectdb(server().c_str())) {
        REQUIRE(PQstatus(get()) == CONNECTION_OK);
        run("CREATE TABLE " + orders() + " (id bigint)");
    }

    [[nodiscard]] PGconn *get() const noexcept { return connection.get(); }
    [[nodiscard]] std::string orders() const { return schema + "_orders"; }
    [[nodiscard]] std::string order(std::int64_t id) const {
        return "INSERT INTO " + orders() + " VALUES (" + std::to_string(id) + ")";
    }

    void run(const std::string &sql) const {
        const dcb::detail::libpq_result result(PQexec(get(), sql.c_str()));
        dcb::check_libpq(get(), result.get());
    }

    [[nodiscard]] std::int64_t rows() const {
        const std::unique_ptr<PGconn, finish> other(PQconnectdb(server().c_str()));
        const std::string sql = "SELECT count(*) FROM " + orders();
        const dcb::detail::libpq_result result(PQexec(other.get(), sql.c_str()));
        dcb::check_libpq(other.get(), result.get());
        return std::stoll(PQgetvalue(result.get(), 0, 0));
    }

    std::string schema = next_schema();
    std::unique_ptr<PGconn, finish> connection;
    dcb::libpq_store store{server(), in_schema(schema)};
};

/// Runs `call` and returns the status that it fails with.
template <class Call> dcb::status status_of(const Call &call) {
    try {
        call();
    } catch (const dcb::error &e) {
        return e.status();
    }
    return dcb::status::ok;
}

const dcb::append_condition no_a{dcb::of_type("A"), 0};

} // namespace

TEST_CASE("events and rows are stored together, or not at all") {
    shop own;
    own.run("BEGIN");
    CHECK(own.store.append_within(own.get(), dcb::event("A", {"quoted:{\"\\,}"})).position() == 1);
    own.run(own.order(1));
    CHECK(own.store.head() == 0);
    own.run("ROLLBACK");
    CHECK(own.store.head() == 0);
    own.run("BEGIN");
    CHECK(own.store.append_within(own.get(), dcb::event("A", {"quoted:{\"\\,}"})).position() == 1);
    CHECK_FALSE(own.store.try_append_within(own.get(), dcb::event("A"), {no_a}));
    CHECK(status_of([&] { own.store.append_within(own.get(), dcb::event("A"), no_a); }) ==
          dcb::status::condition_failed);
    own.run(own.order(1));
    own.run("COMMIT");
    CHECK(own.store.head() == 1);
    CHECK(own.rows() == 1);
    const auto read = own.store.read_all(dcb::tagged("quoted:{\"\\,}"));
    CHECK(read.events.size() == 1);
}

TEST_CASE("a transaction is begun, run again where that helps, and committed") {
    shop own;
    int runs = 0;
    own.store.in_transaction(own.get(), [&](dcb::libpq_transaction &tx) {
        CHECK(tx.append(dcb::event("A")).position() == 1);
        tx.run(own.order(1));
        // It has the lock, so nobody else appends.
        const dcb::call_options brief{50ms};
        CHECK(status_of([&] { own.store.append(dcb::event("B"), {}, brief); }) ==
              dcb::status::busy);
        if (++runs < 3) {
            throw dcb::error(dcb::status::busy, "the program's own");
        }
    });
    CHECK(runs == 3);
    CHECK(own.store.head() == 1);
    CHECK(own.rows() == 1);

    runs = 0;
    own.store.in_transaction(own.get(), [&](dcb::libpq_transaction &tx) {
        if (++runs == 1) {
            tx.run("DO $$ BEGIN RAISE 'x' USING ERRCODE = 'deadlock_detected'; END $$");
        }
    });
    CHECK(runs == 2);

    const auto append_and_throw = [&](dcb::libpq_transaction &tx) {
        tx.append(dcb::event("A"));
        tx.run(own.order(2));
        throw std::runtime_error("refused");
    };
    CHECK_THROWS_WITH_AS(own.store.in_transaction(own.get(), append_and_throw), "refused",
                         std::runtime_error);
    const auto swallow = [&](dcb::libpq_transaction &tx) {
        tx.append(dcb::event("A"));
        CHECK(status_of([&] { tx.run("SELECT 1 / 0"); }) == dcb::status::internal);
    };
    CHECK(status_of([&] { own.store.in_transaction(own.get(), swallow); }) ==
          dcb::status::invalid_argument);
    const auto send = [&](const char *statement) {
        return [&, statement](dcb::libpq_transaction &tx) {
            tx.append(dcb::event("A"));
            CHECK(PQsendQuery(tx.connection(), statement) == 1);
        };
    };
    const std::string copy = "COPY " + own.orders() + " FROM STDIN";
    for (const char *const fails : {"SELECT 1 / 0", copy.c_str()}) {
        CAPTURE(fails);
        CHECK(status_of([&] { own.store.in_transaction(own.get(), send(fails)); }) ==
              dcb::status::invalid_argument);
    }
    CHECK(own.store.head() == 1);
    CHECK(own.rows() == 1);
}

TEST_CASE("a session that would change the texts of an event is refused") {
    shop own;
    dcb::event umlaut("\u00c4", {"name:\u00fc"}, "\"\u00df\"");
    const auto append = [&](const std::string &setting) {
        own.run("BEGIN");
        own.run("SET LOCAL " + setting);
        const dcb::status status = status_of([&] { own.store.append_within(own.get(), umlaut); });
        own.run("COMMIT");
        return status;
    };
    CHECK(append("client_encoding TO latin1") == dcb::status::invalid_argument);
    // Without metadata and an id, which are then NULL in an array.
    CHECK(append("array_nulls TO off") == dcb::status::invalid_argument);
    CHECK(own.store.head() == 0);
    for (const char *const setting :
         {"client_encoding TO sql_ascii", "search_path TO public", "datestyle TO german"}) {
        CAPTURE(setting);
        CHECK(append(setting) == dcb::status::ok);
    }
    const dcb::query same = dcb::of_type("\u00c4").tagged("name:\u00fc");
    for (const dcb::event_view &e : own.store.read(same)) {
        CHECK(e.data() == "\"\u00df\"");
        CHECK_FALSE(e.id());
        CHECK_FALSE(e.metadata());
    }
    CHECK(own.store.read_all(same).events.size() == 3);
}

TEST_CASE("a decision and its rows are stored once, whoever is in between") {
    shop own;
    const dcb::projection<int> letters{dcb::of_type("A"), 0,
                                       [](int n, const dcb::event_view &) { return n + 1; }};
    bool is_disturbed = false;
    const auto another = [&](int) {
        if (!is_disturbed) {
            is_disturbed = true;
            own.store.append(dcb::event("A"));
        }
        return std::vector<dcb::event>{dcb::event("A")};
    };
    const auto rows = [&](dcb::libpq_transaction &tx, const dcb::decision<> &made) {
        tx.run(own.order(made.first));
    };
    for (int time = 0; time < 2; ++time) {
        const auto made =
            dcb::decide_within(own.store, own.get(), letters, another, rows, dcb::request_id("r1"));
        CHECK(made.first == 2);
        CHECK(made.repeated == (time == 1));
    }
    CHECK(own.store.head() == 2);
    CHECK(own.rows() == 1);
    CHECK(dcb::decide_within(own.store, own.get(), letters, another, rows).first == 3);
    CHECK(own.rows() == 2);
}

TEST_CASE("threads that count with connections of their own count each event once") {
    shop own;
    constexpr int threads = 4;
    constexpr int times = 10;
    const dcb::projection<std::int64_t> counter{
        dcb::of_type("Counted"), 0, [](std::int64_t n, const dcb::event_view &) { return n + 1; }};
    std::vector<std::thread> running;
    for (int thread = 0; thread < threads; ++thread) {
        running.emplace_back([&] {
            const std::unique_ptr<PGconn, finish> connection(PQconnectdb(server().c_str()));
            for (int time = 0; time < times; ++time) {
                dcb::decide_within(
                    own.store, connection.get(), counter,
                    [](std::int64_t) { return std::vector<dcb::event>{dcb::event("Counted")}; },
                    [&](dcb::libpq_transaction &tx, const dcb::decision<> &made) {
                        tx.run(own.order(made.first));
                    });
            }
        });
    }
    for (std::thread &thread : running) {
        thread.join();
    }
    CHECK(own.store.head() == threads * times);
    CHECK(own.rows() == threads * times);
}

TEST_CASE("mistakes are errors") {
    shop own;
    const auto append = [&](PGconn *connection) {
        return status_of([&] { own.store.append_within(connection, dcb::event("A")); });
    };
    CHECK(append(nullptr) == dcb::status::invalid_argument);
    CHECK(append(own.get()) == dcb::status::invalid_argument);
    own.run("BEGIN ISOLATION LEVEL SERIALIZABLE");
    CHECK(append(own.get()) == dcb::status::invalid_argument);
    // The transaction has failed, and says so.
    CHECK(append(own.get()) == dcb::status::invalid_argument);
    CHECK(status_of([&] {
              own.store.in_transaction(own.get(), [](dcb::libpq_transaction &) {});
          }) == dcb::status::invalid_argument);
    own.run("ROLLBACK");
    CHECK(status_of([] { dcb::libpq_store("memory:"); }) == dcb::status::invalid_argument);
    own.store.close();
    CHECK(status_of([&] {
              own.store.in_transaction(own.get(), [](dcb::libpq_transaction &) {});
          }) == dcb::status::closed);
    const std::unique_ptr<PGconn, finish> nobody(PQconnectdb("host=/nowhere"));
    CHECK(append(nobody.get()) == dcb::status::unavailable);
}

namespace {

/// Returns what the URI of the server says.
std::string parameter(const std::string &keyword) {
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
        PQconninfoParse(server().c_str(), nullptr), PQconninfoFree);
    for (const PQconninfoOption *one = options.get(); one->keyword != nullptr; ++one) {
        if (keyword == one->keyword && one->val != nullptr) {
            return one->val;
        }
    }
    return "";
}

} // namespace

TEST_CASE("a waiting subscription outlasts a server that is down or silent") {
    const std::string port = parameter("port");
    gateway between(parameter("host"), port);
    const std::string uri = "postgres:///" + parameter("dbname") + "?user=" + parameter("user") +
                            "&port=" + port + "&host=" + between.folder();
    const std::string schema = next_schema();
    dcb::store store(uri, in_schema(schema));
    dcb::store other(server(), in_schema(schema));
    store.append(dcb::event("A"));
    // Whoever asks a silent server gives up after ten seconds.
    for (const auto &[way, length] :
         {std::pair(gateway::way::closed, 2s), std::pair(gateway::way::silent, 12s)}) {
        CAPTURE(length.count());
        const std::int64_t seen = other.head();
        std::thread fault([&, is = way, lasts = length] {
            // The subscription has read by then, and waits.
            std::this_thread::sleep_for(1s);
            between.set(is);
            std::this_thread::sleep_for(lasts);
            between.set(gateway::way::open);
            other.append(dcb::event("A"));
        });
        std::int64_t found = 0;
        std::string said;
        try {
            for (const dcb::event_view &e : store.subscribe(dcb::query::all(), seen, {1min})) {
                found = e.position();
                break;
            }
        } catch (const dcb::error &e) {
            said = e.what();
        }
        fault.join();
        CHECK(said == "");
        CHECK(found == seen + 1);
    }
}

// A store on the SQLite connections of the program, and its transactions.

#include "unit.hpp"

#include <dcb/sqlite3.hpp>
#include <dcb/subscription.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// A connection of the test's own.
class own_connection {
  public:
    explicit own_connection(const std::string &path) : handle_(unit::open_sqlite3(path)) {}
    own_connection(const own_connection &) = delete;
    own_connection &operator=(const own_connection &) = delete;
    ~own_connection() { CHECK(sqlite3_close(handle_) == SQLITE_OK); }

    [[nodiscard]] sqlite3 *get() const noexcept { return handle_; }

    void run(const std::string &sql) const {
        dcb::check_sqlite3(handle_, sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr));
    }

    [[nodiscard]] std::int64_t number(const std::string &sql) const {
        sqlite3_stmt *statement = nullptr;
        dcb::check_sqlite3(handle_,
                           sqlite3_prepare_v2(handle_, sql.c_str(), -1, &statement, nullptr));
        dcb::check_sqlite3(handle_, sqlite3_step(statement));
        const std::int64_t found = sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
        return found;
    }

  private:
    sqlite3 *handle_;
};

/// A database with a table of the program's, and a store on connections that a function opens.
struct shop {
    explicit shop(const dcb::sqlite3_options &options = {})
        : path(unit::fresh_path()), own(path), store(
                                                   [this] {
                                                       ++opened;
                                                       return unit::open_sqlite3(path);
                                                   },
                                                   options) {
        own.run("CREATE TABLE orders (id INTEGER PRIMARY KEY)");
    }

    [[nodiscard]] std::int64_t orders() const { return own.number("SELECT count(*) FROM orders"); }

    std::atomic<int> opened{0};
    std::string path;
    own_connection own;
    dcb::sqlite3_store store;
};

const dcb::event ordered("Ordered", {"order:1"});
const dcb::append_condition unordered{dcb::tagged("order:1"), 0};

struct changed_mind : std::runtime_error {
    changed_mind() : std::runtime_error("the customer has changed his mind") {}
};

} // namespace

TEST_SUITE_BEGIN("host");

TEST_CASE("a store on connections that a function opens") {
    shop s;
    CHECK(s.store.append(ordered, unordered) == 1);
    CHECK_FAILS(condition_failed, s.store.append(ordered, unordered));
    CHECK(s.store.count() == 1);
    CHECK(s.own.number("SELECT count(*) FROM dcb_events") == 1);
    CHECK(s.opened >= 1);
    CHECK(s.opened <= 8);
    // A native store has the same events.
    CHECK(dcb::store("sqlite:" + s.path).append(dcb::event("A")) == 2);
    CHECK(s.store.head() == 2);
    s.store.close();
    CHECK_FAILS(closed, s.store.head());
    CHECK_FAILS(closed, s.store.append(ordered));
    CHECK_FAILS(closed, s.store.in_transaction([](dcb::sqlite3_transaction &) {}));
    s.own.run("BEGIN");
    CHECK_FAILS(closed, s.store.append_within(s.own.get(), ordered));
    s.own.run("ROLLBACK");
}

TEST_CASE("a store is moved with its connections") {
    shop s;
    dcb::sqlite3_store moved = std::move(s.store);
    CHECK(moved.append(ordered) == 1);
    CHECK_FAILS(closed, s.store.head());
    dcb::store plain = std::move(moved); // it leaves nothing behind that the store needs
    CHECK(plain.append(ordered) == 2);
    plain = unit::fresh_store();
    CHECK(plain.append(ordered) == 1);
    dcb::sqlite3_store again([&] { return unit::open_sqlite3(s.path); });
    CHECK(again.head() == 2);
    again = dcb::sqlite3_store([&] { return unit::open_sqlite3(s.path); });
    CHECK(again.head() == 2);
    dcb::cursor past = again.read(dcb::query::all());
    again.close();
    CHECK_FAILS(closed, past.next(1));
}

TEST_CASE("rows and events are stored together or not at all") {
    shop s;
    s.store.in_transaction([](dcb::sqlite3_transaction &tx) {
        CHECK(tx.append(ordered, unordered).position() == 1);
        tx.run("INSERT INTO orders VALUES (1)");
    });
    CHECK(s.orders() == 1);
    CHECK(s.store.head() == 1);

    CHECK_THROWS_AS(s.store.in_transaction([](dcb::sqlite3_transaction &tx) {
        tx.run("INSERT INTO orders VALUES (2)");
        CHECK(tx.append(dcb::event("Ordered", {"order:2"})).position() == 2);
        // It sees its own.
        CHECK(tx.try_append(ordered, {{dcb::tagged("order:2"), 0}}).position() == 2);
        throw changed_mind();
    }),
                    changed_mind);
    CHECK(s.orders() == 1);
    CHECK(s.store.head() == 1);
    // What was rolled back is not seen later: its position is given to others.
    CHECK(s.store.append(dcb::event("A"), {dcb::tagged("order:2"), 0}) == 2);

    CHECK_THROWS_AS(s.store.in_transaction([](dcb::sqlite3_transaction &tx) {
        tx.run("INSERT INTO orders VALUES (3)");
        tx.append(ordered, unordered);
    }),
                    dcb::condition_failed);
    CHECK(s.orders() == 1);
    CHECK_FAILS(invalid_argument, s.store.in_transaction([](dcb::sqlite3_transaction &tx) {
        tx.run("INSERT INTO orders VALUES (1)"); // it is there
    }));
}

TEST_CASE("a repeated append says that the rows are there") {
    shop s;
    for (int i = 0; i < 2; ++i) {
        s.store.in_transaction([&](dcb::sqlite3_transaction &tx) {
            const auto appended = tx.append(dcb::event("Ordered").id("o1"));
            CHECK(appended.is_repeated() == (i > 0));
            CHECK(appended.position() == 1);
            if (!appended.is_repeated()) {
                tx.run("INSERT INTO orders VALUES (1)");
            }
        });
    }
    CHECK(s.orders() == 1);
}

TEST_CASE("an append in a transaction that the program has begun") {
    shop s;
    sqlite3 *const own = s.own.get();
    s.own.run("BEGIN");
    CHECK(s.store.append_within(own, ordered, unordered).position() == 1);
    s.own.run("INSERT INTO orders VALUES (1)");
    const auto refused = s.store.try_append_within(own, ordered, {unordered});
    CHECK(!refused);
    CHECK(refused.position() == 1);
    CHECK_FAILS(condition_failed, s.store.append_within(own, ordered, unordered));
    CHECK(s.store.head() == 0);
    s.own.run("COMMIT");
    CHECK(s.store.head() == 1);
    s.own.run("BEGIN IMMEDIATE");
    CHECK(s.store.append_within(own, {ordered, ordered}).position() == 3);
    s.own.run("ROLLBACK");
    CHECK(s.store.head() == 1);
    CHECK(s.store.append(ordered) == 2);

    // An error names the place in the texts of the caller.
    s.own.run("BEGIN");
    const auto outcome =
        unit::outcome_of([&] { s.store.append_within(own, dcb::event("A", {}, "[1,]")); });
    CHECK(outcome == dcb::status::invalid_argument);
    CHECK(outcome.message.find("events[0].data") == 0);
    CHECK(s.store.append_within(own, ordered).position() == 3); // the transaction goes on
    s.own.run("COMMIT");
    CHECK(s.store.head() == 3);
}

TEST_CASE("what an append within a transaction refuses") {
    shop s;
    CHECK_FAILS(invalid_argument, s.store.append_within(nullptr, ordered));
    CHECK_FAILS(invalid_argument, s.store.append_within(s.own.get(), ordered)); // none is open
    const own_connection other(unit::fresh_path());
    other.run("BEGIN");
    CHECK_FAILS(invalid_argument, s.store.append_within(other.get(), ordered));
    other.run("ROLLBACK");
    // Somebody else has the write lock.
    sqlite3_busy_timeout(s.own.get(), 0);
    const own_connection writer(s.path);
    writer.run("BEGIN IMMEDIATE");
    s.own.run("BEGIN");
    CHECK_FAILS(busy, s.store.append_within(s.own.get(), ordered,
                                            std::vector<dcb::append_condition>{}, {0ms, nullptr}));
    s.own.run("ROLLBACK");
    writer.run("ROLLBACK");
    CHECK(s.store.head() == 0);
}

TEST_CASE("settings of the connections stay as they are") {
    shop s;
    std::vector<sqlite3 *> connections;
    dcb::sqlite3_store store([&] {
        sqlite3 *const opened = unit::open_sqlite3(s.path);
        sqlite3_busy_timeout(opened, 1234);
        sqlite3_exec(opened, "PRAGMA synchronous = FULL", nullptr, nullptr, nullptr);
        connections.push_back(opened);
        return opened;
    });
    const auto check = [&] {
        REQUIRE(connections.size() == 1);
        store.in_transaction([&](dcb::sqlite3_transaction &tx) {
            CHECK(tx.connection() == connections[0]);
            for (const auto &[sql, expected] :
                 {std::pair("PRAGMA busy_timeout", 1234), std::pair("PRAGMA synchronous", 2)}) {
                sqlite3_stmt *statement = nullptr;
                REQUIRE(sqlite3_prepare_v2(tx.connection(), sql, -1, &statement, nullptr) ==
                        SQLITE_OK);
                CHECK(sqlite3_step(statement) == SQLITE_ROW);
                CHECK(sqlite3_column_int(statement, 0) == expected);
                sqlite3_finalize(statement);
            }
        });
    };
    for (int i = 0; i < 3; ++i) {
        store.append(ordered);
        check();
        CHECK(store.count() == i + 1);
        check();
    }
}

TEST_CASE("a statement that a transaction leaves running is reset") {
    shop s({true, 100ms, 1});
    sqlite3_stmt *statement = nullptr;
    s.store.in_transaction([&](dcb::sqlite3_transaction &tx) {
        tx.run("INSERT INTO orders VALUES (1), (2)");
        dcb::check_sqlite3(
            tx.connection(),
            sqlite3_prepare_v2(tx.connection(), "SELECT id FROM orders", -1, &statement, nullptr));
        CHECK(sqlite3_step(statement) == SQLITE_ROW);
    });
    CHECK(sqlite3_stmt_busy(statement) == 0);
    CHECK(s.orders() == 2);
    CHECK(s.store.append(ordered) == 1);
    sqlite3_finalize(statement);
}

TEST_CASE("a connection of the program's") {
    const own_connection own(unit::fresh_path());
    own.run("CREATE TABLE orders (id INTEGER PRIMARY KEY)");
    {
        dcb::sqlite3_store store(own.get());
        CHECK(store.append(ordered, unordered) == 1);
        store.in_transaction([&](dcb::sqlite3_transaction &tx) {
            CHECK(tx.connection() == own.get());
            tx.append(ordered);
            tx.run("INSERT INTO orders VALUES (1)");
            // There is no other connection to read with.
            CHECK_FAILS(invalid_argument, store.head());
        });
        CHECK(store.head() == 2);
        own.run("BEGIN");
        CHECK_FAILS(invalid_argument, store.head());
        CHECK_FAILS(invalid_argument, store.append(ordered));
        CHECK_FAILS(invalid_argument, store.in_transaction([](dcb::sqlite3_transaction &) {}));
        CHECK(store.append_within(own.get(), ordered).position() == 3);
        own.run("COMMIT");
        CHECK(store.head() == 3);

        // A statement that runs would keep the store from seeing what is new.
        sqlite3_stmt *statement = nullptr;
        dcb::check_sqlite3(own.get(), sqlite3_prepare_v2(own.get(), "SELECT type FROM dcb_events",
                                                         -1, &statement, nullptr));
        CHECK(sqlite3_step(statement) == SQLITE_ROW);
        CHECK_FAILS(invalid_argument, store.head());
        CHECK(sqlite3_step(statement) == SQLITE_ROW); // it goes on
        sqlite3_finalize(statement);
        CHECK(store.head() == 3);
    }
    CHECK(own.number("SELECT count(*) FROM dcb_events") == 3); // it is still open
}

TEST_CASE("a database in memory has one connection") {
    dcb::sqlite3_store store([] { return unit::open_sqlite3(":memory:"); }, {true, 100ms, 1});
    CHECK(store.append({ordered, ordered}) == 2);
    CHECK(store.read_all(dcb::query::all()).events.size() == 2);
    const own_connection own(":memory:");
    dcb::sqlite3_store borrowed(own.get());
    CHECK(borrowed.append(ordered) == 1);
    CHECK(borrowed.head() == 1);
}

TEST_CASE("a function that opens no connection") {
    const auto open = [](std::function<sqlite3 *()> function,
                         const dcb::sqlite3_options &options = {}) {
        return unit::outcome_of([&] { dcb::sqlite3_store store(function, options); });
    };
    CHECK(open([]() -> sqlite3 * { return nullptr; }) == dcb::status::unavailable);
    const auto thrown = open([]() -> sqlite3 * { throw changed_mind(); });
    CHECK(thrown == dcb::status::unavailable);
    CHECK(thrown.message.find("changed his mind") != std::string::npos);
    CHECK(open([]() -> sqlite3 * { throw 1; }) == dcb::status::unavailable);
    CHECK(open([]() -> sqlite3 * { throw std::bad_alloc(); }) == dcb::status::no_memory);
    CHECK(open([]() -> sqlite3 * { throw dcb::error(dcb::status::busy, "soon"); },
               {true, 20ms, 8}) == dcb::status::busy);
    CHECK(open([]() -> sqlite3 * { throw dcb::error(dcb::status::io, "no disk", SQLITE_IOERR); }) ==
          dcb::status::io);
    CHECK_THROWS_AS(dcb::sqlite3_store(std::function<sqlite3 *()>()), std::invalid_argument);
    CHECK_FAILS(invalid_argument, dcb::sqlite3_store(static_cast<sqlite3 *>(nullptr)));
    const std::string path = unit::fresh_path();
    const auto any = [&] { return unit::open_sqlite3(path); };
    CHECK(open(any, {true, 1s, 0}) == dcb::status::invalid_argument);
    CHECK(open(any, {false, 1s, 8}) == dcb::status::unsupported_format); // there is no store

    // One that fails later fails the call, and the next call opens another.
    int opened = 0;
    dcb::sqlite3_store store([&] {
        if (++opened == 2) {
            throw changed_mind();
        }
        return unit::open_sqlite3(path);
    });
    store.in_transaction([&](dcb::sqlite3_transaction &) {
        CHECK_FAILS(unavailable, store.head());
        CHECK(store.head() == 0);
    });
    CHECK(opened == 3);

    // One that returns a connection twice is found out before both use it.
    sqlite3 *const same = unit::open_sqlite3(path);
    dcb::sqlite3_store twice([&] { return same; });
    twice.in_transaction(
        [&](dcb::sqlite3_transaction &) { CHECK_FAILS(invalid_argument, twice.head()); });
    CHECK(twice.head() == 0);
}

TEST_CASE("connections are limited") {
    shop s({true, 50ms, 2});
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; ++i) {
        threads.emplace_back([&] {
            for (int n = 0; n < 10; ++n) {
                s.store.append(ordered, std::vector<dcb::append_condition>{},
                               {dcb::forever, nullptr});
                static_cast<void>(s.store.read_all(dcb::query::all(), {}, {dcb::forever, nullptr}));
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK(s.opened <= 2);
    CHECK(s.store.count() == 60);
    // The only one is taken.
    dcb::sqlite3_options one{true, 50ms, 1};
    dcb::sqlite3_store narrow([&] { return unit::open_sqlite3(s.path); }, one);
    std::thread reader;
    narrow.in_transaction([&](dcb::sqlite3_transaction &) {
        reader = std::thread([&] { CHECK_FAILS(busy, narrow.head()); });
        reader.join();
        CHECK_FAILS(invalid_argument, narrow.head()); // it would wait for itself
    });
    CHECK(narrow.head() == 60);
}

TEST_CASE("a transaction and appends do not wait for themselves") {
    shop s;
    s.store.in_transaction([&](dcb::sqlite3_transaction &tx) {
        CHECK_FAILS(invalid_argument, s.store.append(ordered));
        CHECK_FAILS(invalid_argument, s.store.in_transaction([](dcb::sqlite3_transaction &) {}));
        CHECK(tx.append(ordered).position() == 1);
        CHECK(s.store.head() == 0); // a read needs another connection, and does not see it
        // Another thread waits.
        std::thread([&] {
            CHECK_FAILS(busy, s.store.append(ordered, unordered, {5ms, nullptr}));
            CHECK_FAILS(busy,
                        s.store.in_transaction([](dcb::sqlite3_transaction &) {}, {5ms, nullptr}));
            const dcb::cancel stop;
            std::thread canceller([&] {
                std::this_thread::sleep_for(20ms);
                stop.trigger();
            });
            CHECK_FAILS(cancelled, s.store.append(ordered, unordered, {dcb::forever, &stop}));
            canceller.join();
            CHECK_FAILS(cancelled, s.store.in_transaction([](dcb::sqlite3_transaction &) {},
                                                          {dcb::forever, &stop}));
        }).join();
    });
    CHECK(s.store.append(ordered) == 2);
}

TEST_CASE("a transaction that ends by itself is an error") {
    shop s;
    CHECK_FAILS(invalid_argument, s.store.in_transaction([](dcb::sqlite3_transaction &tx) {
        tx.append(ordered);
        tx.run("ROLLBACK");
    }));
    CHECK(s.store.append(ordered) == 1);
}

TEST_CASE("a busy transaction is run again") {
    shop s;
    int runs = 0;
    s.store.in_transaction([&](dcb::sqlite3_transaction &tx) {
        tx.append(ordered);
        tx.run("INSERT INTO orders VALUES (1)");
        if (++runs < 3) {
            throw dcb::error(dcb::status::busy, "somebody else has it");
        }
    });
    CHECK(runs == 3);
    CHECK(s.orders() == 1);
    CHECK(s.store.head() == 1);
    CHECK_FAILS(busy, s.store.in_transaction(
                          [&](dcb::sqlite3_transaction &) {
                              throw dcb::error(dcb::status::busy, "somebody else has it");
                          },
                          {5ms, nullptr}));

    // Another program has the write lock for a while.
    const own_connection writer(s.path);
    dcb::sqlite3_store store(
        [&] {
            sqlite3 *const quick = unit::open_sqlite3(s.path);
            sqlite3_busy_timeout(quick, 0);
            return quick;
        },
        {true, 5s, 1});
    writer.run("BEGIN IMMEDIATE");
    CHECK_FAILS(busy, store.in_transaction([](dcb::sqlite3_transaction &) {}, {5ms, nullptr}));
    const dcb::cancel stop;
    stop.trigger();
    CHECK_FAILS(cancelled, store.in_transaction([](dcb::sqlite3_transaction &) {}, {1h, &stop}));
    std::thread other([&] {
        std::this_thread::sleep_for(20ms);
        writer.run("COMMIT");
    });
    store.in_transaction([](dcb::sqlite3_transaction &tx) { tx.append(ordered); });
    other.join();
    CHECK(store.head() == 2);
}

TEST_CASE("threads append and run transactions at once") {
    shop s;
    constexpr int rounds = 30;
    std::atomic<int> made{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < rounds; ++i) {
                const std::string id = std::to_string(t * rounds + i + 1);
                const dcb::event e("Ordered", {dcb::tag("order", id)});
                if (t % 2 == 0) {
                    s.store.append(e);
                    continue;
                }
                try {
                    s.store.in_transaction([&](dcb::sqlite3_transaction &tx) {
                        tx.append(e);
                        tx.run("INSERT INTO orders VALUES (" + id + ")");
                        if (i % 3 == 0) {
                            throw changed_mind();
                        }
                    });
                    ++made;
                } catch (const changed_mind &) {
                    continue;
                }
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK(made == 3 * rounds * 2 / 3);
    CHECK(s.orders() == made);
    CHECK(s.store.count() == 3 * rounds + made);
    CHECK(s.store.head() == s.store.count()); // no gap
}

TEST_CASE("a transaction has its turn beside many appends") {
    shop s;
    std::atomic<bool> is_over{false};
    std::vector<std::thread> appenders;
    for (int t = 0; t < 6; ++t) {
        appenders.emplace_back([&] {
            while (!is_over) {
                s.store.append(ordered);
            }
        });
    }
    for (int i = 1; i <= 20; ++i) {
        s.store.in_transaction(
            [&](dcb::sqlite3_transaction &tx) {
                tx.run("INSERT INTO orders VALUES (" + std::to_string(i) + ")");
            },
            {1min, nullptr});
    }
    is_over = true;
    for (std::thread &thread : appenders) {
        thread.join();
    }
    CHECK(s.orders() == 20);
}

TEST_CASE("a subscription follows transactions") {
    shop s;
    std::thread writer([&] {
        for (int i = 0; i < 3; ++i) {
            s.store.in_transaction([](dcb::sqlite3_transaction &tx) { tx.append(ordered); });
        }
    });
    int seen = 0;
    for (const dcb::event_view &e : s.store.subscribe(dcb::query::all(), 0, {1min, nullptr})) {
        CHECK(e.position() == ++seen);
        if (seen == 3) {
            break;
        }
    }
    writer.join();
    CHECK(seen == 3);
}

TEST_CASE("a decision with rows") {
    shop s;
    const dcb::projection<int> orders{dcb::of_type("Ordered"), 0,
                                      [](int n, const dcb::event_view &) { return n + 1; }};
    const auto next = [](int known) {
        return dcb::decided<int>{{ordered, dcb::event("Shipped")}, known + 1};
    };
    int calls = 0;
    const auto rows = [&](dcb::sqlite3_transaction &tx, const dcb::decision<> &made) {
        ++calls;
        CHECK(made.last == made.first + 1);
        tx.run("INSERT INTO orders VALUES (" + std::to_string(made.first) + ")");
    };
    for (const bool repeated : {false, true}) {
        const auto made = dcb::decide_within(s.store, orders, next, rows, dcb::request_id("r1"));
        CHECK(made.repeated == repeated);
        CHECK(made.value == 1);
        CHECK(made.first == 1);
        CHECK(made.last == 2);
    }
    CHECK(calls == 1);
    CHECK(s.orders() == 1);

    // A conflict decides again, and only the rows of the last attempt are stored.
    int decisions = 0;
    const auto late = [&](int known) -> std::vector<dcb::event> {
        if (++decisions == 1) {
            s.store.append(ordered);
        }
        CHECK(known == decisions);
        return {ordered, ordered};
    };
    const auto made = dcb::decide_within(s.store, orders, late, rows);
    CHECK(made.attempts == 2);
    CHECK(made.first == 4);
    CHECK(s.orders() == 2);

    // Rows that are refused refuse the decision.
    CHECK_THROWS_AS(dcb::decide_within(s.store, orders, next,
                                       [](dcb::sqlite3_transaction &, const dcb::decision<> &) {
                                           throw changed_mind();
                                       }),
                    changed_mind);
    CHECK(s.store.head() == 5);
    const auto nothing = [](int) { return std::vector<dcb::event>{}; };
    calls = 0;
    CHECK(dcb::decide_within(s.store, orders, nothing, rows).last == 0);
    CHECK(calls == 0);
    std::function<void(dcb::sqlite3_transaction &, const dcb::decision<> &)> missing;
    CHECK_THROWS_WITH_AS(dcb::decide_within(s.store, orders, nothing, missing), "rows is not set",
                         std::invalid_argument);
    std::function<void(dcb::sqlite3_transaction &)> no_run;
    CHECK_THROWS_WITH_AS(s.store.in_transaction(no_run), "run is not set", std::invalid_argument);
}

TEST_CASE("decisions with rows that race") {
    shop s;
    const dcb::projection<int> orders{dcb::of_type("Ordered"), 0,
                                      [](int n, const dcb::event_view &) { return n + 1; }};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 10; ++i) {
                dcb::decide_within(
                    s.store, orders,
                    [](int known) {
                        return dcb::decided<int>{{ordered}, known + 1};
                    },
                    [](dcb::sqlite3_transaction &tx, const dcb::decision<> &made) {
                        tx.run("INSERT INTO orders VALUES (" + std::to_string(made.last) + ")");
                    },
                    {}, {0, 100us, 1ms, dcb::forever});
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK(s.store.head() == 40);
    CHECK(s.own.number("SELECT count(*) FROM orders WHERE id <= 40") == 40);
}

TEST_CASE("errors of SQLite have the status that a store reports") {
    const own_connection own(":memory:");
    dcb::check_sqlite3(own.get(), SQLITE_ROW);
    dcb::check_sqlite3(own.get(), SQLITE_DONE);
    own.run("CREATE TABLE a (b UNIQUE); INSERT INTO a VALUES (1)");
    try {
        own.run("INSERT INTO a VALUES (1)");
        FAIL_CHECK("it is unique");
    } catch (const dcb::error &e) {
        CHECK(e.status() == dcb::status::invalid_argument);
        CHECK(e.detail() == SQLITE_CONSTRAINT_UNIQUE);
        CHECK(std::string(e.what()) == "UNIQUE constraint failed: a.b");
    }
    const auto of = [](int code) {
        return unit::outcome_of([&] { dcb::check_sqlite3(nullptr, code); }).status;
    };
    CHECK(of(SQLITE_BUSY_SNAPSHOT) == dcb::status::busy);
    CHECK(of(SQLITE_LOCKED) == dcb::status::busy);
    CHECK(of(SQLITE_INTERRUPT) == dcb::status::cancelled);
    CHECK(of(SQLITE_READONLY) == dcb::status::read_only);
    CHECK(of(SQLITE_FULL) == dcb::status::full);
    CHECK(of(SQLITE_IOERR_FSYNC) == dcb::status::io);
    CHECK(of(SQLITE_IOERR_NOMEM) == dcb::status::no_memory);
    CHECK(of(SQLITE_CANTOPEN) == dcb::status::io);
    CHECK(of(SQLITE_NOMEM) == dcb::status::no_memory);
    CHECK(of(SQLITE_CORRUPT) == dcb::status::corrupt);
    CHECK(of(SQLITE_NOTADB) == dcb::status::unsupported_format);
    CHECK(of(SQLITE_MISUSE) == dcb::status::invalid_argument);
}

TEST_SUITE_END();

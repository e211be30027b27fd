// Rows and events in one transaction, on a database that the program has opened with its own
// SQLite.
//
// The program has a table of bookings. Each booking is a row and an event, and both are stored or
// neither is. A client that had no answer sends its request again, and gets the first answer.

#include <dcb/json.hpp>
#include <dcb/sqlite3.hpp>

#include <sqlite3.h>

#include <cstdint>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

constexpr int seats = 2;

/// Opens a connection as the program needs it.
sqlite3 *open(const std::string &path) {
    sqlite3 *connection = nullptr;
    if (sqlite3_open(path.c_str(), &connection) != SQLITE_OK) {
        sqlite3_close(connection);
        throw std::runtime_error("cannot open " + path);
    }
    sqlite3_busy_timeout(connection, 5000);
    sqlite3_exec(connection, "PRAGMA journal_mode = WAL", nullptr, nullptr, nullptr);
    return connection;
}

/// Writes the row of a booking, in the transaction of its event.
void insert(const dcb::sqlite3_transaction &tx, std::int64_t position, const std::string &guest) {
    sqlite3_stmt *statement = nullptr;
    dcb::check_sqlite3(tx.connection(),
                       sqlite3_prepare_v2(tx.connection(), "INSERT INTO bookings VALUES (?, ?)", -1,
                                          &statement, nullptr));
    sqlite3_bind_int64(statement, 1, position);
    sqlite3_bind_text(statement, 2, guest.c_str(), -1, SQLITE_TRANSIENT);
    sqlite3_step(statement);
    dcb::check_sqlite3(tx.connection(), sqlite3_finalize(statement));
}

/// Books a seat and returns its number.
int book(dcb::sqlite3_store &store, const std::string &guest, const std::string &request) {
    const dcb::projection<int> taken{dcb::of_type("SeatBooked").tagged("show:1"), 0,
                                     [](int n, const dcb::event_view &) { return n + 1; }};
    const auto decide = [&](int known) {
        if (known == seats) {
            throw std::runtime_error("the show is sold out");
        }
        return dcb::decided<int>{
            {dcb::json_event("SeatBooked", {"show:1"}, nlohmann::json{{"guest", guest}})},
            known + 1};
    };
    const auto rows = [&](const dcb::sqlite3_transaction &tx, const dcb::decision<> &made) {
        insert(tx, made.last, guest);
    };
    const auto made = dcb::decide_within(store, taken, decide, rows, dcb::request_id(request));
    std::cout << guest << " has seat " << *made.value << (made.repeated ? ", as before" : "")
              << '\n';
    return *made.value;
}

} // namespace

int main(int argc, char **argv) try {
    const std::string_view uri = argc > 1 ? argv[1] : "memory:";
    const bool in_memory = uri == "memory:";
    const std::string path = in_memory ? ":memory:" : std::string(uri.substr(uri.find(':') + 1));
    dcb::sqlite3_options options;
    options.max_connections = in_memory ? 1 : 4; // a database in memory has a single connection
    dcb::sqlite3_store store([&] { return open(path); }, options);
    store.in_transaction([](dcb::sqlite3_transaction &tx) {
        tx.run("CREATE TABLE bookings (position INTEGER PRIMARY KEY, guest TEXT)");
    });

    book(store, "ada", "ada, request 1");
    book(store, "ada", "ada, request 1"); // the answer was lost
    book(store, "grace", "grace, request 1");
    try {
        book(store, "alan", "alan, request 1");
    } catch (const std::runtime_error &refusal) {
        std::cout << "alan: " << refusal.what() << '\n';
    }
    // A row that is refused refuses the event as well.
    try {
        store.in_transaction([](dcb::sqlite3_transaction &tx) {
            const auto appended = tx.append(dcb::event("SeatBooked", {"show:1"}));
            insert(tx, appended.position(), "alan");
            tx.run("INSERT INTO bookings VALUES (1, 'somebody else')"); // that one is taken
        });
    } catch (const dcb::error &refusal) {
        std::cout << refusal.what() << '\n';
    }
    std::cout << store.count() << " events\n";
    store.in_transaction([](dcb::sqlite3_transaction &tx) {
        const auto print = [](void *, int, char **values, char **) {
            std::cout << "row " << values[0] << ": " << values[1] << '\n';
            return 0;
        };
        sqlite3_exec(tx.connection(), "SELECT * FROM bookings", print, nullptr, nullptr);
    });
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}

// The program of the unit tests.
//
// usage: cpp-unit memory|sqlite|host [OPTION OF DOCTEST]...
//
// With `host`, the stores are on connections of the program's own SQLite.

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "temporary_folder.hpp"
#include "unit.hpp"

#ifdef DCB_TEST_SQLITE3
#include <dcb/sqlite3.hpp>
#endif

#include <atomic>
#include <iostream>

namespace {

std::string_view kind;
const temporary_folder *folder = nullptr;

} // namespace

namespace unit {

std::string fresh_path() {
    static std::atomic<int> number{0};
    return (folder->path() / (std::to_string(++number) + ".db")).string();
}

std::string fresh_uri() {
    return persists() ? "sqlite:" + fresh_path() : "memory:";
}

dcb::store fresh_store() {
#ifdef DCB_TEST_SQLITE3
    if (kind == "host") {
        return dcb::sqlite3_store([path = fresh_path()] { return open_sqlite3(path); });
    }
#endif
    return dcb::store(fresh_uri());
}

bool persists() {
    return kind != "memory";
}

#ifdef DCB_TEST_SQLITE3
sqlite3 *open_sqlite3(const std::string &path) {
    sqlite3 *opened = nullptr;
    dcb::check_sqlite3(nullptr, sqlite3_open(path.c_str(), &opened));
    sqlite3_busy_timeout(opened, 5000);
    dcb::check_sqlite3(
        opened, sqlite3_exec(opened, "PRAGMA journal_mode = wal", nullptr, nullptr, nullptr));
    return opened;
}
#endif

} // namespace unit

int main(int argc, char **argv) {
    kind = argc >= 2 ? argv[1] : "";
    if (kind != "memory" && kind != "sqlite" && kind != "host") {
        std::cerr << "usage: " << argv[0] << " memory|sqlite|host [OPTION OF DOCTEST]...\n";
        return 2;
    }
    const temporary_folder here;
    folder = &here;
    doctest::Context context(argc, argv);
    // Stores on the program's connections make no backups.
    context.addFilter("test-suite-exclude", kind == "host" ? "backup" : "host");
    return context.run();
}

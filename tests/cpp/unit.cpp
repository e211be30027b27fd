// The program of the unit tests.
//
// usage: cpp-unit memory|sqlite [OPTION OF DOCTEST]...

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "temporary_folder.hpp"
#include "unit.hpp"

#include <atomic>
#include <iostream>

namespace {

bool on_sqlite = false;
const temporary_folder *folder = nullptr;

} // namespace

namespace unit {

std::string fresh_uri() {
    static std::atomic<int> number{0};
    if (!on_sqlite) {
        return "memory:";
    }
    return "sqlite:" + (folder->path() / (std::to_string(++number) + ".db")).string();
}

dcb::store fresh_store() {
    return dcb::store(fresh_uri());
}

bool persists() {
    return on_sqlite;
}

} // namespace unit

int main(int argc, char **argv) {
    const std::string_view kind = argc >= 2 ? argv[1] : "";
    if (kind != "memory" && kind != "sqlite") {
        std::cerr << "usage: " << argv[0] << " memory|sqlite [OPTION OF DOCTEST]...\n";
        return 2;
    }
    on_sqlite = kind == "sqlite";
    const temporary_folder here;
    folder = &here;
    return doctest::Context(argc, argv).run();
}

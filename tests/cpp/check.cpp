// usage: cpp-unit memory|sqlite

#include "check.hpp"
#include "temporary_folder.hpp"

#include <atomic>
#include <exception>
#include <mutex>
#include <string_view>

namespace {

std::mutex failing;
int failures = 0;
bool on_sqlite = false;
const temporary_folder *folder = nullptr;

} // namespace

namespace check {

std::vector<test> &tests() {
    static std::vector<test> all;
    return all;
}

void fail(const char *file, int line, const std::string &what) {
    const std::lock_guard<std::mutex> lock(failing);
    ++failures;
    std::cout << file << ':' << line << ": " << what << std::endl;
}

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

} // namespace check

int main(int argc, char **argv) {
    const std::string_view kind = argc == 2 ? argv[1] : "";
    if (kind != "memory" && kind != "sqlite") {
        std::cerr << "usage: " << argv[0] << " memory|sqlite\n";
        return 2;
    }
    on_sqlite = kind == "sqlite";
    const temporary_folder here;
    folder = &here;

    int failed = 0;
    for (const check::test &test : check::tests()) {
        const int before = failures;
        try {
            test.run();
        } catch (const std::exception &e) {
            check::fail(test.name, 0, std::string("ended by an exception: ") + e.what());
        }
        if (failures != before) {
            ++failed;
            std::cout << "FAILED " << test.name << std::endl;
        }
    }
    std::cout << check::tests().size() - static_cast<std::size_t>(failed) << " of "
              << check::tests().size() << " tests passed\n";
    return failed == 0 && !check::tests().empty() ? 0 : 1;
}

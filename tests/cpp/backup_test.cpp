// Copying a store that is in use.

#include "temporary_folder.hpp"
#include "unit.hpp"

#include <dcb/store.hpp>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

std::string in(const temporary_folder &folder) {
    return (folder.path() / "copy.db").string();
}

dcb::store filled() {
    dcb::store store("sqlite::memory:");
    store.append(std::vector<dcb::event>(300, dcb::event("A", {"k:x"}, R"({"n": 1})")));
    return store;
}

} // namespace

TEST_SUITE_BEGIN("backup");

TEST_CASE("a copy is a store of its own") {
    const temporary_folder folder;
    const dcb::store store = filled();
    std::int64_t done = 0;
    std::int64_t total = 0;
    const std::int64_t copied =
        store.backup(in(folder), [&](std::int64_t done_pages, std::int64_t total_pages) {
            CHECK(done_pages > done);
            done = done_pages;
            total = total_pages;
        });
    CHECK(copied == 300);
    CHECK(done > 0);
    CHECK(done == total);
    {
        dcb::store copy("sqlite:" + in(folder));
        CHECK(copy.read_all(dcb::tagged("k:x")).events.size() == 300u);
        CHECK(copy.append(dcb::event("B")) == 301);
    }
    CHECK(store.head() == 300);
    CHECK_FAILS(invalid_argument, store.backup(in(folder)));
    CHECK(dcb::store("sqlite:" + in(folder)).head() == 301);
}

TEST_CASE("what the progress function throws ends the backup") {
    const temporary_folder folder;
    const dcb::store store = filled();
    const auto give_up = [](auto, auto) { throw std::runtime_error("no more"); };
    CHECK_THROWS_WITH_AS(store.backup(in(folder), give_up), "no more", std::runtime_error);
    CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("a backup is cancelled or out of time and leaves nothing") {
    const temporary_folder folder;
    const dcb::store store = filled();
    const dcb::cancel cancel;
    dcb::call_options options;
    options.cancel = &cancel;
    int steps = 0;
    CHECK_FAILS(cancelled, store.backup(
                               in(folder),
                               [&](auto, auto) {
                                   ++steps;
                                   cancel.trigger();
                               },
                               options));
    CHECK(steps == 1);
    dcb::call_options at_once;
    at_once.timeout = 0ms;
    CHECK_FAILS(timeout, store.backup(in(folder), {}, at_once));
    CHECK_FAILS(invalid_argument, store.backup(std::string_view("a\0b", 3)));
    CHECK_FAILS(io, store.backup((folder.path() / "none" / "copy.db").string()));
    CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("copies are whole appends while threads append") {
    if (!unit::persists()) {
        return;
    }
    const temporary_folder folder;
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("A"), dcb::event("B")});
    std::atomic<bool> ended{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
            while (!ended) {
                store.append({dcb::event("A"), dcb::event("B")});
            }
        });
    }
    std::vector<std::int64_t> heads;
    for (int i = 0; i < 3; ++i) {
        heads.push_back(store.backup((folder.path() / std::to_string(i)).string()));
    }
    ended = true;
    for (std::thread &thread : threads) {
        thread.join();
    }
    for (int i = 0; i < 3; ++i) {
        const dcb::store copy("sqlite:" + (folder.path() / std::to_string(i)).string());
        CHECK(copy.head() == heads[static_cast<std::size_t>(i)]);
        CHECK(copy.head() % 2 == 0);
    }
}

TEST_CASE("a memory store has no file to copy") {
    const temporary_folder folder;
    CHECK_FAILS(invalid_argument, dcb::store("memory:").backup(in(folder)));
}

TEST_SUITE_END();

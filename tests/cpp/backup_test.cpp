// Copying a store that is in use.

#include "check.hpp"
#include "temporary_folder.hpp"

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

TEST(a_copy_is_a_store_of_its_own) {
    const temporary_folder folder;
    const dcb::store store = filled();
    std::int64_t done = 0;
    std::int64_t total = 0;
    CHECK_EQUAL(store.backup(in(folder),
                             [&](std::int64_t done_pages, std::int64_t total_pages) {
                                 CHECK(done_pages > done);
                                 done = done_pages;
                                 total = total_pages;
                             }),
                300);
    CHECK(done > 0 && done == total);
    {
        dcb::store copy("sqlite:" + in(folder));
        CHECK_EQUAL(copy.read_all(dcb::tagged("k:x")).events.size(), 300u);
        CHECK_EQUAL(copy.append(dcb::event("B")), 301);
    }
    CHECK_EQUAL(store.head(), 300);
    CHECK_THROWS(invalid_argument, store.backup(in(folder)));
    CHECK_EQUAL(dcb::store("sqlite:" + in(folder)).head(), 301);
}

TEST(what_the_progress_function_throws_ends_the_backup) {
    const temporary_folder folder;
    const dcb::store store = filled();
    try {
        store.backup(in(folder), [](auto, auto) { throw std::runtime_error("no more"); });
        CHECK(false && "it throws");
    } catch (const std::runtime_error &e) {
        CHECK_EQUAL(std::string(e.what()), "no more");
    }
    CHECK(std::filesystem::is_empty(folder.path()));
}

TEST(a_backup_is_cancelled_or_out_of_time_and_leaves_nothing) {
    const temporary_folder folder;
    const dcb::store store = filled();
    const dcb::cancel cancel;
    dcb::call_options options;
    options.cancel = &cancel;
    int steps = 0;
    CHECK_THROWS(cancelled, store.backup(
                                in(folder),
                                [&](auto, auto) {
                                    ++steps;
                                    cancel.trigger();
                                },
                                options));
    CHECK_EQUAL(steps, 1);
    dcb::call_options at_once;
    at_once.timeout = 0ms;
    CHECK_THROWS(timeout, store.backup(in(folder), {}, at_once));
    CHECK_THROWS(invalid_argument, store.backup(std::string_view("a\0b", 3)));
    CHECK_THROWS(io, store.backup((folder.path() / "none" / "copy.db").string()));
    CHECK(std::filesystem::is_empty(folder.path()));
}

TEST(copies_are_whole_appends_while_threads_append) {
    if (!check::persists()) {
        return;
    }
    const temporary_folder folder;
    dcb::store store = check::fresh_store();
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
        CHECK_EQUAL(copy.head(), heads[static_cast<std::size_t>(i)]);
        CHECK_EQUAL(copy.head() % 2, 0);
    }
}

TEST(a_memory_store_has_no_file_to_copy) {
    const temporary_folder folder;
    CHECK_THROWS(invalid_argument, dcb::store("memory:").backup(in(folder)));
}

/// \file
/// The connections that a program lends to a store, and the functions of its dcb_host. Not for
/// direct use.

#ifndef DCB_DETAIL_SQLITE3_HOST_HPP
#define DCB_DETAIL_SQLITE3_HOST_HPP

#include <dcb/detail/gate.hpp>
#include <dcb/detail/sqlite3_connection.hpp>
#include <dcb/detail/store_host.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

namespace dcb::detail {

/// The connections of a store: those that a function opens, or one that the program keeps.
class sqlite3_host final : public store_host {
  public:
    /// Opens as many connections as are needed, and closes them.
    sqlite3_host(std::function<sqlite3 *()> open, std::size_t max)
        : open_(std::move(open)), max_(max) {}

    /// Lends the program's own connection, which it keeps open.
    explicit sqlite3_host(sqlite3 *borrowed) : max_(1), borrowed_(borrowed) {
        add(borrowed);
        opened_ = 1;
    }

    ~sqlite3_host() override {
        for (auto &each : idle_) {
            close(std::move(each));
        }
    }

    /// Returns a connection that is in no transaction. Waits for one that is free until the
    /// deadline, and then throws `busy`.
    [[nodiscard]] std::unique_ptr<sqlite3_statements> take(const call_deadline &deadline) {
        auto taken = take_any(deadline);
        const char *const problem = problem_of(taken->connection());
        if (problem != nullptr) {
            give_back(std::move(taken), false);
            throw error(status::invalid_argument, problem, SQLITE_MISUSE);
        }
        return taken;
    }

    /// Takes back a connection. If it is `spoiled`, nobody uses it again.
    void give_back(std::unique_ptr<sqlite3_statements> taken, bool spoiled) noexcept {
        taken->end_all();
        const bool is_borrowed = taken->connection() == borrowed_;
        if (spoiled && is_borrowed) {
            taken->finalize();
        }
        const std::lock_guard lock(mutex_);
        if (spoiled && !is_borrowed) {
            known_.erase(std::find(known_.begin(), known_.end(), taken->connection()));
            close(std::move(taken));
            --opened_;
        } else {
            is_spoiled_ = is_spoiled_ || spoiled;
            idle_.push_back(std::move(taken)); // there is room, since it was here before
        }
        freed_.notify_one();
    }

    [[nodiscard]] gate &turns() noexcept { return gate_; }

    call_options enter_append(dcb_store *store, const call_options &options,
                              std::chrono::milliseconds default_timeout) override {
        const call_deadline deadline(store, options, default_timeout);
        gate_.enter(false, deadline);
        return deadline.rest();
    }

    void leave_append() noexcept override { gate_.leave(false); }

    /// Returns the functions that the library calls. The host must outlive the store.
    [[nodiscard]] dcb_host functions() noexcept {
        dcb_host host{};
        host.size = sizeof host;
        host.context = this;
        host.acquire = [](void *context, std::int64_t timeout_ms, void **connection,
                          dcb_reply *reply) noexcept -> std::int32_t {
            return contain(reply, [&]() -> std::int32_t {
                auto &self = *static_cast<sqlite3_host *>(context);
                if (self.max_ == 1 && self.gate_.is_inside()) {
                    return refuse(reply, SQLITE_MISUSE,
                                  "the store has no connection but that of the transaction which "
                                  "this thread has open");
                }
                const call_options limit{std::chrono::milliseconds(timeout_ms), nullptr};
                *connection = self.take(call_deadline(nullptr, limit, forever)).release();
                return 0;
            });
        };
        host.run = [](void *connection, dcb_str sql, const dcb_value *values, std::size_t length,
                      dcb_reply *reply) noexcept -> std::int32_t {
            return contain(reply, [&] {
                return statements_of(connection)
                    .run(std::string_view(sql.data, sql.len), values, length, reply);
            });
        };
        host.query = [](void *connection, dcb_str sql, const dcb_value *values, std::size_t length,
                        dcb_reply *reply) noexcept -> std::int32_t {
            return contain(reply, [&] {
                return statements_of(connection)
                    .query(std::string_view(sql.data, sql.len), values, length, reply);
            });
        };
        host.more = [](void *connection, dcb_reply *reply) noexcept -> std::int32_t {
            return contain(reply, [&] { return statements_of(connection).more(reply); });
        };
        host.finish = [](void *connection) noexcept { statements_of(connection).end(); };
        host.release = [](void *connection, std::int32_t spoiled) noexcept {
            std::unique_ptr<sqlite3_statements> taken(&statements_of(connection));
            // The library does not say which host, and the connection does.
            sqlite3_host &self = *taken->owner();
            self.give_back(std::move(taken), spoiled != 0);
        };
        return host;
    }

  private:
    static sqlite3_statements &statements_of(void *connection) noexcept {
        return *static_cast<sqlite3_statements *>(connection);
    }

    std::unique_ptr<sqlite3_statements> take_any(const call_deadline &deadline) {
        {
            std::unique_lock lock(mutex_);
            while (idle_.empty() && opened_ >= max_) {
                if (deadline.is_over()) {
                    throw error(status::busy, "timed out waiting for a free connection");
                }
                freed_.wait_until(lock, deadline.next_look(std::chrono::seconds(1)));
            }
            if (is_spoiled_) {
                throw error(status::unavailable, "the connection could not be left as it was "
                                                 "found: open the store on another one");
            }
            if (!idle_.empty()) {
                auto taken = std::move(idle_.back());
                idle_.pop_back();
                return taken;
            }
            ++opened_; // the place of the one that is opened now
        }
        sqlite3 *opened = nullptr;
        try {
            opened = open_();
            if (opened == nullptr) {
                throw error(status::unavailable, "the function has opened no connection");
            }
            const std::lock_guard lock(mutex_);
            add(opened);
            auto taken = std::move(idle_.back());
            idle_.pop_back();
            return taken;
        } catch (...) {
            const std::lock_guard lock(mutex_);
            --opened_;
            freed_.notify_one();
            throw;
        }
    }

    /// Adds a connection to those that are idle.
    void add(sqlite3 *opened) {
        if (std::find(known_.begin(), known_.end(), opened) != known_.end()) {
            throw error(status::invalid_argument,
                        "the function has returned a connection that the store has already",
                        SQLITE_MISUSE);
        }
        auto added = std::make_unique<sqlite3_statements>(opened, this);
        known_.reserve(known_.size() + 1);
        idle_.reserve(known_.size() + 1); // so that every one can be given back
        known_.push_back(opened);
        idle_.push_back(std::move(added));
    }

    /// Returns what keeps the store from using the connection, or null.
    static const char *problem_of(sqlite3 *connection) noexcept {
        if (sqlite3_get_autocommit(connection) == 0) {
            return "the connection is in a transaction of the program: append by append_within";
        }
        // A statement that runs keeps the snapshot which it began with.
        for (sqlite3_stmt *each = sqlite3_next_stmt(connection, nullptr); each != nullptr;
             each = sqlite3_next_stmt(connection, each)) {
            if (sqlite3_stmt_busy(each) != 0) {
                return "a statement of the program is running on the connection: reset it";
            }
        }
        return nullptr;
    }

    /// Closes a connection, unless it is the program's.
    void close(std::unique_ptr<sqlite3_statements> each) noexcept {
        sqlite3 *const connection = each->connection();
        each.reset();
        if (connection != borrowed_) {
            sqlite3_close_v2(connection);
        }
    }

    std::function<sqlite3 *()> open_;
    const std::size_t max_;
    gate gate_;

    std::mutex mutex_;
    std::condition_variable freed_;
    std::vector<std::unique_ptr<sqlite3_statements>> idle_;
    std::vector<sqlite3 *> known_;
    std::size_t opened_ = 0; // with those that are being opened
    sqlite3 *borrowed_ = nullptr;
    bool is_spoiled_ = false; // the one that is borrowed
};

/// The turn of a transaction of the program, and the connection that it uses. What is left open on
/// the connection at the end is rolled back.
class sqlite3_turn {
  public:
    sqlite3_turn(sqlite3_host &from, const call_deadline &deadline) : from_(from) {
        from.turns().enter(true, deadline);
        try {
            taken_ = from.take(deadline);
        } catch (...) {
            from.turns().leave(true);
            throw;
        }
    }
    sqlite3_turn(const sqlite3_turn &) = delete;
    sqlite3_turn &operator=(const sqlite3_turn &) = delete;
    ~sqlite3_turn() {
        sqlite3 *const connection = taken_->connection();
        // What the program has left running would keep the next user of it from a snapshot.
        for (sqlite3_stmt *each = sqlite3_next_stmt(connection, nullptr); each != nullptr;
             each = sqlite3_next_stmt(connection, each)) {
            if (sqlite3_stmt_busy(each) != 0) {
                sqlite3_reset(each);
            }
        }
        if (sqlite3_get_autocommit(connection) == 0) {
            sqlite3_exec(connection, "ROLLBACK", nullptr, nullptr, nullptr);
        }
        const bool is_spoiled = sqlite3_get_autocommit(connection) == 0;
        from_.give_back(std::move(taken_), is_spoiled);
        from_.turns().leave(true);
    }

    [[nodiscard]] sqlite3_statements &statements() const noexcept { return *taken_; }

  private:
    sqlite3_host &from_;
    std::unique_ptr<sqlite3_statements> taken_;
};

} // namespace dcb::detail

#endif // DCB_DETAIL_SQLITE3_HOST_HPP

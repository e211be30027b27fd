/// \file
/// A store on the SQLite connections of the program. `dcb.hpp` does not include this header.
///
/// The program includes `sqlite3.h` and links a SQLite of its own, 3.35 or newer. The events are in
/// the same database as its tables, and can be appended in the same transaction as its rows.
///
/// \code
///     dcb::sqlite3_store store([] { return open_connection("shop.db"); });
///     store.in_transaction([&](dcb::sqlite3_transaction &tx) {
///         if (!tx.append(dcb::event("Ordered", {"order:1"})).is_repeated())
///             tx.run("INSERT INTO orders VALUES (1)");
///     });
/// \endcode

#ifndef DCB_SQLITE3_HPP
#define DCB_SQLITE3_HPP

#include <dcb/decider.hpp>
#include <dcb/detail/decide_with_rows.hpp>
#include <dcb/detail/sqlite3_host.hpp>
#include <dcb/store.hpp>
#include <dcb_host.h>

#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace dcb {

/// Options for opening a store on the program's own connections.
struct sqlite3_options {
    /// Whether the store is created if the database has none.
    bool create = true;

    /// How long a call waits for a lock, or for a connection, if its call_options do not say. Less
    /// than zero means without a limit.
    std::chrono::milliseconds busy_timeout{5000};

    /// How many connections the store opens at most. So many calls run at a time, and others wait.
    std::size_t max_connections = 8;

    /// Whether the store keeps the timestamps that events are appended with, as
    /// open_options::import says.
    bool import = false;
};

/// Throws dcb::error if `code`, which a function of SQLite returned for the connection, is neither
/// SQLITE_OK nor SQLITE_ROW nor SQLITE_DONE. The error has SQLite's message, its extended code as
/// `detail()`, and the status that a store reports for it.
void check_sqlite3(sqlite3 *connection, int code);

class sqlite3_store;

/// A transaction on the program's own database, made by sqlite3_store::in_transaction. It holds the
/// write lock. Use it in the thread that has it.
class sqlite3_transaction {
  public:
    sqlite3_transaction(const sqlite3_transaction &) = delete;
    sqlite3_transaction &operator=(const sqlite3_transaction &) = delete;

    /// The connection, for the program's own statements. Do not end the transaction, close the
    /// connection or use it later.
    [[nodiscard]] sqlite3 *connection() const noexcept { return statements_->connection(); }

    /// Runs SQL of one or more statements that return no rows. Throws dcb::error if one fails.
    void run(const std::string &sql) {
        check_sqlite3(connection(),
                      sqlite3_exec(connection(), sql.c_str(), nullptr, nullptr, nullptr));
    }

    /// Appends in the transaction; see sqlite3_store::append_within. Throws dcb::condition_failed
    /// if a condition fails.
    append_result append(event_list events, const std::vector<append_condition> &conditions = {},
                         const call_options &options = {});
    /// Appends in the transaction under one condition.
    append_result append(event_list events, const append_condition &condition,
                         const call_options &options = {}) {
        return append(events, std::vector<append_condition>{condition}, options);
    }

    /// Appends in the transaction as append() does, but returns a failed condition instead of
    /// throwing it.
    [[nodiscard]] append_result try_append(event_list events,
                                           const std::vector<append_condition> &conditions = {},
                                           const call_options &options = {});

  private:
    friend class sqlite3_store;
    sqlite3_transaction(sqlite3_store &store, detail::sqlite3_statements &statements) noexcept
        : store_(&store), statements_(&statements) {}

    sqlite3_store *store_;
    detail::sqlite3_statements *statements_;
};

/// A store in a SQLite database that the program has opened with its own SQLite. It is a dcb::store
/// in all that it does, and promises the same, if every connection to the file runs at
/// `PRAGMA synchronous` NORMAL or above; the comment of dcb_open_host in `dcb_host.h` says more.
///
/// A busy handler of its connections is replaced by a busy timeout of zero while the store writes,
/// and then by the timeout that it found: set one with sqlite3_busy_timeout(). The SQLite that the
/// program links must not be compiled or configured as single-threaded.
class sqlite3_store : public store {
  public:
    /// Opens the store on connections that `open` opens: each of them to the same database, in no
    /// transaction, and with `sqlite3_busy_timeout` and `PRAGMA synchronous` as they are to stay.
    /// The store closes them. Any thread that calls the store may call `open`, several at once. If
    /// it throws, the call on the store fails with `unavailable`, and with the exception's message.
    ///
    /// A database in memory needs a shared cache, or a `max_connections` of 1.
    explicit sqlite3_store(std::function<sqlite3 *()> open, const sqlite3_options &options = {})
        : sqlite3_store(host_of(std::move(open), options), options) {}

    /// Opens the store on one connection of the program's, which stays the program's and must stay
    /// open until the store is closed. Only one thread at a time may use the connection or the
    /// store. While the program has a transaction or a running statement on the connection, the
    /// calls of dcb::store on it fail with `invalid_argument`; append_within appends in the
    /// transaction.
    explicit sqlite3_store(sqlite3 *connection, const sqlite3_options &options = {})
        : sqlite3_store(host_of(connection), options) {}

    /// Appends in a transaction that the program has open on any connection to the same database.
    /// The events are stored when the program commits, and are as durable as that commit. Later
    /// appends in the transaction see them. Throws dcb::condition_failed if a condition fails.
    ///
    /// If the result is_repeated(), the events were stored by an earlier transaction, together with
    /// the statements that the program ran beside them: do not run those again. So append first.
    ///
    /// From here until the transaction ends, other writers wait. An append to the store by this
    /// thread would wait for itself. On `busy`, roll the transaction back and run all of it again,
    /// and after `io`, roll it back. After any other error the append is undone and the transaction
    /// may continue. in_transaction() does all of this.
    append_result append_within(sqlite3 *connection, event_list events,
                                const std::vector<append_condition> &conditions = {},
                                const call_options &options = {}) {
        return append_on(connection, events, conditions, options, false);
    }
    /// Appends in a transaction of the program under one condition.
    append_result append_within(sqlite3 *connection, event_list events,
                                const append_condition &condition,
                                const call_options &options = {}) {
        return append_on(connection, events, {&condition, 1}, options, false);
    }

    /// Appends in a transaction as append_within() does, but returns a failed condition instead of
    /// throwing it.
    [[nodiscard]] append_result
    try_append_within(sqlite3 *connection, event_list events,
                      const std::vector<append_condition> &conditions = {},
                      const call_options &options = {}) {
        return append_on(connection, events, conditions, options, true);
    }

    /// Calls `run` with a sqlite3_transaction, and commits. If `run` throws, everything is rolled
    /// back and the exception passed on. `run` must not end the transaction itself.
    ///
    /// The transaction queues with the appends to this store and the other calls of in_transaction,
    /// in the order in which they come, and has the write lock from its beginning. Keep it short,
    /// since all others wait for it. In it, this thread cannot append to the store but by the
    /// sqlite3_transaction, and reads of the store need another connection and do not see it.
    ///
    /// If the database is busy, or `run` throws a dcb::error that says so, everything is rolled
    /// back and done again until the timeout of the call is over. So `run` may be called several
    /// times. A failed condition is passed on at once: nobody else can append during the
    /// transaction, so the same would fail again. decide_within() decides again.
    ///
    /// Once it returns, the transaction is as durable as a commit on its connection. If the commit
    /// fails with `io`, the outcome is unknown; after any other error, nothing was stored.
    template <class Run> void in_transaction(const Run &run, const call_options &options = {}) {
        detail::check_function(run, "run");
        const std::shared_ptr<detail::store_host> keep = host();
        auto &from = lender();
        const detail::call_deadline deadline(get(), options, busy_timeout());
        for (;;) {
            try {
                run_once(from, run, deadline);
                return;
            } catch (const error &e) {
                if (e.status() != status::busy || deadline.is_over()) {
                    throw;
                }
            }
            deadline.check_cancel();
            std::this_thread::sleep_for(pause);
        }
    }

  private:
    friend class sqlite3_transaction;

    /// How long to wait before a lock is tried again.
    static constexpr std::chrono::milliseconds pause{1};

    sqlite3_store(std::shared_ptr<detail::sqlite3_host> host, const sqlite3_options &options)
        : store(open_native(*host, options), host, options.busy_timeout) {}

    static std::shared_ptr<detail::sqlite3_host> host_of(std::function<sqlite3 *()> open,
                                                         const sqlite3_options &options) {
        detail::check_function(open, "open");
        if (options.max_connections < 1) {
            detail::invalid("max_connections", "must be at least 1");
        }
        check_threads();
        return std::make_shared<detail::sqlite3_host>(std::move(open), options.max_connections);
    }

    static std::shared_ptr<detail::sqlite3_host> host_of(sqlite3 *connection) {
        if (connection == nullptr) {
            detail::invalid("connection", "must not be null");
        }
        check_threads();
        return std::make_shared<detail::sqlite3_host>(connection);
    }

    static void check_threads() {
        if (sqlite3_threadsafe() == 0) {
            detail::invalid("sqlite3", "was compiled as single-threaded");
        }
    }

    static dcb_store *open_native(detail::sqlite3_host &host, const sqlite3_options &options) {
        std::string json = R"({"create":)";
        json += options.create ? "true" : "false";
        json += R"(,"import":)";
        json += options.import ? "true" : "false";
        json += R"(,"busy_timeout_ms":)" + std::to_string(options.busy_timeout.count()) + '}';
        const dcb_host functions = host.functions();
        dcb_store *handle = nullptr;
        dcb_error failure;
        detail::check(dcb_open_host(&functions, json.c_str(), &handle, &failure), failure);
        return handle;
    }

    [[nodiscard]] detail::sqlite3_host &lender() const {
        if (!host()) {
            throw error(status::closed, "the store is closed");
        }
        return static_cast<detail::sqlite3_host &>(*host());
    }

    append_result append_on(sqlite3 *connection, const event_list &events,
                            detail::slice<append_condition> conditions, const call_options &options,
                            bool is_try) {
        if (connection == nullptr) {
            detail::invalid("connection", "must not be null");
        }
        if (sqlite3_get_autocommit(connection) != 0) {
            detail::invalid("connection", "is in no transaction: begin one first");
        }
        detail::sqlite3_statements statements(connection, nullptr);
        return append_on(statements, events, conditions, options, is_try);
    }

    append_result append_on(detail::sqlite3_statements &statements, const event_list &events,
                            detail::slice<append_condition> conditions, const call_options &options,
                            bool is_try) {
        static_cast<void>(lender()); // the store is open
        const detail::native_call call(options, busy_timeout());
        const auto native = [&](std::string_view request, std::int64_t &last, dcb_error &failure) {
            return dcb_append_within(get(), &statements, request.data(), request.size(), call.get(),
                                     &last, &failure);
        };
        return detail::appender::append(events, conditions, is_try, native);
    }

    template <class Run>
    void run_once(detail::sqlite3_host &from, const Run &run,
                  const detail::call_deadline &deadline) {
        const detail::sqlite3_turn own(from, deadline);
        sqlite3 *const connection = own.statements().connection();
        const auto step = [&](const char *sql) {
            const int code = sqlite3_exec(connection, sql, nullptr, nullptr, nullptr);
            check_sqlite3(connection, code);
        };
        for (bool has_begun = false; !has_begun;) {
            try {
                step("BEGIN IMMEDIATE");
                has_begun = true;
            } catch (const error &e) {
                if (e.status() != status::busy || deadline.is_over()) {
                    throw;
                }
                deadline.check_cancel();
                std::this_thread::sleep_for(pause);
            }
        }
        sqlite3_transaction transaction(*this, own.statements());
        run(transaction);
        if (sqlite3_get_autocommit(connection) != 0) {
            throw error(status::invalid_argument,
                        "in_transaction: the transaction has ended before the function returned");
        }
        step("COMMIT");
    }
};

inline append_result sqlite3_transaction::append(event_list events,
                                                 const std::vector<append_condition> &conditions,
                                                 const call_options &options) {
    return store_->append_on(*statements_, events, conditions, options, false);
}

inline append_result
sqlite3_transaction::try_append(event_list events, const std::vector<append_condition> &conditions,
                                const call_options &options) {
    return store_->append_on(*statements_, events, conditions, options, true);
}

inline void check_sqlite3(sqlite3 *connection, int code) {
    if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE) {
        return;
    }
    const int extended = connection != nullptr ? sqlite3_extended_errcode(connection) : code;
    // The connection may have run something since.
    const bool is_same = (extended & 0xff) == (code & 0xff);
    throw error(detail::status_of(is_same ? extended : code),
                is_same && connection != nullptr ? sqlite3_errmsg(connection)
                                                 : sqlite3_errstr(code),
                is_same ? extended : code);
}

namespace detail {

/// Makes a decision with the program's rows, in a transaction of the store.
template <class Value, class State, class Decide, class Rows, class Request>
decision<Value> decide_in_transaction(sqlite3_store &in, const projection<State> &on,
                                      const Decide &decide, const Rows &rows, Request request,
                                      const call_options &options, const retry_policy &retry) {
    return decide_with_rows<Value>(in, on, decide, rows, request, options, retry,
                                   [&](const auto &run) { in.in_transaction(run, options); });
}

} // namespace detail

/// Makes a decision as dcb::decide does, in one transaction with statements of the program: the
/// events are appended and `rows(transaction, decision)` is called in one in_transaction, and both
/// or neither are stored.
///
/// `rows` is called after the append, with a sqlite3_transaction and a decision<> that has the
/// positions of the events and the number of attempts so far. If it throws, everything is rolled
/// back and the exception passed on. It is not called if the decision has no events, or is
/// repeated: then the first one has called it. The decision itself reads before the transaction
/// begins, which is as safe, because the append is conditional on it. If the append conflicts, all
/// of it is done again: so `rows` may be called several times, and the statements of one call only
/// are stored.
template <class State, class Decide, class Rows>
auto decide_within(sqlite3_store &in, const projection<State> &on, const Decide &decide,
                   const Rows &rows, const call_options &options = {},
                   const retry_policy &retry = {}) {
    using result = std::decay_t<std::invoke_result_t<const Decide &, const State &>>;
    return detail::decide_in_transaction<typename detail::value_of<result>::type>(
        in, on, decide, rows, nullptr, options, retry);
}

/// Makes the decision of a request with the program's rows, or returns what it was if it has been
/// made; see dcb::request_id.
template <class State, class Decide, class Rows>
auto decide_within(sqlite3_store &in, const projection<State> &on, const Decide &decide,
                   const Rows &rows, const request_id &request, const call_options &options = {},
                   const retry_policy &retry = {}) {
    using result = std::decay_t<std::invoke_result_t<const Decide &, const State &>>;
    return detail::decide_in_transaction<typename detail::value_of<result>::type>(
        in, on, decide, rows, &request, options, retry);
}

} // namespace dcb

#endif // DCB_SQLITE3_HPP

/// \file
/// A store in PostgreSQL that appends in transactions of the program's own, on connections of
/// libpq. `dcb.hpp` does not include this header.
///
/// The program includes `libpq-fe.h` and links libpq. The events are in the same database as its
/// tables, and can be appended in the same transaction as its rows.
///
/// \code
///     dcb::libpq_store store("postgres:///shop?host=/var/run/postgresql&user=ada");
///     store.in_transaction(connection, [&](dcb::libpq_transaction &tx) {
///         if (!tx.append(dcb::event("Ordered", {"order:1"})).is_repeated())
///             tx.run("INSERT INTO orders VALUES (1)");
///     });
/// \endcode

#ifndef DCB_LIBPQ_HPP
#define DCB_LIBPQ_HPP

#include <dcb/decider.hpp>
#include <dcb/detail/decide_with_rows.hpp>
#include <dcb/detail/gate.hpp>
#include <dcb/detail/libpq_call.hpp>
#include <dcb/store.hpp>
#include <dcb_host.h>

#include <libpq-fe.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace dcb {

/// Throws dcb::error if `result`, which a function of libpq returned for the connection, is that of
/// a statement that failed. The error has the server's message, the SQLSTATE as `detail()`, five
/// digits of base 36, and a status: `busy` if running the transaction again may help, `unavailable`
/// if the connection is gone, and otherwise `internal`.
void check_libpq(PGconn *connection, const PGresult *result);

class libpq_store;

namespace detail {

struct libpq_rows;

} // namespace detail

/// A transaction on a connection of the program's, made by libpq_store::in_transaction. It has the
/// lock that all appends take. Use it in the thread that has it.
class libpq_transaction {
  public:
    libpq_transaction(const libpq_transaction &) = delete;
    libpq_transaction &operator=(const libpq_transaction &) = delete;

    /// The connection, for the program's own statements. Do not end the transaction.
    [[nodiscard]] PGconn *connection() const noexcept { return connection_; }

    /// Runs SQL of one or more statements, whose rows are thrown away. Throws dcb::error if one
    /// fails.
    void run(const std::string &sql) {
        const detail::libpq_result result(PQexec(connection_, sql.c_str()));
        check_libpq(connection_, result.get());
    }

    /// Appends in the transaction; see libpq_store::append_within. Throws dcb::condition_failed if
    /// a condition fails.
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
    friend class libpq_store;
    libpq_transaction(libpq_store &store, PGconn *connection) noexcept
        : store_(&store), connection_(connection) {}

    libpq_store *store_;
    PGconn *connection_;
};

/// A store in PostgreSQL that also appends in transactions on the program's connections of libpq,
/// to the same database. In all else it is a dcb::store, with connections of its own. A connection
/// is the program's; only one thread at a time may use it.
class libpq_store : public store {
  public:
    /// Opens the store that the URI names, `postgres://...`, and creates it if there is none.
    explicit libpq_store(const std::string &uri, const open_options &options = {})
        : store(checked(uri), options), busy_timeout_(options.busy_timeout) {}

    /// Appends in a transaction that the program has begun on the connection, at the isolation
    /// level READ COMMITTED; the client_encoding of the connection is UTF8. The events are stored
    /// when the program commits, and nobody sees them before. Later appends in the transaction see
    /// them. Throws dcb::condition_failed if a condition fails.
    ///
    /// If the result is_repeated(), the events were stored by an earlier transaction, together with
    /// the statements that the program ran beside them: do not run those again. So append first.
    ///
    /// From here until the transaction ends, other appends wait, and one of this thread outside of
    /// the transaction would wait for itself. After a failed condition, `duplicate_id`, or a
    /// request that is refused before it is sent, the transaction can go on. After any other error
    /// the server has ended it: roll it back, and on `busy` run all of it again. in_transaction()
    /// does so.
    ///
    /// The call waits for the lock as long as its timeout says. A cancel is looked at before and
    /// after, since libpq waits for the server's answer.
    append_result append_within(PGconn *connection, event_list events,
                                const std::vector<append_condition> &conditions = {},
                                const call_options &options = {}) {
        return append_on(connection, events, conditions, options, false);
    }
    /// Appends in a transaction of the program under one condition.
    append_result append_within(PGconn *connection, event_list events,
                                const append_condition &condition,
                                const call_options &options = {}) {
        return append_on(connection, events, {&condition, 1}, options, false);
    }

    /// Appends in a transaction as append_within() does, but returns a failed condition instead of
    /// throwing it.
    [[nodiscard]] append_result
    try_append_within(PGconn *connection, event_list events,
                      const std::vector<append_condition> &conditions = {},
                      const call_options &options = {}) {
        return append_on(connection, events, conditions, options, true);
    }

    /// Appends the events of an append request, a JSON document, in a transaction as
    /// append_within() does.
    append_result append_json_within(PGconn *connection, std::string_view request,
                                     const call_options &options = {}) {
        return append_document_on(connection, request, options, false);
    }

    /// Appends the events of an append request, a JSON document, in a transaction, and returns a
    /// failed condition instead of throwing it.
    [[nodiscard]] append_result try_append_json_within(PGconn *connection, std::string_view request,
                                                       const call_options &options = {}) {
        return append_document_on(connection, request, options, true);
    }

    /// Begins a transaction on the connection, which is in none, calls `run` with a
    /// libpq_transaction, and commits. If `run` throws, everything is rolled back and the exception
    /// passed on. `run` must not end the transaction itself.
    ///
    /// The transaction has the lock of the appends from its beginning, so nobody else can append
    /// while it runs: what `run` reads and decides still holds when it appends. Keep it short,
    /// since all others wait for it.
    ///
    /// If the lock is not to be had in time, if the server ends the transaction in favour of
    /// another one, or if `run` throws a dcb::error that says `busy`, everything is rolled back and
    /// done again until the timeout of the call is over. So `run` may be called several times. A
    /// failed condition is passed on at once: the same would fail again. decide_within() decides
    /// again.
    ///
    /// If the commit fails with `unavailable`, the outcome is unknown; after any other error,
    /// nothing was stored.
    template <class Run>
    void in_transaction(PGconn *connection, const Run &run, const call_options &options = {}) {
        detail::check_function(run, "run");
        transact(connection, true, run, options);
    }

  private:
    friend class libpq_transaction;
    friend struct detail::libpq_rows;

    /// How long to wait before a transaction that was busy is begun again.
    static constexpr std::chrono::milliseconds pause{1};

    static const std::string &checked(const std::string &uri) {
        if (uri.rfind("postgres:", 0) != 0 && uri.rfind("postgresql:", 0) != 0) {
            detail::invalid("uri", "must start with postgres:// or postgresql://");
        }
        return uri;
    }

    [[nodiscard]] dcb_store *native() const {
        if (get() == nullptr) {
            throw error(status::closed, "the store is closed");
        }
        return get();
    }

    static void check_connection(PGconn *connection, PGTransactionStatusType wanted,
                                 const char *otherwise) {
        if (connection == nullptr) {
            detail::invalid("connection", "must not be null");
        }
        if (PQstatus(connection) != CONNECTION_OK) {
            throw error(status::unavailable, PQerrorMessage(connection));
        }
        const PGTransactionStatusType is = PQtransactionStatus(connection);
        // Of a transaction that has failed, the server says so itself.
        const bool has_failed = wanted == PQTRANS_INTRANS && is == PQTRANS_INERROR;
        if (is != wanted && !has_failed) {
            detail::invalid("connection", otherwise);
        }
    }

    dcb_status call(PGconn *connection, std::string_view request, const call_options &options,
                    std::int64_t &last, dcb_error &failure) {
        detail::libpq_call call{connection, nullptr};
        const dcb_postgres_transaction transaction = {sizeof transaction, &call,
                                                      detail::libpq_call::query};
        const detail::native_call within(options, busy_timeout_);
        return dcb_append_within_postgres(native(), &transaction, request.data(), request.size(),
                                          within.get(), &last, &failure);
    }

    append_result append_on(PGconn *connection, const event_list &events,
                            detail::slice<append_condition> conditions, const call_options &options,
                            bool is_try) {
        check_connection(connection, PQTRANS_INTRANS, "is in no transaction: begin one first");
        return detail::appender::append(
            events, conditions, is_try,
            [&](std::string_view request, std::int64_t &last, dcb_error &failure) {
                return call(connection, request, options, last, failure);
            });
    }

    append_result append_document_on(PGconn *connection, std::string_view document,
                                     const call_options &options, bool is_try) {
        check_connection(connection, PQTRANS_INTRANS, "is in no transaction: begin one first");
        // An empty request asks for the lock alone. This one is invalid, as it is to the store.
        return detail::appender::append_json(
            document.empty() ? " " : document, is_try,
            [&](std::string_view request, std::int64_t &last, dcb_error &failure) {
                return call(connection, request, options, last, failure);
            });
    }

    /// Runs a transaction until it is not busy.
    template <class Run>
    void transact(PGconn *connection, bool is_locked_first, const Run &run,
                  const call_options &options) {
        check_connection(connection, PQTRANS_IDLE, "is in a transaction already");
        const detail::call_deadline deadline(native(), options, busy_timeout_);
        for (;;) {
            try {
                run_once(connection, is_locked_first, run, deadline);
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

    template <class Run>
    void run_once(PGconn *connection, bool is_locked_first, const Run &run,
                  const detail::call_deadline &deadline) {
        libpq_transaction transaction(*this, connection);
        transaction.run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
        try {
            if (is_locked_first) {
                std::int64_t head = 0;
                dcb_error failure;
                detail::check(call(connection, {}, deadline.rest(), head, failure), failure);
            }
            run(transaction);
            if (PQtransactionStatus(connection) == PQTRANS_IDLE) {
                throw error(
                    status::invalid_argument,
                    "in_transaction: the transaction has ended before the function returned");
            }
        } catch (...) {
            const detail::libpq_result result(PQexec(connection, "ROLLBACK"));
            throw;
        }
        const detail::libpq_result committed(PQexec(connection, "COMMIT"));
        check_libpq(connection, committed.get());
        // In a transaction that has failed, COMMIT rolls back and succeeds. A statement that the
        // program has sent and not waited for may fail only now.
        if (std::string_view(PQcmdStatus(committed.get())) != "COMMIT") {
            throw error(status::invalid_argument,
                        "in_transaction: a statement has failed, and the function did not throw "
                        "its error");
        }
    }

    std::chrono::milliseconds busy_timeout_;
};

inline append_result libpq_transaction::append(event_list events,
                                               const std::vector<append_condition> &conditions,
                                               const call_options &options) {
    return store_->append_within(connection_, events, conditions, options);
}

inline append_result libpq_transaction::try_append(event_list events,
                                                   const std::vector<append_condition> &conditions,
                                                   const call_options &options) {
    return store_->try_append_within(connection_, events, conditions, options);
}

inline void check_libpq(PGconn *connection, const PGresult *result) {
    switch (PQresultStatus(result)) {
    case PGRES_BAD_RESPONSE:
    case PGRES_FATAL_ERROR:
        break;
    default:
        return;
    }
    const char *const state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const std::string_view code = state != nullptr ? state : "";
    status is = status::internal;
    if (code == "40001" || code == "40P01" || code == "55P03") {
        is = status::busy;
    } else if (code.empty() || code.substr(0, 2) == "08" || code.substr(0, 3) == "57P") {
        is = status::unavailable;
    }
    throw error(is, result != nullptr ? PQresultErrorMessage(result) : PQerrorMessage(connection),
                detail::sqlstate_of(result));
}

namespace detail {

/// Decisions with the program's rows.
struct libpq_rows {
    template <class Value, class State, class Decide, class Rows, class Request>
    static decision<Value> decide(libpq_store &in, PGconn *connection, const projection<State> &on,
                                  const Decide &decide, const Rows &rows, Request request,
                                  const call_options &options, const retry_policy &retry) {
        // The append takes the lock.
        const auto transact = [&](const auto &run) {
            in.transact(connection, false, run, options);
        };
        return decide_with_rows<Value>(in, on, decide, rows, request, options, retry, transact);
    }
};

} // namespace detail

/// Makes a decision as dcb::decide does, in one transaction with statements of the program on the
/// connection, which is in none: the events are appended and `rows(transaction, decision)` is
/// called in one transaction, and both or neither are stored.
///
/// `rows` is called after the append, with a libpq_transaction and a decision<> that has the
/// positions of the events and the number of attempts so far. If it throws, everything is rolled
/// back and the exception passed on. It is not called if the decision has no events, or is
/// repeated: then the first one has called it. If the append conflicts, all of it is done again: so
/// `rows` may be called several times, and the statements of one call only are stored.
template <class State, class Decide, class Rows>
auto decide_within(libpq_store &in, PGconn *connection, const projection<State> &on,
                   const Decide &decide, const Rows &rows, const call_options &options = {},
                   const retry_policy &retry = {}) {
    using result = std::decay_t<std::invoke_result_t<const Decide &, const State &>>;
    return detail::libpq_rows::decide<typename detail::value_of<result>::type>(
        in, connection, on, decide, rows, nullptr, options, retry);
}

/// Makes the decision of a request with the program's rows, or returns what it was if it has been
/// made; see dcb::request_id.
template <class State, class Decide, class Rows>
auto decide_within(libpq_store &in, PGconn *connection, const projection<State> &on,
                   const Decide &decide, const Rows &rows, const request_id &request,
                   const call_options &options = {}, const retry_policy &retry = {}) {
    using result = std::decay_t<std::invoke_result_t<const Decide &, const State &>>;
    return detail::libpq_rows::decide<typename detail::value_of<result>::type>(
        in, connection, on, decide, rows, &request, options, retry);
}

} // namespace dcb

#endif // DCB_LIBPQ_HPP

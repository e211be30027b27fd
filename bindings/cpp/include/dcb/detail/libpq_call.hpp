/// \file
/// An append on a connection of libpq, as the library calls it back. Not for direct use.

#ifndef DCB_DETAIL_LIBPQ_CALL_HPP
#define DCB_DETAIL_LIBPQ_CALL_HPP

#include <dcb_host.h>

#include <libpq-fe.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <vector>

namespace dcb {
namespace detail {

struct libpq_clear {
    void operator()(PGresult *result) const noexcept { PQclear(result); }
};
using libpq_result = std::unique_ptr<PGresult, libpq_clear>;

/// Returns the SQLSTATE as a number, or 0 if there is none.
inline std::int32_t sqlstate_of(const PGresult *result) noexcept {
    const char *const state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state == nullptr) {
        return 0;
    }
    std::int32_t number = 0;
    for (const char *digit = state; digit != state + 5 && *digit != '\0'; ++digit) {
        number = number * 36 + (*digit <= '9' ? *digit - '0' : *digit - 'A' + 10);
    }
    return number;
}

/// One append in a transaction of the program's, which the library calls back.
struct libpq_call {
    PGconn *connection;
    /// The answer, which the library reads until the append returns.
    libpq_result result;

    static std::int32_t query(void *context, dcb_str sql, const dcb_str *values, std::size_t len,
                              dcb_reply *reply) noexcept {
        auto &call = *static_cast<libpq_call *>(context);
        try {
            std::vector<const char *> texts;
            for (std::size_t i = 0; i < len; ++i) {
                texts.push_back(values[i].data);
            }
            call.result.reset(PQexecParams(call.connection, sql.data, static_cast<int>(len),
                                           nullptr, texts.data(), nullptr, nullptr, 0));
        } catch (const std::exception &e) {
            return fail(e.what(), *reply);
        }
        const PGresult *const result = call.result.get();
        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
            const std::int32_t code = sqlstate_of(result);
            const char *const text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
            fail(text != nullptr ? text : PQerrorMessage(call.connection), *reply);
            return code > 0 ? code : -1;
        }
        if (PQgetisnull(result, 0, 0) == 0) {
            reply->rows.data = PQgetvalue(result, 0, 0);
            reply->rows.len = static_cast<std::size_t>(PQgetlength(result, 0, 0));
        }
        return 0;
    }

  private:
    static std::int32_t fail(const char *message, dcb_reply &reply) noexcept {
        const std::size_t len = std::min(std::strlen(message), sizeof reply.message - 1);
        std::memcpy(reply.message, message, len);
        return -1;
    }
};

} // namespace detail
} // namespace dcb

#endif // DCB_DETAIL_LIBPQ_CALL_HPP

/// \file
/// A connection of the program's own SQLite, as the library uses it. Not for direct use.

#ifndef DCB_DETAIL_SQLITE3_CONNECTION_HPP
#define DCB_DETAIL_SQLITE3_CONNECTION_HPP

#include <dcb/detail/text.hpp>
#include <dcb_host.h>

#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dcb::detail {

/// The code of a host's failure that has none of SQLite's.
inline constexpr std::int32_t no_code = -1;

/// Returns the status that a store reports for a result code of SQLite.
inline status status_of(int code) noexcept {
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return status::busy;
    case SQLITE_INTERRUPT:
        return status::cancelled;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return status::read_only;
    case SQLITE_FULL:
        return status::full;
    case SQLITE_IOERR:
        return code == SQLITE_IOERR_NOMEM ? status::no_memory : status::io;
    case SQLITE_CANTOPEN:
        return status::io;
    case SQLITE_NOMEM:
        return status::no_memory;
    case SQLITE_CORRUPT:
        return status::corrupt;
    case SQLITE_NOTADB:
        return status::unsupported_format;
    default:
        return status::invalid_argument;
    }
}

/// Reports a failure to the library.
inline std::int32_t refuse(dcb_reply *reply, std::int32_t code, std::string_view message) noexcept {
    const std::size_t length = std::min(message.size(), sizeof reply->message - 1);
    std::memcpy(reply->message, message.data(), length);
    reply->message[length] = '\0';
    return code;
}

/// Calls `run`, and reports an exception to the library, through which it must not unwind.
template <class Run> std::int32_t contain(dcb_reply *reply, const Run &run) noexcept {
    try {
        return run();
    } catch (const std::bad_alloc &) {
        return refuse(reply, SQLITE_NOMEM, "no memory");
    } catch (const error &e) {
        const bool is_busy = e.status() == status::busy;
        return refuse(reply,
                      e.detail() > 0 ? e.detail()
                      : is_busy      ? SQLITE_BUSY
                                     : no_code,
                      e.what());
    } catch (const std::exception &e) {
        return refuse(reply, no_code, e.what());
    } catch (...) {
        return refuse(reply, no_code, "an exception of an unknown type");
    }
}

class sqlite3_host;

/// A connection, and the statements of the library that are prepared or running on it. For one
/// thread at a time. It does not close the connection.
class sqlite3_statements {
  public:
    /// The connection is one of `owner`. If that is null, a statement is finalized as soon as it
    /// ends.
    sqlite3_statements(sqlite3 *connection, sqlite3_host *owner) noexcept
        : connection_(connection), owner_(owner) {}
    sqlite3_statements(const sqlite3_statements &) = delete;
    sqlite3_statements &operator=(const sqlite3_statements &) = delete;
    ~sqlite3_statements() { finalize(); }

    [[nodiscard]] sqlite3 *connection() const noexcept { return connection_; }
    [[nodiscard]] sqlite3_host *owner() const noexcept { return owner_; }

    /// Finalizes all statements.
    void finalize() noexcept {
        end_all();
        for (const auto &[sql, statement] : idle_) {
            sqlite3_finalize(statement);
        }
        idle_.clear();
    }

    /// Ends the queries that are running.
    void end_all() noexcept {
        while (!running_.empty()) {
            end();
        }
    }

    std::int32_t run(std::string_view sql, const dcb_value *values, std::size_t length,
                     dcb_reply *reply) {
        sqlite3_stmt *statement = nullptr;
        if (const std::int32_t code = start(statement, sql, values, length, false, reply)) {
            return code;
        }
        int code = sqlite3_step(statement);
        while (code == SQLITE_ROW) {
            code = sqlite3_step(statement);
        }
        const std::int32_t result = code == SQLITE_DONE ? 0 : fail(reply);
        reply->changes = result == 0 ? sqlite3_changes(connection_) : 0;
        give_back(statement);
        return result;
    }

    std::int32_t query(std::string_view sql, const dcb_value *values, std::size_t length,
                       dcb_reply *reply) {
        sqlite3_stmt *statement = nullptr;
        if (const std::int32_t code = start(statement, sql, values, length, true, reply)) {
            return code;
        }
        try {
            running_.push_back({statement, first_chunk});
        } catch (...) {
            give_back(statement);
            throw;
        }
        return more(reply);
    }

    /// Packs the next rows of the newest query. If it fails or throws, the query has ended.
    std::int32_t more(dcb_reply *reply) {
        try {
            return pack_rows(reply);
        } catch (...) {
            end();
            throw;
        }
    }

    /// Ends the newest query.
    void end() noexcept {
        sqlite3_stmt *const statement = running_.back().statement;
        running_.pop_back();
        give_back(statement);
    }

  private:
    /// The rows that are packed at once: few at first, since most queries have no more.
    static constexpr std::size_t first_chunk = 16;
    static constexpr std::size_t max_chunk = 256;
    static constexpr std::size_t chunk_bytes = 256 << 10;
    /// How many statements are kept at the most.
    static constexpr std::size_t max_idle = 128;

    struct running {
        sqlite3_stmt *statement;
        std::size_t chunk;
    };

    std::int32_t fail(dcb_reply *reply) const noexcept {
        const int code = sqlite3_extended_errcode(connection_);
        return refuse(reply, code == SQLITE_OK ? no_code : code, sqlite3_errmsg(connection_));
    }

    /// Prepares a statement, or takes one that is, and binds the values. They are copied if the
    /// statement runs longer than the call.
    std::int32_t start(sqlite3_stmt *&statement, std::string_view sql, const dcb_value *values,
                       std::size_t length, bool copies, dcb_reply *reply) {
        if (const auto found = idle_.find(sql); found != idle_.end()) {
            statement = found->second;
            idle_.erase(found);
        } else if (sqlite3_prepare_v2(connection_, sql.data(), static_cast<int>(sql.size()),
                                      &statement, nullptr) != SQLITE_OK) {
            return fail(reply);
        }
        for (std::size_t i = 0; i < length; ++i) {
            if (bind(statement, static_cast<int>(i + 1), values[i], copies) != SQLITE_OK) {
                const std::int32_t code = fail(reply);
                give_back(statement);
                return code;
            }
        }
        return 0;
    }

    static int bind(sqlite3_stmt *statement, int at, const dcb_value &value, bool copies) noexcept {
        const sqlite3_destructor_type owner =
            copies ? reinterpret_cast<sqlite3_destructor_type>(std::intptr_t{-1}) : nullptr;
        // A pointer that is null would bind NULL.
        const char *const bytes = value.bytes.data != nullptr ? value.bytes.data : "";
        switch (value.kind) {
        case DCB_VALUE_INTEGER:
            return sqlite3_bind_int64(statement, at, value.integer);
        case DCB_VALUE_TEXT:
            return sqlite3_bind_text64(statement, at, bytes, value.bytes.len, owner, SQLITE_UTF8);
        case DCB_VALUE_BLOB:
            return sqlite3_bind_blob64(statement, at, bytes, value.bytes.len, owner);
        default:
            return sqlite3_bind_null(statement, at);
        }
    }

    /// Keeps a statement that has ended, or finalizes it.
    void give_back(sqlite3_stmt *statement) noexcept {
        sqlite3_reset(statement); // it returns the error of the last step, which was reported
        sqlite3_clear_bindings(statement);
        const char *const sql = sqlite3_sql(statement);
        // SQLite runs some pragmas while it prepares them, so they do nothing the second time.
        if (owner_ != nullptr && sql != nullptr && idle_.size() < max_idle &&
            std::string_view(sql).substr(0, 6) != "PRAGMA") {
            try {
                if (idle_.emplace(sql, statement).second) {
                    return;
                }
            } catch (const std::bad_alloc &) {
                // It is finalized instead.
            }
        }
        sqlite3_finalize(statement);
    }

    std::int32_t pack_rows(dcb_reply *reply) {
        packed_.clear();
        running &newest = running_.back();
        for (std::size_t n = 0; n < newest.chunk && packed_.size() < chunk_bytes; ++n) {
            const int code = sqlite3_step(newest.statement);
            if (code != SQLITE_ROW) {
                const std::int32_t result = code == SQLITE_DONE ? 0 : fail(reply);
                end();
                if (result == 0) {
                    reply->rows = {packed_.data(), packed_.size()};
                }
                return result;
            }
            if (!pack_row(newest.statement)) {
                end();
                return refuse(reply, no_code, "the database returned a floating-point number");
            }
        }
        newest.chunk = std::min(newest.chunk * 4, max_chunk);
        reply->rows = {packed_.data(), packed_.size()};
        reply->is_more = 1;
        return 0;
    }

    void pack_number(std::uint64_t number, int bytes) {
        for (int i = 0; i < bytes; ++i) {
            packed_ += static_cast<char>(number >> (8 * i) & 0xFF);
        }
    }

    void pack_bytes(int kind, const void *bytes, int length) {
        packed_ += static_cast<char>(kind);
        pack_number(static_cast<std::uint64_t>(length), 4);
        if (length > 0) {
            packed_.append(static_cast<const char *>(bytes), static_cast<std::size_t>(length));
        }
    }

    /// Packs the current row, and returns whether all its values are of a kind that the library
    /// knows.
    bool pack_row(sqlite3_stmt *statement) {
        const int columns = sqlite3_column_count(statement);
        pack_number(static_cast<std::uint64_t>(columns), 2);
        for (int i = 0; i < columns; ++i) {
            switch (sqlite3_column_type(statement, i)) {
            case SQLITE_NULL:
                packed_ += static_cast<char>(DCB_VALUE_NULL);
                break;
            case SQLITE_INTEGER:
                packed_ += static_cast<char>(DCB_VALUE_INTEGER);
                pack_number(static_cast<std::uint64_t>(sqlite3_column_int64(statement, i)), 8);
                break;
            case SQLITE_TEXT: {
                const unsigned char *const text = sqlite3_column_text(statement, i);
                if (text == nullptr) {
                    throw std::bad_alloc();
                }
                pack_bytes(DCB_VALUE_TEXT, text, sqlite3_column_bytes(statement, i));
                break;
            }
            case SQLITE_BLOB: {
                const void *const blob = sqlite3_column_blob(statement, i);
                pack_bytes(DCB_VALUE_BLOB, blob, sqlite3_column_bytes(statement, i));
                break;
            }
            default:
                return false;
            }
        }
        return true;
    }

    sqlite3 *connection_;
    sqlite3_host *owner_;
    std::map<std::string, sqlite3_stmt *, std::less<>> idle_;
    std::vector<running> running_;
    std::string packed_;
};

} // namespace dcb::detail

#endif // DCB_DETAIL_SQLITE3_CONNECTION_HPP

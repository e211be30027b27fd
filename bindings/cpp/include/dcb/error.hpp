/// \file
/// The statuses of `dcb.h`, and the exceptions that report them.

#ifndef DCB_ERROR_HPP
#define DCB_ERROR_HPP

#include <dcb.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace dcb {

/// The outcome of a call. The numbers are those of `dcb_status`.
///
/// After `io`, `unavailable` and `internal` the outcome of an append is unknown: append the same
/// events with the same ids again. Every other status except `ok` means that nothing was stored.
enum class status : std::int32_t {
    ok = 0,
    condition_failed = 1,    ///< an append condition failed, which is an expected outcome
    duplicate_id = 2,        ///< an event id is already stored, in another append
    invalid_argument = 3,    ///< the request breaks a rule; the message says where
    too_large = 4,           ///< the request exceeds a limit; the message says which
    busy = 5,                ///< a lock could not be acquired before the timeout
    timeout = 6,             ///< no event came before the timeout
    cancelled = 7,           ///< the dcb::cancel of the call was triggered
    read_only = 8,           ///< the store is open read-only, or its file is not writable
    full = 9,                ///< the disk is full
    io = 10,                 ///< the system failed to read or to write
    corrupt = 11,            ///< the file is damaged
    unsupported_format = 12, ///< the file is not a store, or of a newer version
    closed = 13,             ///< the store is closed, or was opened before a fork
    unavailable = 14,        ///< the database of the store cannot be reached
    internal = 15,           ///< a bug in the library
    no_memory = 16,          ///< the system has no memory left
};

/// Returns the name of a status, such as `condition_failed`. It is the same in every language.
inline std::string_view status_name(status code) noexcept {
    return dcb_status_name(static_cast<dcb_status>(code));
}

/// Thrown by every operation that fails. `what()` is a sentence for a person, and says where the
/// request is wrong: `events[2].tags[0]: a tag must not be empty`.
class error : public std::runtime_error {
  public:
    error(dcb::status code, const std::string &message, std::int32_t detail = 0,
          std::int64_t position = 0)
        : std::runtime_error(message), status_(code), detail_(detail), position_(position) {}

    /// The kind of failure. It is never `ok`.
    [[nodiscard]] dcb::status status() const noexcept { return status_; }

    /// The index of the first condition that fails, if the status is `condition_failed`. Otherwise
    /// SQLite's extended result code, the system's `errno` or PostgreSQL's SQLSTATE (its five
    /// characters as digits of base 36), if one is the cause, or 0.
    [[nodiscard]] std::int32_t detail() const noexcept { return detail_; }

    /// The position of the event because of which a condition failed or an id is a duplicate;
    /// otherwise 0.
    [[nodiscard]] std::int64_t position() const noexcept { return position_; }

  private:
    dcb::status status_;
    std::int32_t detail_;
    std::int64_t position_;
};

/// Thrown when an append condition fails. `position()` is the lowest position because of which any
/// of the conditions fails; a read sees the event there. Nothing was stored.
class condition_failed : public error {
  public:
    condition_failed(const std::string &message, std::int64_t position, std::size_t condition = 0)
        : error(dcb::status::condition_failed, message, static_cast<std::int32_t>(condition),
                position) {}

    /// The index of the first condition that fails, in the order in which they were given.
    [[nodiscard]] std::size_t condition() const noexcept {
        return static_cast<std::size_t>(detail());
    }
};

/// Thrown by a dcb::subscription that has seen a position which the store does not have: its head
/// is lower. This happens when the store was restored from an older backup, or replaced. The
/// events at the positions up to `after()` may be other ones now than those that were seen.
///
/// Every call on an open store on a PostgreSQL server throws it once the server lacks the newest
/// event that the store has seen, or has another one there: close the store, and open it again.
class history_rewound : public error {
  public:
    history_rewound(std::int64_t after, std::int64_t head)
        : error(dcb::status::corrupt,
                "the history was rewound: the subscription has seen position " +
                    std::to_string(after) + ", and the head is " + std::to_string(head) +
                    "; read the store again from the start",
                0, head),
          after_(after) {}

    /// What a store reports that has noticed it itself.
    history_rewound(const std::string &message, std::int32_t detail)
        : error(dcb::status::corrupt, message, detail, 0), after_(0) {}

    /// The position that the subscription has seen, and then `position()` is the head of the store.
    /// Both are 0 if the store has noticed it itself.
    [[nodiscard]] std::int64_t after() const noexcept { return after_; }

  private:
    std::int64_t after_;
};

namespace detail {

// The detail of a store on a PostgreSQL server whose history was rewound: DCB03, in base 36.
inline constexpr std::int32_t rewound = 22'409'139;

[[noreturn]] inline void raise(dcb_status code, const dcb_error &failure) {
    const auto status = static_cast<dcb::status>(code);
    if (status == dcb::status::condition_failed) {
        throw condition_failed(failure.message, failure.position,
                               static_cast<std::size_t>(failure.detail));
    }
    if (status == dcb::status::corrupt && failure.detail == rewound) {
        throw history_rewound(failure.message, failure.detail);
    }
    throw error(status, failure.message, failure.detail, failure.position);
}

inline void check(dcb_status code, const dcb_error &failure) {
    if (code != 0) {
        raise(code, failure);
    }
}

} // namespace detail
} // namespace dcb

#endif // DCB_ERROR_HPP

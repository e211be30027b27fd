/// \file
/// What can go wrong: statuses as in `dcb.h`, thrown as exceptions.

#ifndef DCB_ERROR_HPP
#define DCB_ERROR_HPP

#include <dcb.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace dcb {

/// The outcome of a call; the numbers are those of `dcb_status`.
///
/// After `io`, `unavailable` and `internal` the outcome of an append is unknown: append again with
/// the same event ids. Every other status but `ok` means that nothing was stored.
enum class status : std::int32_t {
    ok = 0,
    condition_failed = 1,    ///< an event matches an append condition; an expected outcome
    duplicate_id = 2,        ///< an event id is stored already, with something else
    invalid_argument = 3,    ///< the request breaks a rule; the message names the place
    too_large = 4,           ///< a limit is passed; the message says which
    busy = 5,                ///< a lock was not to be had in time
    timeout = 6,             ///< nothing happened in time
    cancelled = 7,           ///< a dcb::cancel was triggered
    read_only = 8,           ///< the store was opened, or its file can only be, to read
    full = 9,                ///< the disk is full
    io = 10,                 ///< the system refused to read or to write
    corrupt = 11,            ///< the file contradicts itself
    unsupported_format = 12, ///< the file is no store, or a newer library's
    closed = 13,             ///< the store is closed, or belongs to the process before a fork
    unavailable = 14,        ///< what the store is on cannot be reached
    internal = 15,           ///< a bug in the library
    no_memory = 16,          ///< memory was refused
};

/// The status's name as all bindings write it: `condition_failed`.
inline std::string_view status_name(status code) noexcept {
    return dcb_status_name(static_cast<dcb_status>(code));
}

/// Thrown by every operation that fails. `what()` is one sentence for the person who reads it, and
/// names the place: `events[2].tags[0]: a tag must not be empty`.
class error : public std::runtime_error {
  public:
    error(dcb::status code, const std::string &message, std::int32_t detail = 0,
          std::int64_t position = 0)
        : std::runtime_error(message), status_(code), detail_(detail), position_(position) {}

    /// The kind of failure; never `ok`.
    [[nodiscard]] dcb::status status() const noexcept { return status_; }

    /// SQLite's extended result code, or the system's `errno`; else 0.
    [[nodiscard]] std::int32_t detail() const noexcept { return detail_; }

    /// The position that a failed condition or a duplicate id names; else 0.
    [[nodiscard]] std::int64_t position() const noexcept { return position_; }

  private:
    dcb::status status_;
    std::int32_t detail_;
    std::int64_t position_;
};

/// Thrown where an append condition is not met. `position()` is the lowest position that makes any
/// of the append's conditions fail; a read made now sees the event there. Nothing was stored.
class condition_failed : public error {
  public:
    condition_failed(const std::string &message, std::int64_t position)
        : error(dcb::status::condition_failed, message, 0, position) {}
};

/// Thrown by a dcb::subscription that has seen a position which the store does not have: its head
/// is lower. This happens when the store was restored from an older backup, or replaced. The
/// events at the positions up to `after()` may be other ones now than those that were seen.
class history_rewound : public error {
  public:
    history_rewound(std::int64_t after, std::int64_t head)
        : error(dcb::status::corrupt,
                "the history was rewound: the subscription has seen position " +
                    std::to_string(after) + ", and the head is " + std::to_string(head) +
                    "; read the store again from the start",
                0, head),
          after_(after) {}

    /// The position that the subscription has seen. `position()` is the head of the store.
    [[nodiscard]] std::int64_t after() const noexcept { return after_; }

  private:
    std::int64_t after_;
};

namespace detail {

[[noreturn]] inline void raise(dcb_status code, const dcb_error &failure) {
    const auto status = static_cast<dcb::status>(code);
    if (status == dcb::status::condition_failed) {
        throw condition_failed(failure.message, failure.position);
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

/// \file
/// How long a call may wait, and how another thread cancels it.

#ifndef DCB_CALL_HPP
#define DCB_CALL_HPP

#include <dcb/error.hpp>

#include <chrono>
#include <memory>
#include <optional>

namespace dcb {

/// A switch that cancels the calls to which it was passed. Move-only.
///
/// Once triggered it stays triggered, and later calls with it are cancelled at once. Any thread may
/// trigger it, as long as it exists and was not moved from.
///
/// To cancel calls by a `std::stop_token` (C++20):
/// \code
///     dcb::cancel cancel;
///     std::stop_callback link(token, [&] { cancel.trigger(); });
/// \endcode
class cancel {
  public:
    cancel() : handle_(dcb_cancel_new()) {
        if (!handle_) {
            throw error(status::no_memory, "no memory for a cancel");
        }
    }

    /// Cancels the calls that use this switch, within 50 ms, and every later one.
    void trigger() const noexcept { dcb_cancel_trigger(handle_.get()); }

    /// Returns the C handle, which this object owns.
    [[nodiscard]] dcb_cancel *get() const noexcept { return handle_.get(); }

  private:
    struct free {
        void operator()(dcb_cancel *handle) const noexcept { dcb_cancel_free(handle); }
    };
    std::unique_ptr<dcb_cancel, free> handle_;
};

/// A timeout that never expires.
inline constexpr std::chrono::milliseconds forever{-1};

/// How long one call may wait, and what cancels it.
struct call_options {
    /// How long the call may wait for a lock, or store::wait for an event. Zero means not at all,
    /// and less than zero (dcb::forever) without a limit. If it is not set, a lock is waited for as
    /// long as open_options::busy_timeout says, and an event without a limit.
    std::optional<std::chrono::milliseconds> timeout{};

    /// Cancels the call, which then throws status::cancelled. It is borrowed: it must outlive the
    /// call, and a cursor or a subscription to which it was passed.
    const dcb::cancel *cancel = nullptr;
};

namespace detail {

/// A dcb_call, made from call_options.
class native_call {
  public:
    native_call(const call_options &options, std::chrono::milliseconds default_timeout)
        : given_(options.timeout || options.cancel != nullptr) {
        call_.size = sizeof call_;
        call_.timeout_ms = options.timeout.value_or(default_timeout).count();
        if (options.cancel != nullptr) {
            call_.cancel = options.cancel->get();
            if (call_.cancel == nullptr) {
                // The library would take it for no cancel at all.
                throw error(status::invalid_argument, "cancel: was moved from");
            }
        }
    }

    [[nodiscard]] const dcb_call *get() const noexcept { return given_ ? &call_ : nullptr; }

  private:
    dcb_call call_{};
    bool given_;
};

} // namespace detail
} // namespace dcb

#endif // DCB_CALL_HPP

/// \file
/// How long a call may wait, and how another thread ends that.

#ifndef DCB_CALL_HPP
#define DCB_CALL_HPP

#include <dcb/error.hpp>

#include <chrono>
#include <memory>
#include <optional>

namespace dcb {

/// A switch that ends the calls that were given it. Sticky: once triggered, it stays so, and later
/// calls end at once. Any thread may trigger it, at any time before it is destroyed or moved from.
///
/// From a `std::stop_token` (C++20):
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

    /// Ends the calls that hold this switch, within 50 ms, and every later one.
    void trigger() const noexcept { dcb_cancel_trigger(handle_.get()); }

    /// The C handle; it stays this object's.
    [[nodiscard]] dcb_cancel *get() const noexcept { return handle_.get(); }

  private:
    struct free {
        void operator()(dcb_cancel *handle) const noexcept { dcb_cancel_free(handle); }
    };
    std::unique_ptr<dcb_cancel, free> handle_;
};

/// A time-out without end.
inline constexpr std::chrono::milliseconds forever{-1};

/// What a call may be given beside its request.
struct call_options {
    /// How long the call may wait for a lock, or store::wait for an event: below zero
    /// (dcb::forever) without end, zero not at all. Left out: the store's
    /// open_options::busy_timeout for locks, without end for store::wait.
    std::optional<std::chrono::milliseconds> timeout{};

    /// Who may end the call early, with status::cancelled. Borrowed: it has to outlive the call,
    /// and a cursor or a subscription that was given it.
    const dcb::cancel *cancel = nullptr;
};

namespace detail {

/// `call_options` as the C interface takes them.
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

/// \file
/// What a store on a program's own connections calls back. Not for direct use.

#ifndef DCB_DETAIL_STORE_HOST_HPP
#define DCB_DETAIL_STORE_HOST_HPP

#include <dcb/call.hpp>

#include <chrono>

namespace dcb::detail {

/// The host of a store, which orders its appends and the program's transactions.
class store_host {
  public:
    store_host() = default;
    store_host(const store_host &) = delete;
    store_host &operator=(const store_host &) = delete;
    virtual ~store_host() = default;

    /// Waits until an append to `store` may begin, as long as the options allow. Returns the
    /// options with the time that is left.
    virtual call_options enter_append(dcb_store *store, const call_options &options,
                                      std::chrono::milliseconds default_timeout) = 0;

    /// Ends what enter_append began.
    virtual void leave_append() noexcept = 0;
};

/// The turn of one append.
class append_turn {
  public:
    append_turn(store_host *host, dcb_store *store, const call_options &options,
                std::chrono::milliseconds default_timeout)
        : host_(host),
          options_(host != nullptr ? host->enter_append(store, options, default_timeout)
                                   : options) {}
    append_turn(const append_turn &) = delete;
    append_turn &operator=(const append_turn &) = delete;
    ~append_turn() {
        if (host_ != nullptr) {
            host_->leave_append();
        }
    }

    [[nodiscard]] const call_options &options() const noexcept { return options_; }

  private:
    store_host *host_;
    call_options options_;
};

} // namespace dcb::detail

#endif // DCB_DETAIL_STORE_HOST_HPP

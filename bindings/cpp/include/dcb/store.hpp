/// \file
/// Opening a store, appending to it, reading it, and waiting for its events.

#ifndef DCB_STORE_HPP
#define DCB_STORE_HPP

#include <dcb/append.hpp>
#include <dcb/cursor.hpp>
#include <dcb/detail/store_host.hpp>
#include <dcb/detail/turns.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dcb {

/// Options for opening a store.
struct open_options {
    /// Whether appends are refused. The database is not written to, but its WAL and WAL-index are
    /// created if they are missing. This option is an error for a store in memory.
    bool read_only = false;

    /// Whether the caller guarantees that nobody writes to the file while it is open. This implies
    /// `read_only`. It is an error if the file has a journal or a WAL that is not empty, since the
    /// store would not read them.
    bool immutable = false;

    /// Whether the file, or the schema, is created if it does not exist.
    bool create = true;

    /// Whether a store may be created in a database that has other tables.
    bool adopt = false;

    /// Whether the store keeps the timestamps that events are appended with. Without it, an append
    /// with one is refused. It is for copies of other stores.
    bool import = false;

    /// How long a call waits for a lock if its call_options do not say. Less than zero means
    /// without a limit.
    std::chrono::milliseconds busy_timeout{5000};

    /// How many connections the store opens for reading at most, from 1 to 1000. So many reads run
    /// at a time, and others wait for one of them as for a lock; a backup opens one more. Without a
    /// value, 8. This option is an error for a store in memory.
    std::optional<int> max_readers = std::nullopt;

    /// How many bytes of events that were read the store keeps in memory at most, so that what is
    /// read again comes from there; 0 keeps none. Without a value, 64 MiB. This option is an error
    /// for a store in memory.
    std::optional<std::int64_t> cache_bytes = std::nullopt;

    /// The schema of a PostgreSQL database that the store is in. Empty means `dcb`. This option is
    /// an error for other stores.
    std::string schema = {};

    /// How many connections a store in PostgreSQL opens for reading at most, from 1 to 1000; it
    /// opens one more for appends, and one for waits. Without a value, 4. This option is an error
    /// for other stores.
    std::optional<int> pool_size = std::nullopt;

    /// Whether the PostgreSQL server may run with `fsync = off`, for tests only: a crash of its
    /// machine loses events. This option is an error for other stores.
    bool allow_fsync_off = false;
};

/// A text that the library allocated. Move-only.
class buffer {
  public:
    buffer(buffer &&other) noexcept : buf_(std::exchange(other.buf_, dcb_buf{})) {}
    buffer &operator=(buffer &&other) noexcept {
        std::swap(buf_, other.buf_);
        return *this;
    }
    ~buffer() { dcb_buf_free(&buf_); }

    /// Returns the text, which is valid as long as this object.
    [[nodiscard]] std::string_view view() const noexcept { return {buf_.data, buf_.len}; }

  private:
    friend class store;
    buffer() = default;
    dcb_buf buf_{};
};

/// The result of store::read_all.
struct read_result {
    /// The events in the order of the read.
    std::vector<sequenced_event> events;

    /// The position that is safe as the `after` of a condition with the same query; see
    /// cursor::position.
    std::int64_t position;
};

class subscription;

namespace detail {
struct store_number;
struct store_turns;
} // namespace detail

/// An open store: a sequence of events with conditional appends. Move-only.
///
/// Any number of threads may call a store at once. No thread may close, destroy or move it while
/// another one calls it. Every operation throws dcb::error if it fails.
class store {
  public:
    /// Opens the store at `uri`: `memory:`, `sqlite:PATH`, `file:...`, `sqlite::memory:` or
    /// `postgres://...`.
    explicit store(std::string_view uri, const open_options &options = {})
        : handle_(nullptr, closer()), busy_timeout_(options.busy_timeout) {
        if (uri.find('\0') != std::string_view::npos) {
            detail::invalid("uri", "must not contain NUL");
        }
        const auto boolean = [](bool value) { return value ? "true" : "false"; };
        std::string json = R"({"read_only":)";
        json += boolean(options.read_only);
        json += R"(,"immutable":)";
        json += boolean(options.immutable);
        json += R"(,"create":)";
        json += boolean(options.create);
        json += R"(,"adopt":)";
        json += boolean(options.adopt);
        if (options.import) {
            json += R"(,"import":true)";
        }
        json += R"(,"busy_timeout_ms":)" + std::to_string(options.busy_timeout.count());
        if (options.max_readers) {
            json += R"(,"max_readers":)" + std::to_string(*options.max_readers);
        }
        if (options.cache_bytes) {
            json += R"(,"cache_bytes":)" + std::to_string(*options.cache_bytes);
        }
        if (!options.schema.empty()) {
            json += R"(,"schema":)";
            detail::write_string(json, options.schema);
        }
        if (options.pool_size) {
            json += R"(,"pool_size":)" + std::to_string(*options.pool_size);
        }
        if (options.allow_fsync_off) {
            json += R"(,"allow_fsync_off":true)";
        }
        json += "}";

        dcb_error failure;
        dcb_store *handle = nullptr;
        detail::check(dcb_open(std::string(uri).c_str(), json.c_str(), &handle, &failure), failure);
        handle_.reset(handle);
    }

    /// Stores all of the events or none, and returns the position of the last one. When it returns,
    /// the events are durable. Throws dcb::condition_failed if a condition fails.
    ///
    /// If all events have ids and are already stored, in the same order and without a difference,
    /// they are not stored again, and their position is returned. So after `io`, `unavailable` or
    /// `internal`, which leave the outcome unknown, append the same events again. try_append
    /// reports such a repetition.
    std::int64_t append(event_list events, const std::vector<append_condition> &conditions = {},
                        const call_options &options = {}) {
        return append_events(events, conditions, options, false).position();
    }
    /// Appends events under one condition.
    std::int64_t append(event_list events, const append_condition &condition,
                        const call_options &options = {}) {
        return append_events(events, {&condition, 1}, options, false).position();
    }

    /// Appends the events of an append request, a JSON document.
    std::int64_t append_json(std::string_view request, const call_options &options = {}) {
        return append_document(request, options, false).position();
    }

    /// Appends events as append() does, but returns a failed condition instead of throwing it.
    [[nodiscard]] append_result try_append(event_list events,
                                           const std::vector<append_condition> &conditions = {},
                                           const call_options &options = {}) {
        return append_events(events, conditions, options, true);
    }
    /// Appends events under one condition, and returns whether it failed.
    [[nodiscard]] append_result try_append(event_list events, const append_condition &condition,
                                           const call_options &options = {}) {
        return append_events(events, {&condition, 1}, options, true);
    }

    /// Appends the events of an append request, a JSON document, and returns a failed condition
    /// instead of throwing it.
    [[nodiscard]] append_result try_append_json(std::string_view request,
                                                const call_options &options = {}) {
        return append_document(request, options, true);
    }

    /// Returns the matching events as a range, which fetches them while it is iterated over.
    [[nodiscard]] cursor read(const query &q, const read_options &options = {},
                              const call_options &call = {}) const {
        return read_cursor(detail::read_request(q, options), options.batch_size, call);
    }

    /// Returns the events that a read request, a JSON document, asks for as a range.
    [[nodiscard]] cursor read_cursor(std::string_view request,
                                     std::size_t batch_size = read_options{}.batch_size,
                                     const call_options &options = {}) const {
        dcb_error failure;
        dcb_cursor *handle = nullptr;
        const detail::native_call call(options, busy_timeout_);
        detail::check(dcb_cursor_open(native(), request.data(), request.size(), call.get(), &handle,
                                      &failure),
                      failure);
        return {handle, batch_size, options, busy_timeout_};
    }

    /// Returns copies of all matching events.
    [[nodiscard]] read_result read_all(const query &q, const read_options &options = {},
                                       const call_options &call = {}) const {
        cursor events = read(q, options, call);
        read_result result{};
        for (const event_view &e : events) {
            result.events.push_back(static_cast<sequenced_event>(e));
        }
        result.position = events.position();
        return result;
    }

    /// Returns the result of a read request as a JSON document. The request is one, too.
    [[nodiscard]] buffer read_json(std::string_view request,
                                   const call_options &options = {}) const {
        buffer result;
        dcb_error failure;
        const detail::native_call call(options, busy_timeout_);
        detail::check(
            dcb_read(native(), request.data(), request.size(), call.get(), &result.buf_, &failure),
            failure);
        return result;
    }

    /// Returns a copy of the event with this id, or nothing if no event that a read would return
    /// now has it. It is a look-up through the index, however many events there are.
    [[nodiscard]] std::optional<sequenced_event> find(std::string_view id,
                                                      const call_options &options = {}) const {
        dcb_error failure;
        dcb_cursor *handle = nullptr;
        const detail::native_call call(options, busy_timeout_);
        detail::check(dcb_find(native(), id.data(), id.size(), call.get(), &handle, &failure),
                      failure);
        cursor found(handle, 1, options, busy_timeout_);
        const event_batch events = found.next(1, options);
        if (events.empty()) {
            return std::nullopt;
        }
        return static_cast<sequenced_event>(events[0]);
    }

    /// Returns the position of the newest event, or 0 if the store is empty.
    [[nodiscard]] std::int64_t head(const call_options &options = {}) const {
        dcb_error failure;
        std::int64_t head = 0;
        const detail::native_call call(options, busy_timeout_);
        detail::check(dcb_head(native(), call.get(), &head, &failure), failure);
        return head;
    }

    /// Returns the number of events.
    [[nodiscard]] std::int64_t count(const call_options &options = {}) const {
        dcb_error failure;
        std::int64_t count = 0;
        const detail::native_call call(options, busy_timeout_);
        detail::check(dcb_count(native(), call.get(), &count, &failure), failure);
        return count;
    }

    /// Returns a description of the store for a log or a bug report: a JSON object. The comment of
    /// dcb_diagnose in `dcb.h` lists its keys.
    [[nodiscard]] buffer diagnose(const call_options &options = {}) const {
        buffer result;
        dcb_error failure;
        const detail::native_call call(options, busy_timeout_);
        detail::check(dcb_diagnose(native(), call.get(), &result.buf_, &failure), failure);
        return result;
    }

    /// Waits until the head is above `after`, and returns it; returns nothing if the timeout
    /// expires first. `after` must be at least -1, which means the same as 0. Throws `cancelled`
    /// within 50 ms after the dcb::cancel of the call is triggered.
    [[nodiscard]] std::optional<std::int64_t> wait(std::int64_t after,
                                                   const call_options &options = {}) const {
        dcb_error failure;
        std::int64_t head = 0;
        const detail::native_call call(options, forever);
        const dcb_status code = dcb_wait(native(), after, call.get(), &head, &failure);
        if (static_cast<status>(code) == status::timeout) {
            return std::nullopt;
        }
        detail::check(code, failure);
        return head;
    }

    /// A function that backup calls after each step with the number of pages copied so far, and of
    /// all pages.
    using backup_progress = std::function<void(std::int64_t done_pages, std::int64_t total_pages)>;

    /// Copies the store to a new file at `path` while others read and append, and returns the
    /// position of the newest event of the copy. When it returns, the copy is checked and on the
    /// disk. If it throws, no file is left. It never replaces a file that exists.
    ///
    /// `progress` is called in this thread. An exception that it throws ends the backup and is
    /// thrown on. `options.timeout` limits how long the whole backup may take (status::timeout);
    /// by default there is no limit. The comment of dcb_backup says more.
    std::int64_t backup(std::string_view path, const backup_progress &progress = {},
                        const call_options &options = {}) const {
        if (path.find('\0') != std::string_view::npos) {
            detail::invalid("path", "must not contain NUL");
        }
        struct run {
            const backup_progress &progress;
            std::exception_ptr thrown;
            static std::int32_t step(void *context, std::int64_t done,
                                     std::int64_t total) noexcept {
                auto &self = *static_cast<run *>(context);
                try {
                    self.progress(done, total);
                    return 0;
                } catch (...) {
                    self.thrown = std::current_exception();
                    return 1;
                }
            }
        };
        run running{progress, nullptr};
        dcb_error failure;
        std::int64_t head = 0;
        const detail::native_call call(options, forever);
        const dcb_status code =
            dcb_backup(native(), std::string(path).c_str(), call.get(),
                       progress ? &run::step : nullptr, &running, &head, &failure);
        if (running.thrown) {
            std::rethrow_exception(running.thrown);
        }
        detail::check(code, failure);
        return head;
    }

    /// Returns the matching events above `after` as a range that continues with the events which
    /// are appended. `after` is the position of the last event that the caller has seen. Include
    /// `dcb/subscription.hpp` to call this; see dcb::subscription.
    [[nodiscard]] subscription subscribe(query q, std::int64_t after = 0,
                                         const call_options &options = {}) const;

    /// Closes the store, as its destructor does. Every later call on the store, or on one of its
    /// cursors, throws dcb::error with `closed`; so does a call on a store that was moved from.
    void close() noexcept {
        handle_.reset();
        handle_.get_deleter().host.reset();
    }

    /// Returns the C handle, which this object owns; null if the store is closed.
    [[nodiscard]] dcb_store *get() const noexcept { return handle_.get(); }

  protected:
    /// Takes over a store that calls back a host.
    store(dcb_store *handle, std::shared_ptr<detail::store_host> host,
          std::chrono::milliseconds busy_timeout)
        : handle_(handle, closer(std::move(host))), busy_timeout_(busy_timeout) {}

    /// Returns the host, or null if the store has none or is closed.
    [[nodiscard]] const std::shared_ptr<detail::store_host> &host() const noexcept {
        return handle_.get_deleter().host;
    }

    [[nodiscard]] std::chrono::milliseconds busy_timeout() const noexcept { return busy_timeout_; }

  private:
    append_result append_events(const event_list &list, detail::slice<append_condition> conditions,
                                const call_options &options, bool is_try) {
        return detail::appender::append(
            list, conditions, is_try,
            [&](std::string_view request, std::int64_t &last, dcb_error &failure) {
                return append_native(request, options, last, failure);
            });
    }

    append_result append_document(std::string_view request, const call_options &options,
                                  bool is_try) {
        return detail::appender::append_json(
            request, is_try,
            [&](std::string_view document, std::int64_t &last, dcb_error &failure) {
                return append_native(document, options, last, failure);
            });
    }

    [[nodiscard]] dcb_store *native() const {
        if (!handle_) {
            throw error(status::closed, "the store is closed");
        }
        return handle_.get();
    }

    dcb_status append_native(std::string_view request, const call_options &options,
                             std::int64_t &last, dcb_error &failure) {
        dcb_store *const to = native();
        const detail::append_turn turn(host().get(), to, options, busy_timeout_);
        const detail::native_call call(turn.options(), busy_timeout_);
        return dcb_append(to, request.data(), request.size(), call.get(), &last, &failure);
    }

    struct closer {
        /// What the library calls back, up to the end of dcb_close; null if it calls nothing.
        std::shared_ptr<detail::store_host> host;
        explicit closer(std::shared_ptr<detail::store_host> host_ = nullptr) noexcept
            : host(std::move(host_)) {}
        void operator()(dcb_store *handle) const noexcept { dcb_close(handle); }
    };
    friend struct detail::store_number;
    friend struct detail::store_turns;
    static std::uint64_t next_number() noexcept {
        static std::atomic<std::uint64_t> numbers{0};
        return ++numbers;
    }

    std::unique_ptr<dcb_store, closer> handle_;
    /// Which no other store of the process has, or had. It moves with the handle.
    std::uint64_t number_ = next_number();
    /// The decisions that have lost. It moves with the handle, and is null after that.
    std::shared_ptr<detail::turns> turns_ = std::make_shared<detail::turns>();
    std::chrono::milliseconds busy_timeout_;
};

} // namespace dcb

#endif // DCB_STORE_HPP

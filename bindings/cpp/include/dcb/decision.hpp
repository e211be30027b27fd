/// \file
/// What a decision returns, how often it is made again, and the error if that was in vain.

#ifndef DCB_DECISION_HPP
#define DCB_DECISION_HPP

#include <dcb/detail/json_text.hpp>
#include <dcb/event.hpp>

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

namespace dcb {

/// What every decision tells of itself.
struct decision_outcome {
    /// The position of the first event of the decision, or 0 if it has none.
    std::int64_t first = 0;

    /// The position of the last event of the decision, or 0 if it has none.
    std::int64_t last = 0;

    /// How many times the decision was made, or looked up if it is `repeated`.
    int attempts = 0;

    /// Whether the events were stored already, by the request with the same request_id, or by an
    /// append with the same ids: this decision has stored nothing.
    bool repeated = false;
};

/// The outcome of a decision that has a value of its own to return, such as the number of the
/// invoice that it makes. `decision<>` is that of a decision without one.
template <class Value = void> struct decision : decision_outcome {
    /// The value of the decision. It is absent only if the decision is repeated and the request was
    /// first decided without a value.
    std::optional<Value> value{};
};

/// The outcome of a decision without a value.
template <> struct decision<void> : decision_outcome {};

/// What a function that decides returns if the decision has a value of its own.
template <class Value> struct decided {
    /// The events that follow from the decision, or none if there is nothing to do.
    std::vector<event> events;

    /// What the caller of the decision gets.
    Value value;
};

/// How the value of a decision is stored with the first event of a request: as JSON text. Has
/// `static std::string encode(const Value &)` and `static Value decode(std::string_view)`.
///
/// Only decisions with a request_id need it. There is one for bool, integers and std::string.
/// `dcb/json.hpp` adds one for every type that nlohmann/json converts, and programs may specialize
/// it for their own types.
template <class Value, class Enable = void> struct value_codec {
    static_assert(!std::is_same_v<Value, Value>,
                  "the value of a decision needs a dcb::value_codec: include dcb/json.hpp, or "
                  "specialize it");
};

namespace detail {

[[noreturn]] inline void invalid_value(std::string_view text, std::string_view kind) {
    invalid("the value of the request", std::string(text) + " is not " + std::string(kind));
}

/// Whether a type has a value_codec without nlohmann/json.
template <class Value>
inline constexpr bool is_plain_value =
    std::is_integral_v<Value> || std::is_same_v<Value, std::string>;

} // namespace detail

/// Booleans and integers.
template <class Value> struct value_codec<Value, std::enable_if_t<std::is_integral_v<Value>>> {
    [[nodiscard]] static std::string encode(const Value &value) {
        if constexpr (std::is_same_v<Value, bool>) {
            return value ? "true" : "false";
        } else {
            return std::to_string(value);
        }
    }

    [[nodiscard]] static Value decode(std::string_view text) {
        if constexpr (std::is_same_v<Value, bool>) {
            if (text != "true" && text != "false") {
                detail::invalid_value(text, "a boolean");
            }
            return text == "true";
        } else {
            Value value{};
            const char *const end = text.data() + text.size();
            const auto [rest, failure] = std::from_chars(text.data(), end, value);
            if (failure != std::errc() || rest != end) {
                detail::invalid_value(text, "an integer of the decision's type");
            }
            return value;
        }
    }
};

/// Texts, which must be UTF-8.
template <> struct value_codec<std::string> {
    [[nodiscard]] static std::string encode(const std::string &value) {
        if (!detail::is_utf8(value)) {
            detail::invalid("the value of the decision", "must be UTF-8");
        }
        std::string text;
        detail::write_string(text, value);
        return text;
    }

    [[nodiscard]] static std::string decode(std::string_view text) {
        detail::json_scanner scanner(text);
        auto value = scanner.take_string();
        if (!value || !scanner.is_at_end()) {
            detail::invalid_value(text, "a string");
        }
        return *std::move(value);
    }
};

/// How long, how often and how fast a decision is made again after its append condition failed.
///
/// Of the decisions on one dcb::store that have lost to others, the oldest goes next, and those
/// that it affects wait for it, also before their first attempt, but no longer than 250
/// milliseconds in which none of those before them ends. So the first retry begins at once. The
/// wait before each further one, attempt `n` + 1, is random: between zero and `min_delay` * 2^(n -
/// 2), capped at `max_delay`.
struct retry_policy {
    /// The maximum number of attempts, the first one included; 1 means no retry, and 0 means no
    /// limit. A negative number is an error.
    int attempts = 0;

    /// The upper bound of the first random wait.
    std::chrono::microseconds min_delay = std::chrono::milliseconds(1);

    /// The upper bound of every random wait.
    std::chrono::microseconds max_delay = std::chrono::milliseconds(100);

    /// How long after the beginning of the decision another attempt may begin. Less than zero
    /// (dcb::forever) means no limit.
    std::chrono::microseconds timeout = std::chrono::seconds(10);
};

/// Thrown when a decision gave up, because it kept conflicting with others until the retry_policy
/// allowed no further attempt. Nothing was stored. `position()` and `condition()` are those of the
/// last attempt.
class retry_error : public condition_failed {
  public:
    retry_error(std::int64_t position, std::size_t condition, int attempts,
                std::chrono::microseconds elapsed)
        : condition_failed(message(position, attempts, elapsed), position, condition),
          attempts_(attempts), elapsed_(elapsed) {}

    /// How many attempts were made.
    [[nodiscard]] int attempts() const noexcept { return attempts_; }

    /// How long that took, with the waits.
    [[nodiscard]] std::chrono::microseconds elapsed() const noexcept { return elapsed_; }

  private:
    static std::string message(std::int64_t position, int attempts,
                               std::chrono::microseconds elapsed) {
        std::string text = "gave up after " + std::to_string(attempts);
        text += attempts == 1 ? " attempt in " : " attempts in ";
        text += std::to_string(elapsed.count() / 1000) + '.';
        const std::string digits = std::to_string(elapsed.count() % 1000 + 1000);
        return text + digits.substr(1) +
               " ms: the append condition failed: the event at position " +
               std::to_string(position) + " matches";
    }

    int attempts_;
    std::chrono::microseconds elapsed_;
};

} // namespace dcb

#endif // DCB_DECISION_HPP

/// \file
/// Append requests, and errors in the texts that they contain. Not for direct use.

#ifndef DCB_DETAIL_REQUEST_HPP
#define DCB_DETAIL_REQUEST_HPP

#include <dcb/query.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace dcb::detail {

/// A borrowed part of an array.
template <class T> class slice {
  public:
    slice(const T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    slice(const std::vector<T> &all) noexcept : data_(all.data()), size_(all.size()) {}

    [[nodiscard]] const T *begin() const noexcept { return data_; }
    [[nodiscard]] const T *end() const noexcept { return data_ + size_; }

  private:
    const T *data_;
    std::size_t size_;
};

inline constexpr std::string_view request_start = R"({"events":[)";

inline std::string append_request(slice<event> events, slice<append_condition> conditions) {
    std::string out(request_start);
    const char *comma = "";
    for (const event &e : events) {
        out += comma;
        write_event(out, e);
        comma = ",";
    }
    out += R"(],"condition":)";
    write_list(out, conditions, write_condition);
    out += '}';
    return out;
}

/// Removes the number at the end of `text`, and `before` in front of it. Returns the number, or
/// nothing, and leaves `text` as it is, if it does not end like that.
inline std::optional<std::size_t> take_number(std::string_view &text, std::string_view before) {
    const std::size_t at = text.rfind(before);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const char *const begin = text.data() + at + before.size();
    const char *const end = text.data() + text.size();
    std::size_t number = 0;
    const auto [rest, failure] = std::from_chars(begin, end, number);
    if (failure != std::errc() || rest != end) {
        return std::nullopt;
    }
    text.remove_suffix(text.size() - at);
    return number;
}

/// The byte in `text` that is at this line and column, both counted from 1.
inline std::size_t offset_of(std::string_view text, std::size_t line, std::size_t column) {
    std::size_t start = 0;
    for (; line > 1; --line) {
        const std::size_t newline = text.find('\n', start);
        if (newline == std::string_view::npos) {
            return text.size();
        }
        start = newline + 1;
    }
    return start + column - 1;
}

/// The line and column of a byte in `text`, as the library writes them.
inline std::string line_and_column(std::string_view text, std::size_t offset) {
    const std::string_view before = text.substr(0, offset);
    const auto lines = std::count(before.begin(), before.end(), '\n');
    const std::size_t newline = before.rfind('\n');
    const std::size_t start = newline == std::string_view::npos ? 0 : newline + 1;
    return " at line " + std::to_string(lines + 1) + " column " +
           std::to_string(offset - start + 1);
}

/// Translates an error of the library about a place in `request`, which is the append request of
/// `events`. If the place is in the data or metadata of an event, the result names the place in
/// that text: the caller has never seen the request. Every other message is returned as it is.
inline std::string in_callers_text(std::string_view message, std::string_view request,
                                   slice<event> events) {
    std::string_view problem = message;
    std::optional<std::size_t> offset = take_number(problem, " at byte ");
    const bool is_byte = offset.has_value();
    if (!is_byte) {
        const auto column = take_number(problem, " column ");
        const auto line = column ? take_number(problem, " at line ") : std::nullopt;
        if (!line || *line == 0 || *column == 0) {
            return std::string(message);
        }
        offset = offset_of(request, *line, *column);
    }
    // What is wrong comes after the place of the value.
    const std::size_t colon = problem.find(": ");
    if (colon == std::string_view::npos) {
        return std::string(message);
    }
    const std::string_view place = problem.substr(0, colon);

    std::string again(request_start);
    std::size_t number = 0;
    for (const event &e : events) {
        if (number > 0) {
            again += ',';
        }
        const event_texts texts = write_event(again, e);
        for (const auto &[span, name] :
             {std::pair(texts.data, ".data"), std::pair(texts.metadata, ".metadata")}) {
            // An error just behind the text is one of its end.
            if (*offset < span.begin || *offset > span.end || span.end == 0) {
                continue;
            }
            const std::string whole = "events[" + std::to_string(number) + "]";
            // Where the value of the text had ended, the library was back in the event.
            std::string_view what = problem.substr(colon);
            if (!is_byte && place == whole) {
                what = ": not valid JSON: trailing characters";
            }
            const std::string_view text = request.substr(span.begin, span.end - span.begin);
            const std::size_t at = *offset - span.begin;
            return whole + name + std::string(what) +
                   (is_byte ? " at byte " + std::to_string(at) : line_and_column(text, at));
        }
        ++number;
    }
    return std::string(message);
}

} // namespace dcb::detail

#endif // DCB_DETAIL_REQUEST_HPP

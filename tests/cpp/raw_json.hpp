// Splits a JSON document into parts without changing a byte, which a JSON library would do. The
// document must be well-formed, as those of the library are.

#ifndef DCB_TEST_RAW_JSON_HPP
#define DCB_TEST_RAW_JSON_HPP

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace raw_json {

inline std::string_view trim(std::string_view text) {
    constexpr std::string_view blank = " \t\r\n";
    const std::size_t first = text.find_first_not_of(blank);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

/// Returns where `mark` is, from `at` on and outside of strings, arrays and objects, or the end.
inline std::size_t find(std::string_view text, char mark, std::size_t at) {
    int depth = 0;
    bool quoted = false;
    for (; at < text.size(); ++at) {
        const char c = text[at];
        if (quoted) {
            if (c == '\\') {
                ++at;
            } else if (c == '"') {
                quoted = false;
            }
        } else if (c == mark && depth == 0) {
            return at;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            ++depth;
        } else if (c == ']' || c == '}') {
            --depth;
        }
    }
    return text.size();
}

/// Returns the elements of an array, or the members of an object as `"key":value`.
inline std::vector<std::string_view> parts(std::string_view text, char open, char close) {
    text = trim(text);
    if (text.size() < 2 || text.front() != open || text.back() != close) {
        throw std::runtime_error("not what was expected: " + std::string(text));
    }
    text = text.substr(1, text.size() - 2);
    std::vector<std::string_view> all;
    if (trim(text).empty()) {
        return all;
    }
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = find(text, ',', at);
        all.push_back(trim(text.substr(at, end - at)));
        at = end + 1;
    }
    return all;
}

inline std::vector<std::string_view> elements(std::string_view array) {
    return parts(array, '[', ']');
}

/// Returns the keys, without quotes and with their escapes, and the values, in their order.
inline std::vector<std::pair<std::string_view, std::string_view>> members(std::string_view object) {
    std::vector<std::pair<std::string_view, std::string_view>> all;
    for (const std::string_view part : parts(object, '{', '}')) {
        const std::size_t colon = find(part, ':', 0);
        const std::string_view key = trim(part.substr(0, colon));
        all.emplace_back(key.substr(1, key.size() - 2), trim(part.substr(colon + 1)));
    }
    return all;
}

} // namespace raw_json

#endif // DCB_TEST_RAW_JSON_HPP

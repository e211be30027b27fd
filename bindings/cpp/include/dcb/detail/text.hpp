/// \file
/// Validation of names, and the writing of JSON. Not for direct use.

#ifndef DCB_DETAIL_TEXT_HPP
#define DCB_DETAIL_TEXT_HPP

#include <dcb/error.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dcb::detail {

[[noreturn]] inline void invalid(std::string_view what, std::string_view rule) {
    throw error(status::invalid_argument, std::string(what) + ": " + std::string(rule));
}

/// Returns whether the text is UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
inline bool is_utf8(std::string_view text) noexcept {
    std::size_t at = 0;
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    while (at < text.size()) {
        const unsigned lead = byte(at);
        if (lead < 0x80) {
            ++at;
            continue;
        }
        const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
        if (lead < 0xC2 || lead > 0xF4 || text.size() - at < length) {
            return false;
        }
        // The range of the second byte excludes overlong forms, surrogates and numbers too high.
        const unsigned second = byte(at + 1);
        const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (second < low || second > high) {
            return false;
        }
        for (std::size_t i = 2; i < length; ++i) {
            if ((byte(at + i) & 0xC0) != 0x80) {
                return false;
            }
        }
        at += length;
    }
    return true;
}

/// Throws if `text` is not valid as a type, a tag or an event id.
inline void check_name(std::string_view what, std::string_view text) {
    if (text.empty()) {
        invalid(what, "must not be empty");
    }
    if (text.size() > DCB_MAX_NAME_BYTES) {
        throw error(status::too_large, std::string(what) + ": longer than " +
                                           std::to_string(DCB_MAX_NAME_BYTES) + " bytes");
    }
    if (text.find('\0') != std::string_view::npos) {
        invalid(what, "must not contain NUL");
    }
    if (!is_utf8(text)) {
        invalid(what, "must be UTF-8");
    }
}

/// Throws if `text` is not a valid tag: a bare key, or a key and a value that are not empty.
inline void check_tag(std::string_view text) {
    check_name("tag", text);
    const std::size_t colon = text.find(':');
    if (colon == 0) {
        invalid("tag", "the key before the colon must not be empty");
    }
    if (colon != std::string_view::npos && colon + 1 == text.size()) {
        invalid("tag", "the value after the colon must not be empty");
    }
}

/// Throws if `text` could change the structure of a document in which it is embedded.
///
/// This is not a JSON parser; the library validates the text. The check only ensures that the text
/// cannot end the value in whose place it is, and add keys or events to the document.
inline void check_embeddable(std::string_view what, std::string_view text) {
    std::size_t depth = 0;
    bool quoted = false;
    bool blank = true;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\') {
                ++i;
            } else if (c == '"') {
                quoted = false;
            }
            continue;
        }
        switch (c) {
        case '"':
            quoted = true;
            break;
        case '{':
        case '[':
            ++depth;
            break;
        case '}':
        case ']':
            if (depth-- == 0) {
                invalid(what, "must be one JSON value");
            }
            break;
        case ',':
        case ':':
            if (depth == 0) {
                invalid(what, "must be one JSON value");
            }
            break;
        default:
            break;
        }
        blank = blank && (c == ' ' || c == '\t' || c == '\n' || c == '\r');
    }
    if (blank || quoted || depth != 0) {
        invalid(what, "must be one JSON value");
    }
}

/// Appends `text` as a JSON string.
inline void write_string(std::string &out, std::string_view text) {
    constexpr const char *digits = "0123456789abcdef";
    out += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20) {
            out += "\\u00";
            out += digits[byte >> 4];
            out += digits[byte & 0x0F];
        } else {
            out += c;
        }
    }
    out += '"';
}

/// Appends a JSON list. `write(out, element)` appends an element.
template <class Range, class Write>
void write_list(std::string &out, const Range &range, Write write) {
    out += '[';
    bool first = true;
    for (const auto &element : range) {
        if (!first) {
            out += ',';
        }
        first = false;
        write(out, element);
    }
    out += ']';
}

} // namespace dcb::detail

#endif // DCB_DETAIL_TEXT_HPP

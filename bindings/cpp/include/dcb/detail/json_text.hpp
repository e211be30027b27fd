/// \file
/// Strings and objects in JSON text. Not for direct use.

#ifndef DCB_DETAIL_JSON_TEXT_HPP
#define DCB_DETAIL_JSON_TEXT_HPP

#include <dcb/detail/text.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace dcb::detail {

/// Goes through JSON text that the library has validated, or is going to. Of a text that is not
/// valid, it returns nothing or something, and never leaves its bounds.
class json_scanner {
  public:
    explicit json_scanner(std::string_view text) noexcept : text_(text) {}

    /// Skips blanks, and then `c` if it is next. Returns whether it was.
    bool take(char c) noexcept {
        skip_blanks();
        if (at_ >= text_.size() || text_[at_] != c) {
            return false;
        }
        ++at_;
        return true;
    }

    /// Skips blanks, and returns whether nothing is left.
    bool is_at_end() noexcept {
        skip_blanks();
        return at_ == text_.size();
    }

    /// Returns the string that is next, without its escapes, or nothing if there is none.
    std::optional<std::string> take_string() {
        if (!take('"')) {
            return std::nullopt;
        }
        std::string out;
        while (at_ < text_.size()) {
            const char c = text_[at_++];
            if (c == '"') {
                return out;
            }
            if (c != '\\') {
                out += c;
            } else if (!take_escape(out)) {
                return std::nullopt;
            }
        }
        return std::nullopt;
    }

    /// Returns the text of the value that is next.
    std::string_view take_value() noexcept {
        skip_blanks();
        const std::size_t start = at_;
        std::size_t depth = 0;
        for (; at_ < text_.size(); ++at_) {
            const char c = text_[at_];
            if (c == '"') {
                skip_string();
            } else if (c == '{' || c == '[') {
                ++depth;
            } else if (depth == 0 && (c == ',' || c == '}' || c == ']')) {
                break;
            } else if (c == '}' || c == ']') {
                --depth;
            }
        }
        return text_.substr(start, at_ - start);
    }

  private:
    void skip_blanks() noexcept {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' ||
                                      text_[at_] == '\n' || text_[at_] == '\r')) {
            ++at_;
        }
    }

    /// Goes from a quote to the one that ends the string, or to the end.
    void skip_string() noexcept {
        for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
            if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
                ++at_;
            }
        }
        if (at_ == text_.size()) {
            --at_; // the caller goes on by one
        }
    }

    bool take_escape(std::string &out) {
        if (at_ == text_.size()) {
            return false;
        }
        constexpr std::string_view names = "\"\\/bfnrt";
        constexpr std::string_view values = "\"\\/\b\f\n\r\t";
        const char c = text_[at_++];
        if (const std::size_t found = names.find(c); found != std::string_view::npos) {
            out += values[found];
            return true;
        }
        std::uint32_t point = 0;
        if (c != 'u' || !take_unit(point)) {
            return false;
        }
        if (point >= 0xD800 && point < 0xDC00) {
            std::uint32_t low = 0;
            if (text_.substr(at_, 2) != "\\u") {
                return false;
            }
            at_ += 2;
            if (!take_unit(low) || low < 0xDC00 || low > 0xDFFF) {
                return false;
            }
            point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
        }
        write_point(out, point);
        return true;
    }

    /// Reads four hexadecimal digits.
    bool take_unit(std::uint32_t &unit) noexcept {
        for (int i = 0; i < 4; ++i) {
            if (at_ == text_.size()) {
                return false;
            }
            const char c = text_[at_++];
            const int digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
            if (digit < 0) {
                return false;
            }
            unit = unit << 4 | static_cast<std::uint32_t>(digit);
        }
        return true;
    }

    /// Appends a code point in UTF-8.
    static void write_point(std::string &out, std::uint32_t point) {
        const auto rest = [&](int shift) {
            out += static_cast<char>(0x80 | (point >> shift & 0x3F));
        };
        if (point < 0x80) {
            out += static_cast<char>(point);
        } else if (point < 0x800) {
            out += static_cast<char>(0xC0 | point >> 6);
            rest(0);
        } else if (point < 0x10000) {
            out += static_cast<char>(0xE0 | point >> 12);
            rest(6);
            rest(0);
        } else {
            out += static_cast<char>(0xF0 | point >> 18);
            rest(12);
            rest(6);
            rest(0);
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

/// A member of an object that was looked for.
struct json_member {
    /// Whether the text is an object.
    bool is_object = false;
    /// Whether it has no members.
    bool is_empty = true;
    /// The text of the member's value, if there is one; of several, the last.
    std::optional<std::string_view> value;
};

/// Looks for a member of the object that `text` is.
inline json_member find_member(std::string_view text, std::string_view key) {
    json_member found;
    json_scanner scanner(text);
    if (!scanner.take('{')) {
        return found;
    }
    if (scanner.take('}')) {
        found.is_object = scanner.is_at_end();
        return found;
    }
    found.is_empty = false;
    do {
        const auto name = scanner.take_string();
        if (!name || !scanner.take(':')) {
            return {};
        }
        const std::string_view value = scanner.take_value();
        if (*name == key) {
            found.value = value;
        }
    } while (scanner.take(','));
    found.is_object = scanner.take('}') && scanner.is_at_end();
    return found;
}

} // namespace dcb::detail

#endif // DCB_DETAIL_JSON_TEXT_HPP

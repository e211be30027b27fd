/// \file
/// Events to append, and events that were read.

#ifndef DCB_EVENT_HPP
#define DCB_EVENT_HPP

#include <dcb/detail/text.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dcb {

/// A valid tag: a key and a value, written `key:value`, or a bare key. At most 255 bytes of UTF-8.
///
/// The first colon separates the key from the value. A text that becomes a tag implicitly must have
/// a value: so `{"student", id}`, which would be two tags, is an error and not two bare keys.
class tag {
  public:
    /// Makes a tag of `key:value`. Throws dcb::error (`invalid_argument`, `too_large`) if the text
    /// is not a tag or has no value; see dcb::bare_tag and parse().
    tag(std::string text) : text_(std::move(text)) {
        detail::check_tag(text_);
        if (text_.find(':') == std::string::npos) {
            detail::invalid("tag",
                            '"' + text_ + "\" has no value; for a tag without one, use bare_tag");
        }
    }
    tag(std::string_view text) : tag(std::string(text)) {}
    tag(const char *text) : tag(std::string(text)) {}

    /// Makes a tag of a key without a colon, and a value.
    tag(std::string_view key, std::string_view value) : tag(concatenate(key, value)) {}

    /// Makes a tag of the text of any tag, such as that of an event which was read.
    [[nodiscard]] static tag parse(std::string_view text) {
        detail::check_tag(text);
        return {std::string(text), checked()};
    }

    /// The whole text of the tag.
    [[nodiscard]] const std::string &text() const noexcept { return text_; }
    operator std::string_view() const noexcept { return text_; }

    friend bool operator==(const tag &a, const tag &b) noexcept { return a.text_ == b.text_; }
    friend bool operator!=(const tag &a, const tag &b) noexcept { return !(a == b); }

  private:
    struct checked {};
    tag(std::string text, checked) : text_(std::move(text)) {}

    static void check_key(std::string_view key) {
        if (key.find(':') != std::string_view::npos) {
            detail::invalid("tag", "a key must not contain a colon");
        }
    }

    static std::string concatenate(std::string_view key, std::string_view value) {
        check_key(key);
        std::string text(key);
        text += ':';
        text += value;
        return text;
    }

    friend tag bare_tag(std::string_view key);

    std::string text_;
};

/// Makes a tag that has a key and no value.
[[nodiscard]] inline tag bare_tag(std::string_view key) {
    tag::check_key(key);
    return tag::parse(key);
}

/// A time in microseconds of UTC. The store sets it; it does not order events.
using timestamp = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;

/// An event to append. Its type and tags are valid. Its data and metadata are JSON text, which the
/// store validates when the event is appended, and keeps byte for byte.
class event {
  public:
    /// Throws dcb::error (`invalid_argument`, `too_large`) if `type` is not a valid type, or `data`
    /// is clearly not a single JSON value.
    explicit event(std::string type, std::vector<tag> tags = {}, std::string data = "null")
        : type_(std::move(type)), tags_(std::move(tags)), data_(std::move(data)) {
        detail::check_name("type", type_);
        detail::check_embeddable("data", data_);
    }

    /// Sets the id of the event, which is unique in the store. An append whose events have ids can
    /// be repeated. Either all events of an append have an id, or none has.
    event &id(std::string id) & {
        detail::check_name("id", id);
        id_ = std::move(id);
        return *this;
    }
    event id(std::string text) && { return std::move(id(std::move(text))); }

    /// Sets the metadata of the event: the text of a JSON object.
    event &metadata(std::string metadata) & {
        detail::check_embeddable("metadata", metadata);
        metadata_ = std::move(metadata);
        return *this;
    }
    event metadata(std::string text) && { return std::move(metadata(std::move(text))); }

    /// Sets the time that the event is stored with, in the years 1 to 9999. Only a store that was
    /// opened with open_options::import accepts it.
    event &timestamp(dcb::timestamp time) & {
        if (time < earliest || time > latest) {
            detail::invalid("timestamp", "must be in the years 1 to 9999");
        }
        timestamp_ = time;
        return *this;
    }
    event timestamp(dcb::timestamp time) && { return std::move(timestamp(time)); }

    [[nodiscard]] const std::string &type() const noexcept { return type_; }
    [[nodiscard]] const std::vector<tag> &tags() const noexcept { return tags_; }
    [[nodiscard]] const std::string &data() const noexcept { return data_; }
    [[nodiscard]] const std::optional<std::string> &id() const noexcept { return id_; }
    [[nodiscard]] const std::optional<std::string> &metadata() const noexcept { return metadata_; }
    [[nodiscard]] const std::optional<dcb::timestamp> &timestamp() const noexcept {
        return timestamp_;
    }

  private:
    std::string type_;
    std::vector<tag> tags_;
    std::string data_;
    std::optional<std::string> id_;
    std::optional<std::string> metadata_;
    std::optional<dcb::timestamp> timestamp_;

    static constexpr dcb::timestamp earliest{std::chrono::microseconds(-62135596800000000)};
    static constexpr dcb::timestamp latest{std::chrono::microseconds(253402300799999999)};
};

namespace detail {

/// Where a text of the caller is in a document.
struct text_span {
    std::size_t begin = 0;
    std::size_t end = 0;
};

/// Where the texts of an event are in a document. A text that is absent has an `end` of 0.
struct event_texts {
    text_span data;
    text_span metadata;
};

/// Appends a time in the years 1 to 9999 in the form that documents have.
inline void write_timestamp(std::string &out, timestamp time) {
    constexpr std::int64_t micros_per_day = 86400000000;
    const std::int64_t micros = time.time_since_epoch().count();
    std::int64_t day = micros / micros_per_day;
    std::int64_t in_day = micros % micros_per_day;
    if (in_day < 0) {
        in_day += micros_per_day;
        --day;
    }
    // Counted from 1 March of the year 0, in years that begin in March: the leap day comes last.
    day += 719468;
    const std::int64_t era = day / 146097;
    const std::int64_t of_era = day % 146097;
    const std::int64_t year_of_era =
        (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const std::int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const std::int64_t from_march = (5 * of_year + 2) / 153;
    const std::int64_t month = from_march < 10 ? from_march + 3 : from_march - 9;
    const std::int64_t second = in_day / 1000000;
    const auto digits = [&out](std::int64_t number, int count) {
        std::string text(static_cast<std::size_t>(count), '0');
        for (auto digit = text.rbegin(); digit != text.rend(); ++digit, number /= 10) {
            *digit = static_cast<char>('0' + number % 10);
        }
        out += text;
    };
    out += '"';
    digits(era * 400 + year_of_era + (month <= 2 ? 1 : 0), 4);
    out += '-';
    digits(month, 2);
    out += '-';
    digits(of_year - (153 * from_march + 2) / 5 + 1, 2);
    out += 'T';
    digits(second / 3600, 2);
    out += ':';
    digits(second / 60 % 60, 2);
    out += ':';
    digits(second % 60, 2);
    out += '.';
    digits(in_day % 1000000, 6);
    out += "Z\"";
}

/// Appends the event as JSON, and returns where its texts are in `out`.
inline event_texts write_event(std::string &out, const event &e) {
    event_texts texts;
    out += R"({"type":)";
    write_string(out, e.type());
    out += R"(,"tags":)";
    write_list(out, e.tags(), [](std::string &to, const tag &t) { write_string(to, t); });
    out += R"(,"data":)";
    texts.data.begin = out.size();
    out += e.data();
    texts.data.end = out.size();
    if (e.id()) {
        out += R"(,"id":)";
        write_string(out, *e.id());
    }
    if (e.metadata()) {
        out += R"(,"metadata":)";
        texts.metadata.begin = out.size();
        out += *e.metadata();
        texts.metadata.end = out.size();
    }
    if (e.timestamp()) {
        out += R"(,"timestamp":)";
        write_timestamp(out, *e.timestamp());
    }
    out += '}';
    return texts;
}

inline std::string_view view(const dcb_str &text) noexcept {
    return text.len == 0 ? std::string_view() : std::string_view(text.data, text.len);
}

} // namespace detail

/// An event that was read, with its own copy of all texts.
struct sequenced_event {
    std::int64_t position = 0;
    dcb::timestamp timestamp{};
    std::string type{};
    std::vector<std::string> tags{};
    std::string data = "null"; ///< The JSON text, byte for byte as it was appended.
    std::optional<std::string> id{};
    std::optional<std::string> metadata{}; ///< The JSON text, byte for byte as it was appended.
};

/// The tags of an event that was read, as `std::string_view`s, in the order in which they were
/// appended. The range and its iterators are valid as long as the texts of the event_view. To
/// append a tag again, use tag::parse.
class tag_views {
  public:
    class iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = std::string_view;
        using difference_type = std::ptrdiff_t;
        using pointer = const std::string_view *;
        using reference = std::string_view;

        iterator() = default;
        std::string_view operator*() const { return at(borrowed_, owned_, at_); }
        iterator &operator++() noexcept {
            ++at_;
            return *this;
        }
        iterator operator++(int) noexcept {
            iterator before = *this;
            ++at_;
            return before;
        }
        friend bool operator==(const iterator &a, const iterator &b) noexcept {
            return a.at_ == b.at_;
        }
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return !(a == b); }

      private:
        friend class tag_views;
        iterator(const tag_views &tags, std::size_t at) noexcept
            : borrowed_(tags.borrowed_), owned_(tags.owned_), at_(at) {}
        const dcb_str *borrowed_ = nullptr;
        const std::string *owned_ = nullptr;
        std::size_t at_ = 0;
    };

    tag_views() = default;
    tag_views(const dcb_str *tags, std::size_t size) noexcept : borrowed_(tags), size_(size) {}
    explicit tag_views(const std::vector<std::string> &tags) noexcept
        : owned_(tags.data()), size_(tags.size()) {}

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::string_view operator[](std::size_t i) const noexcept {
        return at(borrowed_, owned_, i);
    }
    [[nodiscard]] iterator begin() const noexcept { return {*this, 0}; }
    [[nodiscard]] iterator end() const noexcept { return {*this, size_}; }

  private:
    static std::string_view at(const dcb_str *borrowed, const std::string *owned,
                               std::size_t i) noexcept {
        return owned != nullptr ? std::string_view(owned[i]) : detail::view(borrowed[i]);
    }

    const dcb_str *borrowed_ = nullptr;
    const std::string *owned_ = nullptr;
    std::size_t size_ = 0;
};

/// An event that was read, without a copy of its texts.
///
/// The texts belong to the cursor or subscription that returned the event, and are valid until it
/// goes on to the next event; or they belong to the sequenced_event that the view was made from. To
/// keep an event, convert it to a sequenced_event.
class event_view {
  public:
    event_view() = default;

    explicit event_view(const dcb_event &e) noexcept
        : position_(e.position), timestamp_us_(e.timestamp_us), type_(detail::view(e.type)),
          data_(detail::view(e.data)), tags_(e.tags, e.tags_len) {
        if (e.id.data != nullptr) {
            id_ = detail::view(e.id);
        }
        if (e.metadata.data != nullptr) {
            metadata_ = detail::view(e.metadata);
        }
    }

    event_view(const sequenced_event &e) noexcept
        : position_(e.position), timestamp_us_(e.timestamp.time_since_epoch().count()),
          type_(e.type), data_(e.data), id_(e.id), metadata_(e.metadata), tags_(e.tags) {}

    /// The position in the store: 1 for the first event, and one more for each that follows.
    [[nodiscard]] std::int64_t position() const noexcept { return position_; }

    /// The time at which the store accepted the event. Events are ordered by position, not by time.
    [[nodiscard]] dcb::timestamp timestamp() const noexcept {
        return dcb::timestamp(std::chrono::microseconds(timestamp_us_));
    }

    [[nodiscard]] std::string_view type() const noexcept { return type_; }

    /// The JSON text of the data, byte for byte as it was appended.
    [[nodiscard]] std::string_view data() const noexcept { return data_; }

    [[nodiscard]] std::optional<std::string_view> id() const noexcept { return id_; }

    /// The JSON text of the metadata, byte for byte as it was appended.
    [[nodiscard]] std::optional<std::string_view> metadata() const noexcept { return metadata_; }

    [[nodiscard]] tag_views tags() const noexcept { return tags_; }

    /// Returns whether the event has the tag with this text: `course:c1`, or a bare key.
    [[nodiscard]] bool has_tag(std::string_view text) const noexcept {
        for (const std::string_view tag : tags_) {
            if (tag == text) {
                return true;
            }
        }
        return false;
    }

    /// Returns the value of the first tag with this key: `c1` for `course` if the event has the tag
    /// `course:c1`. No key contains a colon.
    [[nodiscard]] std::optional<std::string_view> tag_value(std::string_view key) const noexcept {
        if (key.find(':') != std::string_view::npos) {
            return std::nullopt;
        }
        for (const std::string_view tag : tags_) {
            if (tag.size() > key.size() && tag[key.size()] == ':' &&
                tag.compare(0, key.size(), key) == 0) {
                return tag.substr(key.size() + 1);
            }
        }
        return std::nullopt;
    }

    /// Copies the event with all its texts.
    explicit operator sequenced_event() const {
        sequenced_event copy;
        copy.position = position_;
        copy.timestamp = timestamp();
        copy.type = type_;
        copy.tags.reserve(tags_.size());
        for (const std::string_view tag : tags_) {
            copy.tags.emplace_back(tag);
        }
        copy.data = data_;
        copy.id = id_;
        copy.metadata = metadata_;
        return copy;
    }

  private:
    std::int64_t position_ = 0;
    std::int64_t timestamp_us_ = 0;
    std::string_view type_;
    std::string_view data_;
    std::optional<std::string_view> id_;
    std::optional<std::string_view> metadata_;
    tag_views tags_;
};

} // namespace dcb

#endif // DCB_EVENT_HPP

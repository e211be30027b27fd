/// \file
/// Conversions between events and values of nlohmann/json, and of the values of decisions.
/// `dcb.hpp` does not include this header.

#ifndef DCB_JSON_HPP
#define DCB_JSON_HPP

#include <dcb/decision.hpp>
#include <dcb/event.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace dcb {

/// Makes an event whose data is `data`, a JSON value or anything that nlohmann/json converts to
/// one. Throws nlohmann::json::type_error if a text in it is not UTF-8.
template <class Value>
[[nodiscard]] event json_event(std::string type, std::vector<tag> tags, const Value &data) {
    return event(std::move(type), std::move(tags), nlohmann::json(data).dump());
}

/// Returns the data of the event as a JSON value.
///
/// Throws the parse error of nlohmann/json if the data has a number that it cannot represent, such
/// as `1e400`. event_view::data returns the text.
[[nodiscard]] inline nlohmann::json json_data(const event_view &e) {
    return nlohmann::json::parse(e.data());
}

/// Returns the data of the event as a `Value`, converted by `from_json` of nlohmann/json. Throws
/// its exceptions.
template <class Value> [[nodiscard]] Value data_as(const event_view &e) {
    return json_data(e).get<Value>();
}

/// Returns the metadata of the event as a JSON value, or `null` if it has none.
[[nodiscard]] inline nlohmann::json json_metadata(const event_view &e) {
    const auto metadata = e.metadata();
    return metadata ? nlohmann::json::parse(*metadata) : nlohmann::json();
}

/// The values of decisions that nlohmann/json converts. Its exceptions are passed on.
template <class Value> struct value_codec<Value, std::enable_if_t<!detail::is_plain_value<Value>>> {
    [[nodiscard]] static std::string encode(const Value &value) {
        return nlohmann::json(value).dump();
    }
    [[nodiscard]] static Value decode(std::string_view text) {
        return nlohmann::json::parse(text).get<Value>();
    }
};

} // namespace dcb

#endif // DCB_JSON_HPP

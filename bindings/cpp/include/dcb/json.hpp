/// \file
/// Events from and to values of nlohmann/json. Optional; `dcb.hpp` does not include it.

#ifndef DCB_JSON_HPP
#define DCB_JSON_HPP

#include <dcb/event.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <utility>
#include <vector>

namespace dcb {

/// An event whose data is a JSON value, or whatever nlohmann/json makes one of. Throws
/// nlohmann::json::type_error if the value holds text that is not UTF-8.
template <class Value>
[[nodiscard]] event json_event(std::string type, std::vector<tag> tags, const Value &data) {
    return event(std::move(type), std::move(tags), nlohmann::json(data).dump());
}

/// The event's data as a JSON value.
///
/// A number that nlohmann/json cannot hold, such as `1e400`, throws its parse error;
/// event_view::data gives the text.
[[nodiscard]] inline nlohmann::json json_data(const event_view &e) {
    return nlohmann::json::parse(e.data());
}

/// The event's data as a `Value`, by nlohmann/json's `from_json`. Throws its exceptions.
template <class Value> [[nodiscard]] Value data_as(const event_view &e) {
    return json_data(e).get<Value>();
}

/// The event's metadata as a JSON value; `null` if it has none.
[[nodiscard]] inline nlohmann::json json_metadata(const event_view &e) {
    const auto metadata = e.metadata();
    return metadata ? nlohmann::json::parse(*metadata) : nlohmann::json();
}

} // namespace dcb

#endif // DCB_JSON_HPP

/// \file
/// The events of a request: how they are marked, and found again. Not for direct use.

#ifndef DCB_DETAIL_REQUEST_EVENTS_HPP
#define DCB_DETAIL_REQUEST_EVENTS_HPP

#include <dcb/detail/json_text.hpp>
#include <dcb/request_id.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dcb::detail {

/// The key in the metadata of a decision's first event that holds its value: a string with the JSON
/// of the value, since a number would lose digits wherever metadata is decoded.
inline constexpr std::string_view value_key = "dcb_value";

/// Returns the metadata of a decision's first event with the value of the decision added.
inline std::string with_value(const std::optional<std::string> &metadata, std::string_view value) {
    std::string out = metadata.value_or("{}");
    const json_member found = find_member(out, value_key);
    if (!found.is_object) {
        invalid("events[0].metadata", "must be an object");
    }
    if (found.value) {
        invalid("events[0].metadata",
                "the key " + std::string(value_key) + " is that of the decision's value");
    }
    // At the end, so that an error in the rest is where the caller has it.
    const std::size_t end = out.rfind('}');
    const std::string rest = out.substr(end);
    out.resize(end);
    if (!found.is_empty) {
        out += ',';
    }
    write_string(out, value_key);
    out += ':';
    write_string(out, value);
    return out + rest;
}

/// Returns the events with the tag of the request, and with the value of the decision, if it has
/// one, in the metadata of the first.
inline std::vector<event> mark_request(const std::vector<event> &events, const request_id &request,
                                       const std::optional<std::string> &value) {
    std::vector<event> marked;
    marked.reserve(events.size());
    for (const event &e : events) {
        std::vector<tag> tags = e.tags();
        for (const tag &t : tags) {
            const std::string_view text = t;
            if (text.substr(0, text.find(':')) == request_id::key) {
                invalid("events[" + std::to_string(marked.size()) + "].tags",
                        "the key " + std::string(request_id::key) + " is that of a request_id");
            }
        }
        tags.push_back(request.tag());
        event copy(e.type(), std::move(tags), e.data());
        if (e.id()) {
            copy.id(*e.id());
        }
        if (value && marked.empty()) {
            copy.metadata(with_value(e.metadata(), *value));
        } else if (e.metadata()) {
            copy.metadata(*e.metadata());
        }
        marked.push_back(std::move(copy));
    }
    return marked;
}

/// The events of a request that are stored.
class stored_request {
  public:
    /// Looks at an event, in the order of the positions.
    void see(const event_view &e, const request_id &request) {
        if (!e.has_tag(request.tag())) {
            return;
        }
        last = e.position();
        if (first != 0) {
            return;
        }
        first = e.position();
        if (const auto metadata = e.metadata()) {
            const json_member found = find_member(*metadata, value_key);
            if (found.value) {
                value = json_scanner(*found.value).take_string();
            }
        }
    }

    std::int64_t first = 0; ///< the position of the first event, or 0 if there is none
    std::int64_t last = 0;
    std::optional<std::string> value; ///< the JSON of the decision's value, if it had one
};

} // namespace dcb::detail

#endif // DCB_DETAIL_REQUEST_EVENTS_HPP

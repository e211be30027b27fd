/// \file
/// Request ids, which make a command that can be retried.

#ifndef DCB_REQUEST_ID_HPP
#define DCB_REQUEST_ID_HPP

#include <dcb/detail/sha256.hpp>
#include <dcb/event.hpp>

#include <string>
#include <string_view>

namespace dcb {

/// The id of a request, which makes its decision once, whatever happened to the first attempt.
///
/// If the events of the request are stored already, the decision is repeated: it has the positions
/// of those events and the value that was returned then. Nothing is decided again and nothing
/// stored, even if the decider would now come to another result. Of decisions that race with one
/// id, the events of one are stored.
///
/// The id must be unique to the request among all requests to the store: begin it with the user or
/// the client if that is who chooses it. The same id with another command returns the result of the
/// first one.
///
/// Each event of the decision gets the tag `dcb_request:ID`, and the append is conditional on no
/// other event having it. The read before the decision looks for the tag too. That costs one
/// look-up in the index, and no read of its own unless a part of the model has a `last` or `since`.
/// It adds one item and one tag to what the query may have at most, and one tag to each event.
///
/// A request without an event leaves no trace: if the command is rejected, or there is nothing to
/// do, a retry decides again. Programs in Go and in C++ recognise each other's requests.
class request_id {
  public:
    /// Throws dcb::error (`invalid_argument`) if the id is empty. It may be any other string.
    explicit request_id(std::string_view id) : tag_(tag_of(id)) {}

    /// The tag of the events of the request. Its key is `dcb_request`. Its value is the id if that
    /// is valid in a tag and at most 243 bytes long; otherwise, and if it begins with `sha256:`, it
    /// is `sha256:` and the hash of the id in hexadecimal.
    [[nodiscard]] const dcb::tag &tag() const noexcept { return tag_; }

    /// The key of that tag.
    static constexpr std::string_view key = "dcb_request";

  private:
    static dcb::tag tag_of(std::string_view id) {
        constexpr std::string_view hash_prefix = "sha256:";
        if (id.empty()) {
            detail::invalid("request_id", "must not be empty");
        }
        const bool fits = key.size() + 1 + id.size() <= DCB_MAX_NAME_BYTES &&
                          id.find('\0') == std::string_view::npos && detail::is_utf8(id);
        if (fits && id.substr(0, hash_prefix.size()) != hash_prefix) {
            return {key, id};
        }
        return {key, std::string(hash_prefix) + detail::sha256::of(id)};
    }

    dcb::tag tag_;
};

} // namespace dcb

#endif // DCB_REQUEST_ID_HPP

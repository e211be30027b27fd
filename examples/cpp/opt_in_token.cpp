// An opt-in token.
//
// A person who signs up gets a token by mail, and can confirm with it once, within an hour. The
// token is a tag, so its event is found without a table of open tokens, and the decision depends
// only on the events of this one sign-up.

#include <dcb.hpp>

#include <chrono>
#include <iostream>
#include <optional>
#include <string>

namespace {

using clock = std::chrono::system_clock;

void sign_up(dcb::store &store, const std::string &mail, const std::string &token) {
    store.append(dcb::event("SignUpInitiated", {{"mail", mail}, {"token", token}}));
}

struct token_state {
    std::optional<std::string> mail;
    dcb::timestamp issued;
    bool used = false;
};

dcb::projection<token_state> state_of(const std::string &token) {
    return {dcb::of_type("SignUpInitiated", "SignUpConfirmed").tagged(dcb::tag("token", token)),
            {},
            [](token_state state, const dcb::event_view &e) {
                if (e.type() == "SignUpInitiated") {
                    state.mail = e.tag_value("mail");
                    state.issued = e.timestamp();
                } else {
                    state.used = true;
                }
                return state;
            }};
}

/// Confirms a sign-up, and returns the answer to the person.
std::string confirm(dcb::store &store, const std::string &token, clock::time_point now) {
    const auto model = dcb::project(store, state_of(token));
    const token_state &state = model.state;
    if (!state.mail) {
        return "this token was never given out";
    }
    if (state.used) {
        return "this token was used before";
    }
    if (now - state.issued > std::chrono::hours(1)) {
        return "this token has expired";
    }
    const auto result = store.try_append(
        dcb::event("SignUpConfirmed", {{"mail", *state.mail}, {"token", token}}), model.condition);
    return result ? "welcome, " + *state.mail : "this token was used before";
}

} // namespace

int main(int argc, char **argv) {
    dcb::store store(argc > 1 ? argv[1] : "memory:");
    sign_up(store, "ann@example.org", "4711");
    sign_up(store, "bob@example.org", "0815");
    const auto now = clock::now();
    std::cout << confirm(store, "1234", now) << '\n'
              << confirm(store, "4711", now) << '\n'
              << confirm(store, "4711", now) << '\n'
              << confirm(store, "0815", now + std::chrono::hours(2)) << '\n';
}

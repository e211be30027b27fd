// A unique username.
//
// No two accounts have the same name at the same time. There is no table with a unique index, and
// none is needed: the decision rests on the events of that one name, and so does its guard. Claims
// of other names are not in its way.

#include <dcb.hpp>

#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

dcb::tag name_tag(const std::string &name) {
    return {"username", name};
}

dcb::projection<bool> is_taken(const std::string &name) {
    return {dcb::of_type("AccountRegistered", "AccountClosed").tagged(name_tag(name)), false,
            [](bool, const dcb::event_view &e) { return e.type() == "AccountRegistered"; }};
}

/// Whether the account has got the name.
bool register_account(dcb::store &store, const std::string &account, const std::string &name) {
    const auto name_state = dcb::project(store, is_taken(name));
    if (name_state.state) {
        return false;
    }
    // Lost to somebody who was faster: the name is taken, which is no exception to us.
    return static_cast<bool>(
        store.try_append(dcb::event("AccountRegistered", {{"account", account}, name_tag(name)}),
                         name_state.condition));
}

void close_account(dcb::store &store, const std::string &account, const std::string &name) {
    store.append(dcb::event("AccountClosed", {{"account", account}, name_tag(name)}));
}

} // namespace

int main(int argc, char **argv) {
    dcb::store store(argc > 1 ? argv[1] : "memory:");
    const auto try_to_register = [&](const std::string &account, const std::string &name) {
        const bool done = register_account(store, account, name);
        std::cout << account << (done ? " is now " : " cannot be ") << name << '\n';
    };
    try_to_register("a1", "ann");
    try_to_register("a2", "ann");
    try_to_register("a2", "bob");
    close_account(store, "a1", "ann");
    try_to_register("a3", "ann");

    // Eight at once want the same name.
    std::vector<std::thread> rivals;
    for (int i = 0; i < 8; ++i) {
        rivals.emplace_back(
            [&store, i] { register_account(store, "rival" + std::to_string(i), "zoe"); });
    }
    for (std::thread &rival : rivals) {
        rival.join();
    }
    const auto owners = store.read_all(dcb::tagged(name_tag("zoe"))).events;
    std::cout << owners.size() << " of 8 rivals is zoe\n";
}

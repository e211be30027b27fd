// A unique username.
//
// No two accounts have the same name at the same time. This needs no table with a unique index: the
// decision and its condition depend only on the events of that one name. Claims of other names do
// not conflict with it.

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

/// Returns whether the account has got the name.
bool register_account(dcb::store &store, const std::string &account, const std::string &name) {
    const auto name_state = dcb::project(store, is_taken(name));
    if (name_state.state) {
        return false;
    }
    // If another account was faster, the name is taken. That is an expected outcome here.
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

    // Eight accounts claim the same name at once.
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

// A user name belongs to whoever claims it first: a claim in C++.
#include <dcb.hpp>
#include <iostream>

int main() {
    dcb::store store("sqlite:names.db");
    const dcb::event claim("NameClaimed", {"name:ada"}, R"("in C++")");
    const dcb::append_condition unclaimed{dcb::tagged("name:ada"), 0};
    if (const auto result = store.try_append(claim, unclaimed))
        std::cout << "ada is ours, by event " << result.position() << "\n";
    else
        std::cout << "ada was claimed by event " << result.position() << "\n";
}

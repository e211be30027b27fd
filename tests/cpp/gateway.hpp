// A Unix socket in front of that of a PostgreSQL server, which a test closes or silences.

#ifndef DCB_TEST_GATEWAY_HPP
#define DCB_TEST_GATEWAY_HPP

#include "temporary_folder.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

class gateway {
  public:
    enum class way {
        /// Everything is passed on.
        open,
        /// Connections are accepted, and nothing comes through them.
        silent,
        /// There are no connections, and nobody accepts one.
        closed,
    };

    /// Passes on to the server whose socket is in this folder, with its port in its name.
    gateway(const std::string &server, const std::string &port)
        : server_(server + "/.s.PGSQL." + port),
          own_((folder_.path() / (".s.PGSQL." + port)).string()), thread_([this] { run(); }) {
        set(way::open);
    }
    gateway(const gateway &) = delete;
    gateway &operator=(const gateway &) = delete;
    ~gateway() {
        is_over_ = true;
        thread_.join();
    }

    [[nodiscard]] std::string folder() const { return folder_.path().string(); }

    /// Returns once it is so.
    void set(way wanted) {
        wanted_ = wanted;
        while (is_ != wanted) {
            std::this_thread::yield();
        }
    }

  private:
    static int made_socket() {
        const int made = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (made < 0) {
            throw std::system_error(errno, std::generic_category(), "socket");
        }
        return made;
    }

    static sockaddr_un address(const std::string &path) {
        sockaddr_un at{};
        at.sun_family = AF_UNIX;
        if (path.size() >= sizeof at.sun_path) {
            throw std::length_error(path);
        }
        path.copy(at.sun_path, path.size());
        return at;
    }

    void run() {
        int listener = -1;
        const auto stop = [&] {
            for (const int end : ends_) {
                ::close(end);
            }
            ends_.clear();
            if (listener >= 0) {
                ::close(listener);
                ::unlink(own_.c_str());
                listener = -1;
            }
        };
        while (!is_over_) {
            const way wanted = wanted_;
            if (wanted == way::closed) {
                stop();
            } else if (listener < 0) {
                listener = made_socket();
                const sockaddr_un at = address(own_);
                if (::bind(listener, reinterpret_cast<const sockaddr *>(&at), sizeof at) != 0 ||
                    ::listen(listener, 16) != 0) {
                    throw std::system_error(errno, std::generic_category(), own_);
                }
            }
            is_ = wanted;
            if (wanted == way::open) {
                pass(listener);
            } else {
                ::poll(nullptr, 0, 5);
            }
        }
        stop();
    }

    /// Accepts what comes within a moment, and passes on what there is.
    void pass(int listener) {
        std::vector<pollfd> polled{{listener, POLLIN, 0}};
        for (const int end : ends_) {
            polled.push_back({end, POLLIN, 0});
        }
        ::poll(polled.data(), static_cast<nfds_t>(polled.size()), 5);
        // From the last pair on, so that the others keep their places.
        for (std::size_t pair = ends_.size() / 2; pair-- > 0;) {
            const std::size_t first = 2 * pair;
            if (!(polled[first + 1].revents == 0 || copy(ends_[first], ends_[first + 1])) ||
                !(polled[first + 2].revents == 0 || copy(ends_[first + 1], ends_[first]))) {
                ::close(ends_[first]);
                ::close(ends_[first + 1]);
                const auto at = ends_.begin() + static_cast<std::ptrdiff_t>(first);
                ends_.erase(at, at + 2);
            }
        }
        if ((polled[0].revents & POLLIN) != 0) {
            const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
            const int server = made_socket();
            const sockaddr_un at = address(server_);
            if (client < 0 ||
                ::connect(server, reinterpret_cast<const sockaddr *>(&at), sizeof at) != 0) {
                throw std::system_error(errno, std::generic_category(), server_);
            }
            ends_.insert(ends_.end(), {client, server});
        }
    }

    /// Returns whether both ends are still there.
    static bool copy(int from, int to) {
        std::array<char, 65536> bytes{};
        const ssize_t len = ::recv(from, bytes.data(), bytes.size(), 0);
        for (ssize_t sent = 0; sent < len;) {
            const ssize_t more =
                ::send(to, bytes.data() + sent, static_cast<std::size_t>(len - sent), MSG_NOSIGNAL);
            if (more < 0) {
                return false;
            }
            sent += more;
        }
        return len > 0;
    }

    temporary_folder folder_;
    std::string server_;
    std::string own_;
    /// The ends of the connections: a client's, and beside it the server's.
    std::vector<int> ends_;
    std::atomic<way> wanted_{way::closed};
    std::atomic<way> is_{way::closed};
    std::atomic<bool> is_over_{false};
    std::thread thread_;
};

#endif // DCB_TEST_GATEWAY_HPP

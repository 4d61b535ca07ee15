#include "hold_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace lamina {

namespace {

// How often, a millisecond apart, files that the kernel writes itself may still be closed before they are
// reported: who opens another waits by then.
constexpr int kWaitsForWriters = 200;

}  // namespace

int HoldSocket::open(const std::string& path) {
  const size_t slash = path.rfind('/');
  const UniqueFd directory(::open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!directory.valid() || !listener_.valid()) return errno;
  // Paths of sockets are short (unix(7)).
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const int length = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s",
                              directory.get(), path.c_str() + slash + 1);
  int error = length < static_cast<int>(sizeof address.sun_path) ? 0 : ENAMETOOLONG;
  unlink(path.c_str());
  if (error == 0 && bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    error = errno;
  }
  if (error == 0 && listen(listener_.get(), 8) != 0) error = errno;
  if (error != 0) listener_.reset();
  return error;
}

pollfd HoldSocket::watched() const {
  return {state_ == State::kIdle ? listener_.get() : holder_.get(), POLLIN, 0};
}

void HoldSocket::step(short events) {
  if (state_ == State::kIdle) {
    if (events != 0) accept_holder();
    return;
  }
  // Nobody says anything: it is the end.
  if (events != 0) return release();
  if (state_ != State::kDraining || !hold_.is_quiet()) return;
  const uint32_t writers = writers_();
  if (writers != 0 && --waits_left_ > 0) return;
  state_ = State::kHeld;
  char line[40];
  const int length = snprintf(line, sizeof line, "held writers=%u\n", writers);
  if (send(holder_.get(), line, static_cast<size_t>(length), MSG_NOSIGNAL) != length) release();
}

void HoldSocket::accept_holder() {
  holder_.reset(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!holder_.valid()) return;
  state_ = State::kFlushing;
  // In a process of its own, because it waits for the server.
  flusher_ = fork();
  if (flusher_ > 0) return;
  if (flusher_ == 0) {
    const int root = ::open(mountpoint_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _exit(root >= 0 && syncfs(root) == 0 ? 0 : 1);
  }
  release();
}

void HoldSocket::child_ended(pid_t child) {
  if (child != flusher_) return;
  flusher_ = 0;
  if (state_ != State::kFlushing) return;
  hold_.begin();
  waits_left_ = kWaitsForWriters;
  state_ = State::kDraining;
}

void HoldSocket::release() {
  if (state_ == State::kDraining || state_ == State::kHeld) hold_.end();
  holder_.reset();
  state_ = State::kIdle;
}

}  // namespace lamina

// The socket by which another process makes a mount's changes wait: whoever connects to it gets the line
//
//   held writers=N
//
// once no change is under way, and none begins until it closes its end (or dies). N: how many files processes
// have open that the kernel writes without asking the server (passthrough), which cannot be held. One at a
// time; others wait until the first is done. What mappings changed is written before.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "sys/hold.h"
#include "sys/unique_fd.h"

namespace lamina {

class HoldSocket {
 public:
  // `writers` counts such files. `mountpoint` and `hold` must outlive this.
  HoldSocket(Hold& hold, const std::string& mountpoint, std::function<uint32_t()> writers)
      : hold_(hold), mountpoint_(mountpoint), writers_(std::move(writers)) {}

  // Makes the socket, which only this user reaches by its directory; 0 or an errno.
  int open(const std::string& path);

  // What to poll(2), and for how long (milliseconds, -1: for ever).
  [[nodiscard]] pollfd watched() const;
  [[nodiscard]] int timeout() const { return state_ == State::kDraining ? 1 : -1; }
  // After each poll, whatever woke it.
  void step(short events);
  // A child of this process has ended.
  void child_ended(pid_t child);

 private:
  enum class State { kIdle, kFlushing, kDraining, kHeld };

  void accept_holder();
  void release();

  Hold& hold_;
  const std::string& mountpoint_;
  std::function<uint32_t()> writers_;
  UniqueFd listener_;
  UniqueFd holder_;
  State state_ = State::kIdle;
  pid_t flusher_ = 0;
  int waits_left_ = 0;
};

}  // namespace lamina

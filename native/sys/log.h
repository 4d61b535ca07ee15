// Messages to stderr, one line each. An error that a request can raise again and again is logged once per
// process through a LogOnce, so that a hostile or failing client cannot fill a disk.
#pragma once

#include <atomic>

namespace lamina {

[[gnu::format(printf, 1, 2)]] void log_line(const char* format, ...);

class LogOnce {
 public:
  // True for the first caller only, on any thread.
  bool first() { return !done_.exchange(true, std::memory_order_relaxed); }

 private:
  std::atomic<bool> done_{false};
};

}  // namespace lamina

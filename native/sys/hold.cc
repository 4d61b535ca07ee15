#include "sys/hold.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <climits>
#include <ctime>

namespace lamina {

namespace {

constexpr timespec kLookAgain{0, 200 * 1000 * 1000};

}  // namespace

void Hold::end() {
  held_.store(0);
  syscall(SYS_futex, &held_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Hold::enter() {
  for (;;) {
    // Counted before it looks: who holds looks at the count after it has said so.
    changing_.fetch_add(1);
    if (held_.load() == 0) return;
    changing_.fetch_sub(1);
    syscall(SYS_futex, &held_, FUTEX_WAIT, 1, &kLookAgain, nullptr, 0);
    // A supervisor that was killed lets nobody go on any more.
    if (held_.load() != 0 && getppid() != holder_.load()) end();
  }
}

}  // namespace lamina

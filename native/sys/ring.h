// A raw io_uring with 128-byte submissions, used by one thread alone (io_uring_setup(2), io_uring_enter(2)).
// Written out because liburing is not a dependency and little of it is needed.
#pragma once

#include <linux/io_uring.h>

#include <cstdint>

#include "sys/mapping.h"
#include "sys/unique_fd.h"

namespace lamina {

class Ring {
 public:
  // Sets up `entries` submissions; returns 0 or a positive errno (ENOSYS, EPERM where io_uring is switched
  // off).
  int open(uint32_t entries);

  [[nodiscard]] int fd() const { return fd_.get(); }

  // A zeroed submission, or null when the queue is full and enter() has to be called first.
  io_uring_sqe* next_submission();

  // Submits what was prepared and, with `wait`, sleeps until there is a completion. Returns 0 or a positive
  // errno.
  int enter(bool wait);

  // Calls `handle(user_data, result)` for each completion that is there.
  template <typename Handler>
  void drain(Handler&& handle) {
    uint32_t head = *completion_head_;
    while (head != __atomic_load_n(completion_tail_, __ATOMIC_ACQUIRE)) {
      const io_uring_cqe completion = completions_[head & completion_mask_];
      __atomic_store_n(completion_head_, ++head, __ATOMIC_RELEASE);
      handle(completion.user_data, completion.res);
    }
  }

 private:
  static constexpr uint32_t kSubmissionSize = 128;

  UniqueFd fd_;
  Mapping rings_;
  Mapping submissions_;
  uint32_t* submission_head_ = nullptr;
  uint32_t* submission_tail_ = nullptr;
  uint32_t submission_mask_ = 0;
  uint32_t* completion_head_ = nullptr;
  uint32_t* completion_tail_ = nullptr;
  uint32_t completion_mask_ = 0;
  io_uring_cqe* completions_ = nullptr;
  // Ours until enter() publishes it.
  uint32_t tail_ = 0;
  uint32_t prepared_ = 0;
};

}  // namespace lamina

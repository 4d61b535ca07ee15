// Finding requests that a killed io_uring server lost. A request that the kernel assigned to a ring entry
// while the entry's thread was exiting never reaches memory, and stays in the queue for ever
// (fs/fuse/dev_uring.c, fuse_uring_send_in_task with IO_URING_F_TASK_DEAD). Its unique is all that can be
// known of it: uniques are handed out in steps of two, so those that no server has seen are the candidates,
// and COMMIT_AND_FETCH answers a request by its unique.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "sys/mapping.h"

namespace lamina::fuse {

// The uniques that one thread saw last, in memory shared with the next server.
struct History {
  static constexpr uint32_t kLength = 8192;

  std::atomic<uint64_t> next;
  std::atomic<uint64_t> uniques[kLength];

  void add(uint64_t unique) {
    const uint64_t at = next.load(std::memory_order_relaxed);
    uniques[at % kLength].store(unique, std::memory_order_relaxed);
    next.store(at + 1, std::memory_order_release);
  }
};

class Recovery {
 public:
  // Takes the histories of the dead server; `first` is the first unique of the connection. `workers` threads
  // will sweep.
  Recovery(std::span<const History* const> histories, uint64_t first, uint32_t workers);

  // Notes a unique that this server has got. Any thread; costs nothing once over.
  void saw(uint64_t unique) {
    if (over_.load(std::memory_order_relaxed)) return;
    mark(unique);
  }
  // To be called by each worker after its sweep; the last one ends the noting.
  void swept() {
    if (to_sweep_.fetch_sub(1, std::memory_order_relaxed) == 1) over_.store(true, std::memory_order_relaxed);
  }

  // The highest unique seen so far.
  [[nodiscard]] uint64_t highest() const { return highest_.load(std::memory_order_relaxed); }
  // Uniques up to `limit` that nobody has seen, oldest first.
  [[nodiscard]] std::vector<uint64_t> unseen(uint64_t limit) const;

 private:
  static constexpr uint64_t kSpan = 1 << 20;

  void mark(uint64_t unique);

  // One bit a unique from base_ on.
  Mapping seen_memory_;
  std::atomic<uint64_t>* seen_ = nullptr;
  uint64_t base_;
  std::atomic<uint64_t> highest_{0};
  std::atomic<uint32_t> to_sweep_;
  std::atomic<bool> over_{false};
};

}  // namespace lamina::fuse

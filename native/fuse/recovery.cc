// A bit for each unique since the oldest that is still remembered.
#include "fuse/recovery.h"

#include <algorithm>

namespace lamina::fuse {

Recovery::Recovery(std::span<const History* const> histories, uint64_t first, uint32_t workers)
    : base_(first & ~uint64_t{1}), to_sweep_(workers) {
  // A history that has wrapped says nothing of what came before its oldest entry.
  for (const History* history : histories) {
    const uint64_t next = history->next.load(std::memory_order_acquire);
    if (next < History::kLength) continue;
    base_ = std::max(
        base_, history->uniques[next % History::kLength].load(std::memory_order_relaxed) & ~uint64_t{1});
  }
  seen_memory_ = Mapping::scratch(kSpan / 8);
  seen_ = reinterpret_cast<std::atomic<uint64_t>*>(seen_memory_.data());
  for (const History* history : histories) {
    const uint64_t next = history->next.load(std::memory_order_acquire);
    const uint64_t count = std::min<uint64_t>(next, History::kLength);
    for (uint64_t at = 0; at < count; ++at) mark(history->uniques[at].load(std::memory_order_relaxed));
  }
}

void Recovery::mark(uint64_t unique) {
  // Odd uniques are interrupts; they carry the number of the request they are about.
  if (seen_ == nullptr || (unique & 1) != 0 || unique < base_) return;
  const uint64_t bit = (unique - base_) / 2;
  if (bit >= kSpan) return;
  seen_[bit / 64].fetch_or(1ULL << (bit % 64), std::memory_order_relaxed);
  uint64_t highest = highest_.load(std::memory_order_relaxed);
  while (highest < unique && !highest_.compare_exchange_weak(highest, unique, std::memory_order_relaxed)) {
  }
}

std::vector<uint64_t> Recovery::unseen(uint64_t limit) const {
  std::vector<uint64_t> result;
  if (seen_ == nullptr) return result;
  for (uint64_t unique = base_; unique <= limit; unique += 2) {
    const uint64_t bit = (unique - base_) / 2;
    if (bit >= kSpan) break;
    if ((seen_[bit / 64].load(std::memory_order_relaxed) >> (bit % 64) & 1) == 0) result.push_back(unique);
  }
  return result;
}

}  // namespace lamina::fuse

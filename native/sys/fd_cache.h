// Open descriptors by key, a bounded number of them, the longest unused closed first. One that is in use when
// it is dropped is closed by its last user.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "sys/unique_fd.h"

namespace lamina {

struct OpenFile {
  UniqueFd fd;
  bool writable = false;
  [[nodiscard]] int get() const { return fd.get(); }
};
using FileRef = std::shared_ptr<OpenFile>;

class FdCache {
 public:
  // At most about `capacity` descriptors.
  explicit FdCache(size_t capacity) : per_shard_(capacity / kShards + 1) {}

  [[nodiscard]] FileRef get(uint64_t key) {
    Shard& shard = shards_[key % kShards];
    const std::lock_guard guard(shard.mutex);
    const auto found = shard.entries.find(key);
    if (found == shard.entries.end()) return nullptr;
    shard.order.splice(shard.order.begin(), shard.order, found->second);
    return found->second->second;
  }

  void put(uint64_t key, FileRef file) {
    Shard& shard = shards_[key % kShards];
    FileRef dropped;
    const std::lock_guard guard(shard.mutex);
    if (const auto found = shard.entries.find(key); found != shard.entries.end()) {
      dropped = std::move(found->second->second);
      found->second->second = std::move(file);
      return;
    }
    if (shard.entries.size() >= per_shard_) {
      dropped = std::move(shard.order.back().second);
      shard.entries.erase(shard.order.back().first);
      shard.order.pop_back();
    }
    shard.order.emplace_front(key, std::move(file));
    shard.entries[key] = shard.order.begin();
  }

  void drop(uint64_t key) {
    Shard& shard = shards_[key % kShards];
    FileRef dropped;
    const std::lock_guard guard(shard.mutex);
    const auto found = shard.entries.find(key);
    if (found == shard.entries.end()) return;
    dropped = std::move(found->second->second);
    shard.order.erase(found->second);
    shard.entries.erase(found);
  }

 private:
  static constexpr size_t kShards = 16;
  using Order = std::list<std::pair<uint64_t, FileRef>>;
  struct Shard {
    std::mutex mutex;
    Order order;
    std::unordered_map<uint64_t, Order::iterator> entries;
  };

  size_t per_shard_;
  Shard shards_[kShards];
};

}  // namespace lamina

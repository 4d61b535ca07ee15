// What the kernel holds handles of: for each node its name, its directory, and how often the kernel was told
// of it.
//
// Node ids up to `toc_count` are the merged TOC's inos. Such a node has a record only once something about it
// differs from the TOC (it was copied up, or removed); all other nodes (of the upper directory and of lower
// directories) have one as long as the kernel knows them.
//
// The records lie in memory that successive servers share, so that a server that is killed is replaced under
// a live mount: every field that must survive changes by one atomic store, and the indexes over the records
// are each server's own, made anew by recover(). Everything else about a node can be read from disk.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sys/mapping.h"

namespace lamina::overlay {

enum NodeFlag : uint32_t {
  // The node's object lies in the upper directory.
  kUpper = 1,
  // Its data is still the lower file's.
  kMetacopy = 2,
  // Its name is gone; the object lies in the work directory until the kernel forgets it.
  kOrphan = 4,
  // Its name is gone and it has no object of its own (a lower file, a removed directory).
  kRemoved = 8,
  // A directory of the upper that hides what is below it.
  kOpaque = 16,
  // Some of its names are still only in a lower layer.
  kNamesBelow = 32,
  // It has no file capability, which the kernel asks for whenever a file changes.
  kNoCapability = 64,
  // It is open for writing, and the kernel writes it itself.
  kWritten = 128,
  // It has no extended attributes that users see.
  kNoXattrs = 256,
  // Whoever has it open has it by its backing file; else through the kernel's cache.
  kOpenPassthrough = 512,
  // The kernel wrote it itself: pages of its cache may be older.
  kCacheStale = 1024,
  // Who writes by its backing file keeps setuid bits, as root does; and somebody else has joined since.
  kTrustedBacking = 2048,
  kUntrustedWriter = 4096,
};

struct Place {
  uint64_t parent = 0;
  std::string name;
};

// One slot of the shared memory: a node, or a part of a name.
struct alignas(64) NodeRecord {
  std::atomic<uint32_t> state;
  std::atomic<uint32_t> flags;
  // Parent node id in the upper half, slot of the name in the lower; one store moves a node.
  std::atomic<uint64_t> place;
  std::atomic<uint64_t> lookups;
  // What stat shows.
  uint64_t ino;
  // The upper object's st_ino, 0 when there is none: how a path is known to lead to this node.
  std::atomic<uint64_t> object;
  uint32_t node;
  uint32_t generation;
  // How often the file is open, and by which backing file the kernel has it open (0: through its cache).
  std::atomic<uint32_t> opens;
  std::atomic<uint32_t> backing;

  [[nodiscard]] bool has(uint32_t flag) const { return (flags.load(std::memory_order_acquire) & flag) != 0; }
  void set(uint32_t flag) { flags.fetch_or(flag, std::memory_order_acq_rel); }
  void clear(uint32_t flag) { flags.fetch_and(~flag, std::memory_order_acq_rel); }
};
static_assert(sizeof(NodeRecord) == 64);

class NodeTable {
 public:
  // Makes the shared memory; false when there is none (errno). Before the first fork.
  bool create(uint32_t toc_count);
  // Makes this process's indexes from the records; to be called by each server before it answers.
  void recover();

  // The record of a node, or null: a TOC node without one, or no node at all.
  [[nodiscard]] NodeRecord* find(uint64_t node) const;
  [[nodiscard]] bool is_toc(uint64_t node) const { return node >= 1 && node <= toc_count_; }

  // The record of the node that shows `ino`; made when it is missing, with one more lookup in any case.
  // `node` is the TOC's ino, or 0 for a node of its own. Null when memory has run out.
  NodeRecord* intern(uint64_t ino, uint64_t node, uint64_t parent, std::string_view name, uint32_t flags,
                     uint64_t object);
  // A record for a TOC node that the kernel knows already.
  NodeRecord* attach(uint64_t node, uint64_t parent, std::string_view name, uint32_t flags, uint64_t object);
  static void count_lookup(NodeRecord& record) { record.lookups.fetch_add(1, std::memory_order_relaxed); }
  // The kernel is being told of a TOC node: counted in its record, which is returned, or where it has none on
  // its own.
  NodeRecord* count_toc_lookup(uint64_t node);
  // The node of an ino, or 0.
  [[nodiscard]] uint64_t node_of_ino(uint64_t ino) const;

  // The node is removed, or not after all. Its object's number may be given to a new object at once, which
  // must not be taken for this node.
  void set_removed(NodeRecord& record, bool removed);

  [[nodiscard]] Place place(const NodeRecord& record) const;
  void move(NodeRecord& record, uint64_t parent, std::string_view name);

  // Opens of TOC nodes without record, which go to the record when there is one.
  std::atomic<uint64_t>& toc_opens(uint64_t node) { return toc_lookups()[toc_count_ + 1 + node]; }

  // How many nodes are as `is` says.
  [[nodiscard]] uint32_t count(const std::function<bool(const NodeRecord&)>& is) const;

  // Drops references. When none are left, calls last(record), and then frees the record: what is kept
  // elsewhere under the node's id must be gone before the id is used again.
  void forget(uint64_t node, uint64_t count, const std::function<void(const NodeRecord&)>& last);

 private:
  static constexpr uint32_t kMaxSlots = 1U << 24;
  static constexpr uint32_t kShards = 64;
  enum State : uint32_t { kFree = 0, kNode = 1, kName = 2 };

  struct NameSlot {
    std::atomic<uint32_t> state;
    uint32_t next;
    uint16_t length;  // of the bytes in this slot
    char bytes[54];
  };
  static_assert(sizeof(NameSlot) == 64);

  struct Shard {
    mutable std::shared_mutex mutex;
    std::unordered_map<uint64_t, uint32_t> slot_of_ino;
  };

  [[nodiscard]] NodeRecord& slot(uint32_t index) const {
    return reinterpret_cast<NodeRecord*>(slots_.data())[index];
  }
  [[nodiscard]] NameSlot& name_slot(uint32_t index) const {
    return reinterpret_cast<NameSlot*>(slots_.data())[index];
  }
  [[nodiscard]] std::atomic<uint32_t>& high_water() const {
    return *reinterpret_cast<std::atomic<uint32_t>*>(slots_.data());
  }
  [[nodiscard]] std::atomic<uint64_t>* toc_lookups() const {
    return reinterpret_cast<std::atomic<uint64_t>*>(toc_lookups_.data());
  }
  [[nodiscard]] Shard& shard(uint64_t ino) const { return shards_[ino % kShards]; }
  [[nodiscard]] std::shared_mutex& place_lock(const NodeRecord& record) const {
    return place_locks_[(reinterpret_cast<uintptr_t>(&record) / sizeof(NodeRecord)) % kShards];
  }

  uint32_t take_slot();
  void free_slot(uint32_t index);
  // The first slot of a name, or 0 when memory has run out.
  uint32_t write_name(std::string_view name);
  void free_name(uint32_t index);
  [[nodiscard]] std::string read_name(uint32_t index) const;
  NodeRecord* make(uint64_t ino, uint64_t node, uint64_t parent, std::string_view name, uint32_t flags,
                   uint64_t object, uint64_t lookups);

  uint32_t toc_count_ = 0;
  Mapping slots_;
  Mapping toc_lookups_;
  // Slot of each TOC node's record, 0 = none.
  std::unique_ptr<std::atomic<uint32_t>[]> toc_slots_;
  std::unique_ptr<Shard[]> shards_ = std::make_unique<Shard[]>(kShards);
  std::unique_ptr<std::shared_mutex[]> place_locks_ = std::make_unique<std::shared_mutex[]>(kShards);
  std::mutex free_mutex_;
  std::vector<uint32_t> free_;
};

}  // namespace lamina::overlay

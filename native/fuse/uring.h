// Serving over io_uring: per CPU a queue of entries, each a header and a payload buffer that the kernel fills
// with a request and takes the reply from (kernel: fs/fuse/dev_uring.c,
// Documentation/filesystems/fuse/fuse-io-uring.rst).
//
// Killing a server must not lose requests. Entries lie in memory shared with the next server, at the same
// addresses:
//  - a request that was delivered is answered by the next server, which commits it by its unique from its own
//  ring;
//  - the entries that waited for a request are gone, so each server registers entries of its own (one Arena a
//  server);
//  - a request assigned to an entry while its thread exited was never delivered. It is found by its unique
//  (Recovery) and
//    answered ESTALE, which makes the kernel look the path up again.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "fuse/abi.h"
#include "fuse/service.h"
#include "sys/cpus.h"
#include "sys/helpers.h"
#include "sys/mapping.h"
#include "sys/ring.h"

namespace lamina::fuse {

// One entry in shared memory. The reply is written over the request, so what answering needs is copied first.
struct UringEntry {
  UringReqHeader header;
  // The unique of the request whose copy is whole, and of the one whose reply is whole.
  std::atomic<uint64_t> saved;
  std::atomic<uint64_t> replied;
  uint32_t tries;
  uint32_t opcode;
  uint64_t nodeid;
  Caller caller;
  uint32_t tail_size;
  // Not 0: the kernel has taken the entry back, and neither reads nor writes it any more.
  std::atomic<uint32_t> dead;
  // Names and the text of a symbolic link fit. Of what does not (data to be written, the value of an
  // attribute) the beginning is kept: the only reply to those is shorter than that.
  uint8_t tail[4864];
};
inline constexpr size_t kEntrySize = 8192;
static_assert(sizeof(UringEntry) <= kEntrySize);

// The entries of one server: `depth` for each of `queues` queues.
class Arena {
 public:
  bool create(uint32_t queues, uint32_t depth);
  // True when every entry is dead, so that the memory can be given to another server.
  [[nodiscard]] bool all_dead() const;
  // Makes a dead arena as new.
  void reset();
  [[nodiscard]] uint32_t queues() const { return queues_; }
  [[nodiscard]] uint32_t depth() const { return depth_; }
  [[nodiscard]] UringEntry* entry(uint32_t queue, uint32_t index) const {
    return reinterpret_cast<UringEntry*>(entries_.data() + (queue * depth_ + index) * kEntrySize);
  }
  [[nodiscard]] uint8_t* payload(uint32_t queue, uint32_t index) const {
    return payloads_.data() + (queue * depth_ + index) * kMaxPayload;
  }

 private:
  Mapping entries_;
  Mapping payloads_;
  uint32_t queues_ = 0;
  uint32_t depth_ = 0;
};

// One thread with its ring, serving the queues it was given.
class UringWorker {
 public:
  // `helpers` may be null: then no request is one that may block.
  UringWorker(int fd, std::vector<uint16_t> queues, Service& service, Helpers* helpers);

  // By the thread that will run(): it gives way to its clients (sys/cpus.h).
  void give_way() { gives_way_.begin(); }
  // Sets up the ring; to be called by the thread that will run(). Returns 0 or a positive errno.
  int open();
  // Registers the entries of the last arena, takes over those of the others, then serves until the connection
  // ends. `registered` is called once, with 0 or the errno by which the kernel refused. Returns as
  // DeviceChannel::run does.
  template <typename Registered>
  int run(std::span<const Arena> arenas, size_t own, Registered&& registered) {
    const int error = register_entries(arenas[own]);
    registered(error);
    if (error != 0) return error;
    for (size_t index = 0; index < arenas.size(); ++index) {
      if (index != own) take_over(arenas[index]);
    }
    return serve();
  }

 private:
  enum class State { kNew, kLive, kTakenOver };
  struct Entry {
    UringEntry* shared;
    uint8_t* payload;
    uint16_t queue;
    State state;
    // What registering points at.
    iovec vectors[2];
  };

  Entry& add_entry(const Arena& arena, uint16_t queue, uint32_t index, State state);

  int register_entries(const Arena& arena);
  void take_over(const Arena& arena);
  int serve();
  void complete(uint64_t user_data, int result);
  void answer(Entry& entry);
  // What the request in an entry says; the request's parts stay in the entry.
  static Request request_of(Entry& entry);
  // Performs the request and writes the reply into the entry, on any thread.
  void perform(Entry& entry, const Request& request);
  // Waits, as part of the ring, for entries that helpers have finished, and commits those that there are.
  void watch_helpers();
  void commit_helped();
  void bury(Entry& entry);
  void submit(UringCommand command, Entry& entry);

  int fd_;
  std::vector<uint16_t> queues_;
  Service& service_;
  Ring ring_;
  // Never completes anything; see open().
  Ring guard_;
  Helpers* helpers_;
  // Told by helpers of the entries in `helped_`.
  UniqueFd wake_;
  std::mutex helped_mutex_;
  std::vector<Entry*> helped_;
  std::atomic<uint32_t> helping_{0};
  // Stable addresses: submissions point at them.
  std::vector<std::unique_ptr<Entry>> entries_;
  int ended_ = 0;
  GivesWay gives_way_;
};

}  // namespace lamina::fuse

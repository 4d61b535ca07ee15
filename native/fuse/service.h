// What a channel does with a request once it has one: counts it and performs it. Channels (fuse/channel,
// fuse/uring) differ only in how bytes reach the kernel.
#pragma once

#include <cerrno>

#include "fuse/dispatch.h"
#include "sys/hold.h"
#include "sys/stats.h"

namespace lamina::fuse {

// Largest READ and directory buffer: MAX_PAGES pages, as negotiated by INIT.
inline constexpr uint32_t kMaxPagesGranted = 256;
inline constexpr size_t kMaxPayload = kMaxPagesGranted * 4096UL;

// How often a request is tried again after the server died in it; then it is answered EIO, because it may be
// what kills.
inline constexpr uint32_t kMaxTries = 3;

class Service {
 public:
  // `hold` (may be null) makes what changes something wait.
  Service(Filesystem& filesystem, Stats& stats, Hold* hold)
      : filesystem_(filesystem), stats_(stats), hold_(hold) {}

  // Performs `request`; returns 0 or a positive errno.
  int serve(const Request& request, Reply& reply) {
    stats_.add(stats_.requests[request.opcode < kOpcodeLimit ? request.opcode : 0]);
    const Hold::Change change(is_change(request) ? hold_ : nullptr);
    const int error = dispatch(filesystem_, request, reply);
    if (error == EIO) stats_.add(stats_.io_errors);
    if (request.opcode == kRead) stats_.add(stats_.bytes_read, reply.size());
    return error;
  }

  [[nodiscard]] bool may_block(const Request& request) { return filesystem_.may_block(request); }

  Stats& stats() { return stats_; }

 private:
  Filesystem& filesystem_;
  Stats& stats_;
  Hold* hold_;
};

}  // namespace lamina::fuse

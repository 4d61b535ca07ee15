// Counters that other processes may read while the server runs: the file given by --stats-fd, mapped shared.
//
//   offset size
//      0     8   magic: the bytes "LAMSTAT1"
//      8     4   version = 1
//     12     4   size of this record = 576
//     16     8   process id of the server that answers now
//     24     8   how often a server died and was replaced
//     32     8   1 when requests come by io_uring, 0 when by /dev/fuse
//     40     8   bytes of file content given to the kernel
//     48     8   replies that were EIO
//     56     8   requests of a killed server that its successor answered
//     64   512   requests by FUSE opcode: 64 counters, index = opcode (higher ones are counted under 0)
//
// All little-endian, counters unsigned and never reset. Updates are relaxed: a reader sees each counter
// whole, but not all of them at one instant.
#pragma once

#include <atomic>
#include <cstdint>

#include "sys/mapping.h"

namespace lamina {

struct Stats {
  char magic[8];
  uint32_t version;
  uint32_t size;
  std::atomic<uint64_t> server_pid;
  std::atomic<uint64_t> restarts;
  std::atomic<uint64_t> uring;
  std::atomic<uint64_t> bytes_read;
  std::atomic<uint64_t> io_errors;
  std::atomic<uint64_t> taken_over;
  std::atomic<uint64_t> requests[64];

  void add(std::atomic<uint64_t>& counter, uint64_t amount = 1) {
    counter.fetch_add(amount, std::memory_order_relaxed);
  }
};
static_assert(sizeof(Stats) == 576);

// The counters in file `fd`, or in memory shared with later forks when `fd` is negative. Not valid() on
// error; errno says why.
Mapping map_stats(int fd);

}  // namespace lamina

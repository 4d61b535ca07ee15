// Layers whose bytes are still on their way. Another process (the fetcher) writes them into the files that
// the sources are, and says in a map in shared memory which blocks are there; what is not there is asked of
// it over a socket. FORMAT.md, "Presence map" and "Asking for bytes", is the specification.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sys/failure.h"
#include "sys/log.h"
#include "sys/mapping.h"

namespace lamina::overlay {

// As the command line has it.
struct ArrivalOptions {
  struct Map {
    uint32_t source;
    int fd;
  };
  std::vector<Map> maps;
  // Where the fetcher listens; absolute.
  std::string socket;
  // A read that had to wait for longer is answered EIO.
  uint32_t timeout_ms = 30000;
};

class Arrivals {
 public:
  // `lengths` are those of the sources, bottom to top.
  bool open(const ArrivalOptions& options, const std::vector<uint64_t>& lengths, Failure& failure);

  // Whether `length` bytes from `offset` of a source are all there. What has come stays.
  [[nodiscard]] bool has(uint32_t source, uint64_t offset, uint64_t length) const;
  // Waits until they are. Returns 0, or EIO when they did not come in time or cannot come.
  int await(uint32_t source, uint64_t offset, uint64_t length);

 private:
  struct Map {
    Mapping mapping;
    uint64_t length;
    uint32_t block_shift;
  };
  // Asks once; 0 when the fetcher says that they are there, EAGAIN when it is to be asked again, or an errno.
  int ask(uint32_t source, uint64_t offset, uint64_t length, int64_t deadline_ms);

  // By source; null where all was there from the beginning.
  std::vector<std::unique_ptr<Map>> maps_;
  std::string socket_;
  uint32_t timeout_ms_ = 0;
  LogOnce refusal_logged_;
  LogOnce timeout_logged_;
};

}  // namespace lamina::overlay

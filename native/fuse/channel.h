// Serving over /dev/fuse: one thread, one (cloned) descriptor, one request at a time. The request is read
// into memory that is shared with the next server, so that a request whose server was killed is answered by
// its successor. (The kernel's own NOTIFY_RESEND does this too, but only from 6.9 on.)
#pragma once

#include <atomic>
#include <cstdint>

#include "fuse/service.h"

namespace lamina::fuse {

// One thread's request and its reply, in shared memory. A request is unanswered while its header's unique
// differs from `answered`; what has been performed, but perhaps not sent, is `replied`. Then only the reply
// is sent again: whoever got it may have gone on, and what came after must not be undone by doing the request
// once more.
struct DeviceSlot {
  std::atomic<uint64_t> answered;
  std::atomic<uint64_t> replied;
  // The request that was begun last, and how often.
  uint64_t begun;
  uint32_t tries;
  uint32_t reserved;
  // As much of it as the channel's request size says.
  alignas(4096) uint8_t request[kMaxWrite + 8192];
  // The header right before the page-aligned body, so that one write(2) sends both.
  alignas(4096) uint8_t reply[4096 + kMaxPayload];
};

class DeviceChannel {
 public:
  // `fd` and `slot` must outlive the channel. `max_write`: as negotiated by INIT.
  DeviceChannel(int fd, DeviceSlot& slot, Service& service, uint32_t max_write)
      : fd_(fd),
        slot_(slot),
        service_(service),
        request_size_(max_write + kMinReadBuffer),
        body_(slot.reply + 4096) {}

  // Where nothing but FORGET and INTERRUPT comes this way: waits a little after each FORGET, so that the
  // kernel hands over many at a time. Each costs a change of tasks otherwise.
  void gather_forgets() { gather_ = true; }

  // Serves until the connection ends; returns ENODEV (unmounted), ECONNABORTED, or what else read(2) said.
  int run();

 private:
  void answer(size_t length);
  void send(uint64_t unique, int error, size_t body_size);
  // The reply that stands in the slot.
  void send_again();

  int fd_;
  DeviceSlot& slot_;
  Service& service_;
  size_t request_size_;
  bool gather_ = false;
  uint8_t* body_;
};

}  // namespace lamina::fuse

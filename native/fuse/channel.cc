// The read-answer-write loop of /dev/fuse (kernel: fs/fuse/dev.c, fuse_dev_do_read and fuse_dev_do_write).
#include "fuse/channel.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "sys/log.h"

namespace lamina::fuse {

namespace {

constexpr size_t kPage = 4096;
constexpr timespec kGatherPause{0, 2 * 1000 * 1000};
LogOnce write_error_logged;

}  // namespace

int DeviceChannel::run() {
  // Touched now: a read(2) that is killed while it brings in a page would fail the request.
  for (size_t at = 0; at < request_size_; at += kPage) {
    volatile uint8_t* byte = &slot_.request[at];
    *byte = *byte;
  }
  InHeader left_over;
  memcpy(&left_over, slot_.request, sizeof left_over);
  if (left_over.unique != slot_.answered.load(std::memory_order_relaxed)) {
    service_.stats().add(service_.stats().taken_over);
    if (left_over.unique == slot_.replied.load(std::memory_order_acquire)) {
      send_again();
    } else {
      answer(request_size_);
    }
  }

  for (;;) {
    const ssize_t length = read(fd_, slot_.request, request_size_);
    if (length > 0) {
      answer(static_cast<size_t>(length));
      continue;
    }
    // Never from the kernel; the end of a socket that stands in for it.
    if (length == 0) return ENODEV;
    // ENOENT: the request was interrupted before it could be read.
    if (errno != EINTR && errno != EAGAIN && errno != ENOENT) return errno;
  }
}

void DeviceChannel::answer(size_t length) {
  auto request = parse_request({slot_.request, length});
  if (!request) return;
  const uint64_t unique = request->unique;
  slot_.tries = slot_.begun == unique ? slot_.tries + 1 : 1;
  slot_.begun = unique;
  request->caller.replayed = slot_.tries > 1;
  Reply reply(body_, kMaxPayload);
  if (is_silent(request->opcode)) {
    // Done at most once: a reference that is dropped twice would take a node from under its users.
    slot_.answered.store(unique, std::memory_order_release);
    service_.serve(*request, reply);
    if (gather_) nanosleep(&kGatherPause, nullptr);
    return;
  }
  const int error = slot_.tries > kMaxTries ? EIO : service_.serve(*request, reply);
  send(unique, error, error == 0 ? reply.size() : 0);
  slot_.answered.store(unique, std::memory_order_release);
}

void DeviceChannel::send(uint64_t unique, int error, size_t body_size) {
  const OutHeader header{static_cast<uint32_t>(sizeof(OutHeader) + body_size), -error, unique};
  uint8_t* start = body_ - sizeof header;
  memcpy(start, &header, sizeof header);
  slot_.replied.store(unique, std::memory_order_release);
  // ENOENT: the request is gone, because it was interrupted or because the server before this one answered
  // it.
  if (write(fd_, start, header.len) >= 0 || errno == ENOENT || errno == ENODEV) return;
  if (write_error_logged.first()) log_line("the kernel refused a reply: %s; answering EIO", strerror(errno));
  if (error == 0) send(unique, EIO, 0);
}

void DeviceChannel::send_again() {
  OutHeader header;
  memcpy(&header, body_ - sizeof header, sizeof header);
  // ENOENT: the kernel has it.
  [[maybe_unused]] const ssize_t written = write(fd_, body_ - sizeof header, header.len);
  slot_.answered.store(header.unique, std::memory_order_release);
}

}  // namespace lamina::fuse

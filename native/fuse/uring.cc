// Registering entries, answering requests in place, and taking over from a server that was killed.
#include "fuse/uring.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sys/log.h"

namespace lamina::fuse {

namespace {

// Values of user_data that are no entry's address.
constexpr uint64_t kGuard = 1;
constexpr uint64_t kWake = 2;
constexpr uint32_t kRingSize = 64;

LogOnce commit_error_logged;

}  // namespace

bool Arena::create(uint32_t queues, uint32_t depth) {
  queues_ = queues;
  depth_ = depth;
  entries_ = Mapping::shared(static_cast<size_t>(queues) * depth * kEntrySize);
  payloads_ = Mapping::shared(static_cast<size_t>(queues) * depth * kMaxPayload);
  return entries_.valid() && payloads_.valid();
}

bool Arena::all_dead() const {
  for (uint32_t queue = 0; queue < queues_; ++queue) {
    for (uint32_t index = 0; index < depth_; ++index) {
      if (entry(queue, index)->dead.load(std::memory_order_acquire) == 0) return false;
    }
  }
  return true;
}

void Arena::reset() { memset(entries_.data(), 0, entries_.size()); }

UringWorker::UringWorker(int fd, std::vector<uint16_t> queues, Service& service, Helpers* helpers)
    : fd_(fd), queues_(std::move(queues)), service_(service), helpers_(helpers) {}

int UringWorker::open() {
  int error = ring_.open(kRingSize);
  if (error == 0) error = guard_.open(1);
  if (error != 0) return error;
  // When a thread is killed, the kernel takes its waiting ring entries back at the start of its exit only if
  // the thread has a request "in flight" in the narrow sense, which a poll of another ring is
  // (io_uring_cancel_generic, inflight_tracked); else some time after the process's memory is gone, and
  // what is assigned to an entry until then fails. This poll never completes.
  io_uring_sqe* submission = ring_.next_submission();
  submission->opcode = IORING_OP_POLL_ADD;
  submission->fd = guard_.fd();
  submission->poll32_events = POLLIN;
  submission->user_data = kGuard;
  if (helpers_ == nullptr) return 0;
  wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.valid()) return errno;
  watch_helpers();
  return 0;
}

void UringWorker::watch_helpers() {
  io_uring_sqe* submission = ring_.next_submission();
  if (submission == nullptr) {
    ring_.enter(false);
    submission = ring_.next_submission();
  }
  if (submission == nullptr) return;
  submission->opcode = IORING_OP_POLL_ADD;
  submission->fd = wake_.get();
  submission->poll32_events = POLLIN;
  submission->user_data = kWake;
}

void UringWorker::commit_helped() {
  uint64_t count;
  [[maybe_unused]] const ssize_t got = read(wake_.get(), &count, sizeof count);
  std::vector<Entry*> done;
  {
    const std::lock_guard guard(helped_mutex_);
    done.swap(helped_);
  }
  for (Entry* entry : done) submit(kUringCommitAndFetch, *entry);
  watch_helpers();
}

UringWorker::Entry& UringWorker::add_entry(const Arena& arena, uint16_t queue, uint32_t index, State state) {
  UringEntry* shared = arena.entry(queue, index);
  uint8_t* payload = arena.payload(queue, index);
  entries_.push_back(std::make_unique<Entry>(Entry{
      shared, payload, queue, state, {{&shared->header, sizeof shared->header}, {payload, kMaxPayload}}}));
  return *entries_.back();
}

void UringWorker::submit(UringCommand command, Entry& entry) {
  io_uring_sqe* submission = ring_.next_submission();
  while (submission == nullptr) {
    const int error = ring_.enter(false);
    if (error != 0 && error != EINTR && error != EAGAIN && error != EBUSY) {
      ended_ = error;
      return;
    }
    submission = ring_.next_submission();
  }
  submission->opcode = IORING_OP_URING_CMD;
  submission->fd = fd_;
  submission->cmd_op = command;
  submission->user_data = reinterpret_cast<uint64_t>(&entry);
  UringCmdReq request{.flags = 0, .commit_id = 0, .qid = entry.queue, .padding = {}};
  if (command == kUringRegister) {
    submission->addr = reinterpret_cast<uint64_t>(entry.vectors);
    submission->len = 2;
  } else {
    request.commit_id = entry.shared->header.ring.commit_id;
  }
  memcpy(submission->cmd, &request, sizeof request);
}

int UringWorker::register_entries(const Arena& arena) {
  int refused = 0;
  for (const uint16_t queue : queues_) {
    for (uint32_t index = 0; index < arena.depth(); ++index) {
      Entry& entry = add_entry(arena, queue, index, State::kNew);
      // Touched now: the kernel writes here while this thread may be dying, when no page can be brought in
      // any more.
      entry.shared->dead.store(0, std::memory_order_relaxed);
      *static_cast<volatile uint8_t*>(entry.payload) = 0;
      submit(kUringRegister, entry);
      // The kernel has answered when this returns, if it refuses.
      if (const int error = ring_.enter(false); error != 0) return error;
      ring_.drain([&](uint64_t user_data, int result) {
        if (user_data == reinterpret_cast<uint64_t>(&entry) && result < 0) {
          refused = -result;
        } else {
          complete(user_data, result);
        }
      });
      if (refused != 0) return refused;
    }
  }
  return 0;
}

void UringWorker::take_over(const Arena& arena) {
  for (const uint16_t queue : queues_) {
    for (uint32_t index = 0; index < arena.depth(); ++index) {
      UringEntry& shared = *arena.entry(queue, index);
      if (shared.dead.load(std::memory_order_acquire) != 0) continue;
      Entry& entry = add_entry(arena, queue, index, State::kTakenOver);
      const uint64_t commit_id = shared.header.ring.commit_id;
      if (commit_id == 0) {
        bury(entry);
      } else if (shared.replied.load(std::memory_order_acquire) == commit_id) {
        // Perhaps the kernel has the reply already, and says so.
        submit(kUringCommitAndFetch, entry);
      } else {
        service_.stats().add(service_.stats().taken_over);
        answer(entry);
      }
    }
  }
}

int UringWorker::serve() {
  while (ended_ == 0) {
    const int error = ring_.enter(true);
    if (error != 0 && error != EINTR && error != EAGAIN && error != EBUSY) {
      ended_ = error;
      break;
    }
    ring_.drain([this](uint64_t user_data, int result) { complete(user_data, result); });
  }
  // Helpers that are still at work use this object.
  while (helping_.load() != 0) sched_yield();
  return ended_;
}

void UringWorker::complete(uint64_t user_data, int result) {
  if (user_data == kGuard) return;
  if (user_data == kWake) return commit_helped();
  Entry& entry = *reinterpret_cast<Entry*>(user_data);
  if (result == 0) {
    entry.state = State::kLive;
    answer(entry);
  } else if (result == -ENOTCONN || result == -ECONNABORTED) {
    // On the way down every entry says so; the connection is what ends, not the entry.
    ended_ = ENODEV;
  } else if (entry.state == State::kTakenOver) {
    bury(entry);
  } else {
    // A queue without entries would hang its clients: the kernel gets the same memory as a new entry.
    if (commit_error_logged.first())
      log_line("the kernel refused a reply by io_uring: %s", strerror(-result));
    submit(kUringRegister, entry);
  }
}

void UringWorker::bury(Entry& entry) {
  // Each server that dies leaves its buffers; without this they would add up.
  madvise(entry.payload, kMaxPayload, MADV_REMOVE);
  entry.shared->dead.store(1, std::memory_order_release);
}

Request UringWorker::request_of(Entry& entry) {
  UringEntry& shared = *entry.shared;
  const uint64_t unique = shared.header.ring.commit_id;
  if (shared.saved.load(std::memory_order_acquire) != unique) {
    const uint32_t tail_size = std::min<uint32_t>(shared.header.ring.payload_size, kMaxPayload);
    shared.opcode = shared.header.in.opcode;
    shared.nodeid = shared.header.in.nodeid;
    shared.caller = {shared.header.in.uid, shared.header.in.gid, shared.header.in.pid};
    shared.tail_size = tail_size;
    shared.tries = 0;
    memcpy(shared.tail, entry.payload, std::min<size_t>(tail_size, sizeof shared.tail));
    shared.saved.store(unique, std::memory_order_release);
  }
  ++shared.tries;
  shared.caller.replayed = shared.tries > 1;
  const uint8_t* tail = shared.tail;
  if (shared.tail_size > sizeof shared.tail) {
    // Read where the kernel put it. The server before this one may have begun to write its reply over it.
    if (shared.caller.replayed) memcpy(entry.payload, shared.tail, sizeof shared.tail);
    tail = entry.payload;
  }
  return {.opcode = shared.opcode,
          .unique = unique,
          .nodeid = shared.nodeid,
          .caller = shared.caller,
          .record = shared.header.op_in,
          .tail = {tail, shared.tail_size}};
}

void UringWorker::perform(Entry& entry, const Request& request) {
  UringEntry& shared = *entry.shared;
  Reply reply(entry.payload, kMaxPayload);
  const int error = shared.tries > kMaxTries ? EIO : service_.serve(request, reply);
  const size_t body = error == 0 ? reply.size() : 0;
  shared.header.out = {static_cast<uint32_t>(sizeof(OutHeader) + body), -error, request.unique};
  shared.header.ring.payload_size = static_cast<uint32_t>(body);
  shared.replied.store(request.unique, std::memory_order_release);
}

void UringWorker::answer(Entry& entry) {
  const Request request = request_of(entry);
  if (helpers_ != nullptr && service_.may_block(request)) {
    helping_.fetch_add(1);
    const bool helped = helpers_->run([this, &entry, request] {
      perform(entry, request);
      {
        const std::lock_guard guard(helped_mutex_);
        helped_.push_back(&entry);
      }
      const uint64_t one = 1;
      [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof one);
      helping_.fetch_sub(1);
    });
    if (helped) return;
    helping_.fetch_sub(1);
  }
  perform(entry, request);
  submit(kUringCommitAndFetch, entry);
  gives_way_.answered();
}

}  // namespace lamina::fuse

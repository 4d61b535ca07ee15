// Registering entries, answering requests in place, and taking over from a server that was killed.
#include "fuse/uring.h"

#include <sys/mman.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sys/log.h"

namespace lamina::fuse {

namespace {

// Values of user_data that are no entry's address.
constexpr uint64_t kSwept = 1;        // COMMIT_AND_FETCH for a request that may be lost
constexpr uint64_t kFirstTimer = 2;   // by now the dead server's ring is gone
constexpr uint64_t kSecondTimer = 3;  // by now every older request was delivered, or is lost

constexpr uint32_t kRingSize = 64;
// Long against the exit of a process, short against the patience of a person.
constexpr __kernel_timespec kRecoveryDelay{.tv_sec = 0, .tv_nsec = 60 * 1000 * 1000};

LogOnce commit_error_logged;

}  // namespace

bool Arena::create(uint32_t queues, uint32_t depth) {
  queues_ = queues;
  depth_ = depth;
  entries_ = Mapping::shared(static_cast<size_t>(queues) * depth * kEntrySize);
  payloads_ = Mapping::shared(static_cast<size_t>(queues) * depth * kMaxPayload);
  return entries_.valid() && payloads_.valid();
}

UringWorker::UringWorker(int fd, std::vector<uint16_t> queues, Service& service, History& history,
                         Recovery* recovery)
    : fd_(fd), queues_(std::move(queues)), service_(service), history_(history), recovery_(recovery) {}

int UringWorker::open() { return ring_.open(kRingSize); }

void UringWorker::submit_command(UringCommand command, uint16_t queue, uint64_t commit_id, uint64_t user_data,
                                 const void* vectors) {
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
  submission->user_data = user_data;
  if (vectors != nullptr) {
    submission->addr = reinterpret_cast<uint64_t>(vectors);
    submission->len = 2;
  }
  const UringCmdReq request{.flags = 0, .commit_id = commit_id, .qid = queue, .padding = {}};
  memcpy(submission->cmd, &request, sizeof request);
}

void UringWorker::submit_timeout(uint64_t user_data) {
  io_uring_sqe* submission = ring_.next_submission();
  if (submission == nullptr) return;
  submission->opcode = IORING_OP_TIMEOUT;
  submission->fd = -1;
  submission->addr = reinterpret_cast<uint64_t>(&kRecoveryDelay);
  submission->len = 1;
  submission->user_data = user_data;
}

int UringWorker::register_entries(const Arena& arena) {
  int refused = 0;
  for (const uint16_t queue : queues_) {
    for (uint32_t index = 0; index < arena.depth(); ++index) {
      entries_.push_back(std::make_unique<Entry>(
          Entry{arena.entry(queue, index), arena.payload(queue, index), queue, State::kNew, 0}));
      Entry& entry = *entries_.back();
      // Touched now: the kernel writes here while this thread may be dying, when no page can be brought in
      // any more.
      *static_cast<volatile uint32_t*>(&entry.shared->reserved) = 0;
      *static_cast<volatile uint8_t*>(entry.payload) = 0;
      const iovec vectors[2] = {{&entry.shared->header, sizeof entry.shared->header},
                                {entry.payload, kMaxPayload}};
      submit_command(kUringRegister, queue, 0, reinterpret_cast<uint64_t>(&entry), vectors);
      // The kernel has read the vectors when this returns, and has answered if it refuses.
      if (const int error = ring_.enter(false); error != 0) return error;
      ring_.drain([&](uint64_t user_data, int result) {
        if (result < 0 && user_data == reinterpret_cast<uint64_t>(&entry)) refused = -result;
        if (result >= 0) complete(user_data, result);
      });
      if (refused != 0) return refused;
      if (entry.state == State::kNew) entry.state = State::kLive;
    }
  }
  return 0;
}

void UringWorker::take_over(std::span<const Arena> arenas) {
  for (const Arena& arena : arenas) {
    for (const uint16_t queue : queues_) {
      for (uint32_t index = 0; index < arena.depth(); ++index) {
        UringEntry* shared = arena.entry(queue, index);
        const uint64_t commit_id = shared->header.ring.commit_id;
        entries_.push_back(std::make_unique<Entry>(
            Entry{shared, arena.payload(queue, index), queue, State::kTakenOver, commit_id}));
        Entry& entry = *entries_.back();
        if (commit_id == 0) {
          bury(entry);
        } else if (shared->replied.load(std::memory_order_acquire) == commit_id) {
          recovery_->saw(commit_id);
          commit(entry);
        } else {
          answer(entry);
        }
      }
    }
  }
  submit_timeout(kFirstTimer);
}

int UringWorker::serve() {
  while (ended_ == 0) {
    const int error = ring_.enter(true);
    if (error != 0 && error != EINTR && error != EAGAIN && error != EBUSY) return error;
    ring_.drain([this](uint64_t user_data, int result) { complete(user_data, result); });
  }
  return ended_;
}

void UringWorker::complete(uint64_t user_data, int result) {
  if (user_data == kFirstTimer) {
    sweep_limit_ = recovery_->highest();
    submit_timeout(kSecondTimer);
    return;
  }
  if (user_data == kSecondTimer) {
    sweep();
    return;
  }
  if (user_data == kSwept) {
    if (result == 0) revive();
    return;
  }
  Entry& entry = *reinterpret_cast<Entry*>(user_data);
  if (result == 0) {
    entry.state = State::kLive;
    answer(entry);
    return;
  }
  if (result == -ENOTCONN || result == -ECONNABORTED) {
    // On the way down every entry says so; the connection is what ends, not the entry.
    ended_ = ENODEV;
    return;
  }
  if (entry.state == State::kTakenOver) {
    // The dead server had answered it, and the kernel took the entry away from it.
    bury(entry);
    return;
  }
  if (commit_error_logged.first()) log_line("the kernel refused a ring entry: %s", strerror(-result));
  bury(entry);
}

void UringWorker::bury(Entry& entry) {
  entry.state = State::kDead;
  entry.last_commit_id = entry.shared->header.ring.commit_id;
  // Each server that dies leaves its buffers; without this they would add up.
  madvise(entry.payload, kMaxPayload, MADV_REMOVE);
}

void UringWorker::answer(Entry& entry) {
  UringEntry& shared = *entry.shared;
  const uint64_t unique = shared.header.ring.commit_id;
  history_.add(unique);
  if (recovery_ != nullptr) recovery_->saw(unique);
  if (shared.saved.load(std::memory_order_acquire) != unique) {
    const uint32_t tail_size = std::min<uint32_t>(shared.header.ring.payload_size, sizeof shared.tail);
    shared.opcode = shared.header.in.opcode;
    shared.nodeid = shared.header.in.nodeid;
    shared.tail_size = tail_size;
    shared.tries = 0;
    memcpy(shared.tail, entry.payload, tail_size);
    shared.saved.store(unique, std::memory_order_release);
  }
  ++shared.tries;
  const Request request{.opcode = shared.opcode,
                        .unique = unique,
                        .nodeid = shared.nodeid,
                        .record = shared.header.op_in,
                        .tail = {shared.tail, shared.tail_size}};
  Reply reply(entry.payload, kMaxPayload);
  const int error = shared.tries > kMaxTries ? EIO : service_.serve(request, reply);
  const size_t body = error == 0 ? reply.size() : 0;
  shared.header.out = {static_cast<uint32_t>(sizeof(OutHeader) + body), -error, unique};
  shared.header.ring.payload_size = static_cast<uint32_t>(body);
  shared.replied.store(unique, std::memory_order_release);
  commit(entry);
}

void UringWorker::commit(Entry& entry) {
  submit_command(kUringCommitAndFetch, entry.queue, entry.shared->header.ring.commit_id,
                 reinterpret_cast<uint64_t>(&entry), nullptr);
}

// A lost request was answered and its entry has been given another: which entry it was shows only now.
void UringWorker::revive() {
  for (const auto& entry : entries_) {
    if (entry->state != State::kDead) continue;
    if (entry->shared->header.ring.commit_id == entry->last_commit_id) continue;
    service_.stats().add(service_.stats().lost_requests);
    entry->state = State::kLive;
    answer(*entry);
    return;
  }
}

void UringWorker::sweep() {
  // The kernel takes an error from whichever dead entry the request is bound to, without comparing uniques.
  for (const auto& entry : entries_) {
    if (entry->state == State::kDead) entry->shared->header.out = {sizeof(OutHeader), -ESTALE, 2};
  }
  for (const uint64_t unique : recovery_->unseen(sweep_limit_)) {
    for (const uint16_t queue : queues_) {
      submit_command(kUringCommitAndFetch, queue, unique, kSwept, nullptr);
    }
  }
  recovery_->swept();
}

}  // namespace lamina::fuse

// The three io_uring system calls and the memory they share.
#include "sys/ring.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lamina {

int Ring::open(uint32_t entries) {
  io_uring_params params{};
  // Task work runs only when this thread asks for completions: no interrupt while it works on a request.
  params.flags =
      IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CLAMP;
  const long fd = syscall(SYS_io_uring_setup, entries, &params);
  if (fd < 0) return errno;
  fd_.reset(static_cast<int>(fd));
  if ((params.features & IORING_FEAT_SINGLE_MMAP) == 0) return EOPNOTSUPP;
  const size_t ring_size = std::max<size_t>(params.sq_off.array + params.sq_entries * sizeof(uint32_t),
                                            params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
  rings_ = Mapping::map(ring_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_.get(),
                        IORING_OFF_SQ_RING);
  submissions_ = Mapping::map(static_cast<size_t>(params.sq_entries) * kSubmissionSize,
                              PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_.get(), IORING_OFF_SQES);
  if (!rings_.valid() || !submissions_.valid()) return errno;
  uint8_t* base = rings_.data();
  const auto word = [base](uint32_t offset) { return reinterpret_cast<uint32_t*>(base + offset); };
  submission_head_ = word(params.sq_off.head);
  submission_tail_ = word(params.sq_off.tail);
  submission_mask_ = *word(params.sq_off.ring_mask);
  completion_head_ = word(params.cq_off.head);
  completion_tail_ = word(params.cq_off.tail);
  completion_mask_ = *word(params.cq_off.ring_mask);
  completions_ = reinterpret_cast<io_uring_cqe*>(base + params.cq_off.cqes);
  // Submission n always stands in slot n.
  for (uint32_t index = 0; index < params.sq_entries; ++index) word(params.sq_off.array)[index] = index;
  tail_ = *submission_tail_;
  return 0;
}

io_uring_sqe* Ring::next_submission() {
  if (tail_ - __atomic_load_n(submission_head_, __ATOMIC_ACQUIRE) > submission_mask_) return nullptr;
  uint8_t* at = submissions_.data() + static_cast<size_t>(tail_ & submission_mask_) * kSubmissionSize;
  memset(at, 0, kSubmissionSize);
  ++tail_;
  ++prepared_;
  return reinterpret_cast<io_uring_sqe*>(at);
}

int Ring::enter(bool wait) {
  __atomic_store_n(submission_tail_, tail_, __ATOMIC_RELEASE);
  const long submitted =
      syscall(SYS_io_uring_enter, fd_.get(), prepared_, wait ? 1 : 0, IORING_ENTER_GETEVENTS, nullptr, 0);
  if (submitted < 0) return errno;
  prepared_ -= static_cast<uint32_t>(submitted);
  return 0;
}

}  // namespace lamina

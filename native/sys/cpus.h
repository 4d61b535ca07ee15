// Which CPUs there are: FUSE's io_uring has one queue for each that is possible, and threads run on those
// that are online.
#pragma once

#include <cstdint>
#include <vector>

namespace lamina {

// Numbers of the CPUs in a list such as /sys/devices/system/cpu/online holds ("0-3,8"); empty when it cannot
// be read.
std::vector<uint32_t> read_cpu_list(const char* path);

// Lets the calling thread run on `cpu` alone. False where that is not allowed (a cpuset).
bool pin_to_cpu(uint32_t cpu);

// True when the scheduler weighs this session as one against all others (sched(7), autogroup), so that a
// thread of policy SCHED_IDLE still gets the session's share and cannot be starved by busy programs
// elsewhere.
bool has_own_scheduling_group();

// Makes the CPU of the calling thread count as idle while only this thread runs there (SCHED_IDLE): a client
// that it wakes then stays on the CPU, with its caches, and takes over at once, where the scheduler would
// send it to another CPU. Only to be used with has_own_scheduling_group().
//
// Such a thread waits for the next tick, milliseconds away, where a program that has nothing to do with the
// mount is running (sched(7); kernel/sched/fair.c, check_preempt_wakeup_fair: only SCHED_NORMAL preempts). So
// it looks from time to time how long it had to wait, and gives way only where that is not long.
class GivesWay {
 public:
  // By the thread itself; the file that says how long it waited is opened now.
  void begin();
  // After each request that the thread has answered.
  void answered() {
    if (schedstat_ >= 0 && ++answered_ % kLookEvery == 0) look();
  }
  GivesWay() = default;
  ~GivesWay();
  GivesWay(const GivesWay&) = delete;
  GivesWay& operator=(const GivesWay&) = delete;

 private:
  static constexpr uint32_t kLookEvery = 16;

  void look();
  void set(bool gives_way);

  int schedstat_ = -1;
  uint32_t answered_ = 0;
  bool gives_way_ = false;
  uint64_t waited_ns_ = 0;
  uint64_t again_at_ = 0;
};

}  // namespace lamina

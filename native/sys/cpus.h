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
void give_way_to_clients();

}  // namespace lamina

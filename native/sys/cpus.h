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

}  // namespace lamina

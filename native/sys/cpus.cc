// The kernel's CPU lists (Documentation/admin-guide/cputopology.rst).
#include "sys/cpus.h"

#include <sched.h>

#include <cstdio>

namespace lamina {

std::vector<uint32_t> read_cpu_list(const char* path) {
  std::vector<uint32_t> cpus;
  FILE* file = fopen(path, "re");
  if (file == nullptr) return cpus;
  unsigned first;
  while (fscanf(file, "%u", &first) == 1) {
    unsigned last = first;
    int separator = fgetc(file);
    if (separator == '-') {
      if (fscanf(file, "%u", &last) != 1) break;
      separator = fgetc(file);
    }
    for (unsigned cpu = first; cpu <= last && cpu < CPU_SETSIZE; ++cpu) cpus.push_back(cpu);
    if (separator != ',') break;
  }
  fclose(file);
  return cpus;
}

bool pin_to_cpu(uint32_t cpu) {
  if (cpu >= CPU_SETSIZE) return false;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

}  // namespace lamina

// The kernel's CPU lists (Documentation/admin-guide/cputopology.rst) and what a thread may tell the
// scheduler.
#include "sys/cpus.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

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

namespace {

// The fixed inode number of the initial cgroup namespace (include/linux/proc_ns.h, PROC_CGROUP_INIT_INO): in
// any other,
// "/" is not the root.
constexpr std::string_view kInitialCgroupNamespace = "cgroup:[4026531835]";

bool in_initial_cgroup_namespace() {
  char target[64];
  const ssize_t length = readlink("/proc/self/ns/cgroup", target, sizeof target);
  return length > 0 && std::string_view(target, static_cast<size_t>(length)) == kInitialCgroupNamespace;
}

// Whether the cgroup that counts for CPU time is the root: "ID:CONTROLLERS:PATH", where version 2 has no
// controllers.
bool in_root_cpu_cgroup() {
  FILE* file = fopen("/proc/self/cgroup", "re");
  if (file == nullptr) return false;
  bool found = false;
  bool root = true;
  char* line = nullptr;
  size_t capacity = 0;
  ssize_t length;
  while ((length = getline(&line, &capacity, file)) > 0) {
    std::string_view text(line, static_cast<size_t>(length));
    if (text.ends_with('\n')) text.remove_suffix(1);
    const size_t first = text.find(':');
    const size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string controllers = ',' + std::string(text.substr(first + 1, second - first - 1)) + ',';
    if (controllers != ",," && controllers.find(",cpu,") == std::string::npos) continue;
    found = true;
    root = root && text.substr(second + 1) == "/";
  }
  free(line);
  fclose(file);
  return found && root;
}

}  // namespace

bool has_own_scheduling_group() {
  FILE* file = fopen("/proc/sys/kernel/sched_autogroup_enabled", "re");
  if (file == nullptr) return false;
  const int value = fgetc(file);
  fclose(file);
  // The scheduler makes a group of a session only where no cgroup does it.
  return value == '1' && in_initial_cgroup_namespace() && in_root_cpu_cgroup();
}

namespace {

// On average, for one request; a wake-up on an idle CPU takes a tenth of it.
constexpr uint64_t kLongWaitNs = 300 * 1000;
// How many requests later it tries again.
constexpr uint64_t kTryAgain = 4096;

}  // namespace

void GivesWay::begin() {
  // "time on the CPU, time waiting for it, times it ran" (Documentation/scheduler/sched-stats.rst).
  schedstat_ = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  set(true);
}

GivesWay::~GivesWay() {
  if (schedstat_ >= 0) close(schedstat_);
}

void GivesWay::look() {
  if (!gives_way_) {
    if (answered_ - again_at_ < kTryAgain) return;
    set(true);
  }
  char text[96];
  const ssize_t length = pread(schedstat_, text, sizeof text - 1, 0);
  if (length <= 0) return;
  text[length] = '\0';
  const char* second = strchr(text, ' ');
  const uint64_t waited = second == nullptr ? 0 : strtoull(second, nullptr, 10);
  const uint64_t since = waited - waited_ns_;
  const bool first = waited_ns_ == 0;
  waited_ns_ = waited;
  if (!first && since > kLookEvery * kLongWaitNs) set(false);
}

void GivesWay::set(bool gives_way) {
  const sched_param none{};
  // Refused at worst, and then it is slower.
  sched_setscheduler(0, gives_way ? SCHED_IDLE : SCHED_OTHER, &none);
  gives_way_ = gives_way;
  again_at_ = answered_;
  // What was waited before does not count.
  waited_ns_ = 0;
}

}  // namespace lamina

// Lets one system call of a running program fail, as a filesystem that is full would: the n-th from now on of
// those that need room. Or kills the program after the n-th call that changes something.
//
//   fault PID FILE
//
// FILE holds five 64-bit numbers: which call it is to be (0: none), the errno, how many came since the first
// was set (to be set to 0 with it), the number of the call that it was, and what is done: 0 lets it fail, 1
// kills PID after it, 2 PID's parent and then PID. Prints `ready` once it watches every thread of PID. Ends when it
// is killed, the program then goes on by itself, or when the program ends.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

namespace {

struct Control {
  std::atomic<std::uint64_t> fail_at;
  std::atomic<std::uint64_t> error;
  std::atomic<std::uint64_t> seen;
  std::atomic<std::uint64_t> failed;
  std::atomic<std::uint64_t> action;
};
constexpr std::uint64_t kFail = 0;
constexpr std::uint64_t kKillBoth = 2;

constexpr std::uint64_t kSetxattrat = 463;
constexpr std::uint64_t kRemovexattrat = 466;
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

bool needs_room(std::uint64_t call, const std::uint64_t* arguments) {
  switch (call) {
    case SYS_openat:
      return (arguments[2] & O_CREAT) != 0 || (arguments[2] & O_TMPFILE) == O_TMPFILE;
    case SYS_mknodat:
    case SYS_mkdirat:
    case SYS_symlinkat:
    case SYS_linkat:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_setxattr:
    case SYS_lsetxattr:
    case SYS_fsetxattr:
    case kSetxattrat:
    case SYS_pwrite64:
    case SYS_copy_file_range:
    case SYS_fallocate:
    case SYS_fsync:
    case SYS_fdatasync:
      return true;
    default:
      return false;
  }
}

bool changes(std::uint64_t call, const std::uint64_t* arguments) {
  switch (call) {
    case SYS_unlinkat:
    case SYS_fchownat:
    case SYS_fchown:
    case SYS_chmod:
    case SYS_fchmodat:
    case SYS_fchmod:
    case SYS_fchmodat2:
    case SYS_utimensat:
    case SYS_ftruncate:
    case SYS_removexattr:
    case SYS_lremovexattr:
    case SYS_fremovexattr:
    case kRemovexattrat:
      return true;
    default:
      return needs_room(call, arguments);
  }
}

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(1);
}

void resume(pid_t thread, int signal) { ptrace(PTRACE_SYSCALL, thread, nullptr, signal); }

class Tracer {
 public:
  explicit Tracer(Control& control) : control_(control) {}

  void attach(pid_t process) {
    process_ = process;
    const std::string tasks = "/proc/" + std::to_string(process) + "/task";
    DIR* directory = opendir(tasks.c_str());
    if (directory == nullptr) fail(tasks.c_str());
    while (const dirent* entry = readdir(directory)) {
      const pid_t thread = atoi(entry->d_name);
      if (thread == 0) continue;
      constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;
      if (ptrace(PTRACE_SEIZE, thread, nullptr, kOptions) != 0) fail("PTRACE_SEIZE");
      if (ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr) != 0) fail("PTRACE_INTERRUPT");
      ++waiting_;
    }
    closedir(directory);
  }

  void run() {
    int status = 0;
    for (pid_t thread; (thread = waitpid(-1, &status, __WALL)) > 0;) {
      if (!WIFSTOPPED(status)) continue;
      const int signal = WSTOPSIG(status);
      const int event = status >> 16;
      if (signal == (SIGTRAP | 0x80)) {
        at_call(thread);
        resume(thread, 0);
      } else {
        resume(thread, event != 0 ? 0 : signal);
      }
      if (event == PTRACE_EVENT_STOP && waiting_ > 0 && --waiting_ == 0) {
        puts("ready");
        fflush(stdout);
      }
    }
  }

 private:
  void at_call(pid_t thread) {
    __ptrace_syscall_info info{};
    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) <= 0) return;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
      const bool fails = control_.action.load() == kFail;
      const auto counts = fails ? needs_room : changes;
      if (control_.fail_at.load() == 0 || !counts(info.entry.nr, info.entry.args)) return;
      if (control_.seen.fetch_add(1) + 1 != control_.fail_at.load()) return;
      control_.failed.store(info.entry.nr);
      stopped_.insert(thread);
      // No such call, so nothing is done.
      if (fails) change(thread, [](user_regs_struct& registers) { registers.orig_rax = ~0ULL; });
    } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && stopped_.erase(thread) > 0) {
      if (control_.action.load() != kFail) return kill_it();
      change(thread, [this](user_regs_struct& registers) {
        registers.rax = static_cast<unsigned long long>(-static_cast<long long>(control_.error.load()));
      });
    }
  }

  template <typename Change>
  static void change(pid_t thread, Change&& make) {
    user_regs_struct registers{};
    ptrace(PTRACE_GETREGS, thread, nullptr, &registers);
    make(registers);
    ptrace(PTRACE_SETREGS, thread, nullptr, &registers);
  }

  void kill_it() const {
    if (control_.action.load() == kKillBoth) {
      const std::string path = "/proc/" + std::to_string(process_) + "/stat";
      FILE* file = fopen(path.c_str(), "re");
      pid_t parent = 0;
      // "PID (NAME) STATE PARENT"; the name has no bracket in it.
      if (file == nullptr || fscanf(file, "%*d (%*[^)]) %*c %d", &parent) != 1) fail(path.c_str());
      fclose(file);
      kill(parent, SIGKILL);
    }
    kill(process_, SIGKILL);
  }

  Control& control_;
  int waiting_ = 0;
  pid_t process_ = 0;
  // Threads in the call.
  std::set<pid_t> stopped_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int fd = open(argv[2], O_RDWR | O_CLOEXEC);
  if (fd < 0) fail(argv[2]);
  void* memory = mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("mmap");
  Tracer tracer(*static_cast<Control*>(memory));
  tracer.attach(atoi(argv[1]));
  tracer.run();
  return 0;
}

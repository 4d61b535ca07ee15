// Opens the directories of a stack and runs its server; for a source that is an image, hands over to
// `lamina`.
#include "stack.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "stack_options.h"
#include "supervisor.h"
#include "sys/unique_fd.h"

namespace lamina {

namespace {

bool fail(const std::string& message) {
  fprintf(stderr, "lamina-fuse: %s\n", message.c_str());
  return false;
}

bool is_mount_helper(const char* program) {
  const char* slash = strrchr(program, '/');
  return std::string_view(slash == nullptr ? program : slash + 1).starts_with("mount.");
}

// The descriptors stay open for the life of the mount.
bool open_directory(const std::string& path, int& fd) {
  fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd >= 0 || fail(path + ": " + strerror(errno));
}

bool open_layers(StackCommand& command) {
  overlay::UnionOptions& layers = command.serve.layers;
  for (const std::string& path : split_layers(command.lowerdir)) {
    if (!open_directory(path, layers.lower_fds.emplace_back())) return false;
  }
  if (command.upperdir.empty()) {
    command.serve.mount.read_only = true;
    return true;
  }
  return open_directory(command.upperdir, layers.upper.upper_fd) &&
         open_directory(command.workdir, layers.upper.work_fd);
}

bool resolve_mountpoint(StackCommand& command) {
  char resolved[PATH_MAX];
  const std::string& path = command.operands.back();
  if (realpath(path.c_str(), resolved) == nullptr) return fail(path + ": " + strerror(errno));
  command.serve.mount.mountpoint = resolved;
  return true;
}

// `mount -t fuse.lamina IMAGE DIR`
int mount_named_image(const StackCommand& command) {
  std::vector<std::string> arguments{"lamina", "mount"};
  // As for stacks: what root mounts is for all.
  if (geteuid() == 0) arguments.emplace_back("--allow-other");
  for (const std::string& option : command.image_options) arguments.insert(arguments.end(), {"-o", option});
  arguments.insert(arguments.end(), {"--", command.operands[0], command.operands[1]});
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  // mount(8) leaves only the system's own directories, and npm and node are often elsewhere.
  const char* path = getenv("PATH");
  const std::string longer =
      std::string(path != nullptr ? path : "/usr/bin:/bin") + ":/usr/local/sbin:/usr/local/bin";
  setenv("PATH", longer.c_str(), 1);
  execvp("lamina", pointers.data());
  fail(std::string("lamina, which mounts images, cannot be run: ") + strerror(errno));
  return 1;
}

// `mount -o remount,ro DIR`: only flags can change.
int remount(const StackCommand& command) {
  const fuse::MountOptions& mount = command.serve.mount;
  const unsigned long flags = MS_REMOUNT | fuse::mount_flags(mount);
  if (::mount(nullptr, mount.mountpoint.c_str(), nullptr, flags, nullptr) == 0) return 0;
  fail(mount.mountpoint + ": " + strerror(errno));
  return 1;
}

void redirect_to_null(int fd) {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.valid()) dup2(null.get(), fd);
}

// So that no directory gets the number of a standard stream that was closed.
void open_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) return;
  }
}

// Waits for the supervisor's line: "" when it is ready, else why it is not.
std::string await_ready(int control) {
  std::string line;
  char buffer[512];
  for (;;) {
    const ssize_t got = read(control, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    line.append(buffer, static_cast<size_t>(got));
    if (line.find('\n') != std::string::npos) break;
  }
  if (line.starts_with("ready")) return {};
  // "failed step=STEP errno=N MESSAGE"
  const size_t errno_at = line.find(" errno=");
  const size_t message = errno_at == std::string::npos ? errno_at : line.find(' ', errno_at + 1);
  if (message == std::string::npos) return "the server ended without a word";
  return line.substr(message + 1, line.find('\n') - message - 1);
}

pid_t server = 0;

// From the moment that there is a supervisor, signals to this process are for it: it unmounts.
pid_t fork_with_signals_passed_on() {
  sigset_t set;
  sigset_t before;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, &before);
  server = fork();
  if (server == 0) return 0;
  if (server > 0) {
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) signal(number, [](int) { kill(server, SIGTERM); });
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
  return server;
}

// The supervisor's end is this process's.
int wait_in_foreground() {
  int result = 0;
  while (waitpid(server, &result, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(result) ? WEXITSTATUS(result) : 1;
}

}  // namespace

bool is_stack_command(const char* program, const std::vector<std::string>& arguments) {
  return is_mount_helper(program) ||
         std::any_of(arguments.begin(), arguments.end(),
                     [](const std::string& argument) { return argument.starts_with("-o"); });
}

int run_stack(const char* program, const std::vector<std::string>& arguments) {
  open_standard_streams();
  const bool is_helper = is_mount_helper(program);
  StackCommand command;
  fuse::MountOptions& mount = command.serve.mount;
  // What fuse-overlayfs and mount(8) have as their defaults; others than root get what fusermount3 allows.
  const bool root = geteuid() == 0;
  mount.read_only = false;
  mount.suid = root;
  mount.dev = root && is_helper;
  mount.noatime = true;
  mount.allow_other = root;
  mount.fsname = "lamina";
  command.serve.layers.file_whiteouts = true;
  if (!parse_stack_command(is_helper, arguments, command)) return 1;
  if (command.remount) return resolve_mountpoint(command) ? remount(command) : 1;
  if (command.lowerdir.empty()) return command.fake ? 0 : mount_named_image(command);
  if (!open_layers(command) || !resolve_mountpoint(command)) return 1;
  if (command.fake) return 0;

  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    fail(std::string("no pipe: ") + strerror(errno));
    return 1;
  }
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = fork_with_signals_passed_on();
  if (child < 0) {
    fail(std::string("fork: ") + strerror(errno));
    return 1;
  }
  if (child == 0) {
    reader.reset();
    // Whoever reads this program's stderr waits for all that hold it.
    if (!command.foreground) redirect_to_null(STDERR_FILENO);
    command.serve.control_fd = writer.release();
    _exit(run_supervisor(command.serve));
  }
  writer.reset();
  const std::string failure = await_ready(reader.get());
  if (!failure.empty()) {
    // In the foreground the supervisor has said so itself.
    if (!command.foreground) fail(failure);
    return 1;
  }
  return command.foreground ? wait_in_foreground() : 0;
}

}  // namespace lamina

#include "monitor/monitor.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>

#include "monitor/console.h"
#include "monitor/json_log.h"
#include "sys/unique_fd.h"

namespace lamina::monitor {

namespace {

// How long the output of a container may stay open after its end: whoever holds it is not of the container.
constexpr int64_t kDrainMs = 2000;

struct Pipe {
  UniqueFd reader;
  UniqueFd writer;
};

bool make_pipe(Pipe& made) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  made.reader.reset(ends[0]);
  made.writer.reset(ends[1]);
  return true;
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> result;
  result.reserve(words.size() + 1);
  for (const std::string& word : words) result.push_back(const_cast<char*>(word.c_str()));
  result.push_back(nullptr);
  return result;
}

// Signals that end this process by default are not for it: the container is what they are meant for.
constexpr int kIgnored[] = {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGPIPE};

pid_t spawn_runtime(const std::vector<std::string>& words, int in, int out, int err) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  sigset_t none;
  sigset_t defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int signal_number : kIgnored) sigaddset(&defaults, signal_number);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = -1;
  std::vector<char*> arguments = pointers(words);
  const int error = posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error == 0 ? pid : -1;
}

std::string read_file(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[1024];
  const ssize_t got = file.valid() ? read(file.get(), text, sizeof text) : -1;
  return got <= 0 ? std::string() : std::string(text, static_cast<size_t>(got));
}

// proc_pid_stat(5): field 22, after the name, which ends at the last parenthesis.
std::string start_time(pid_t pid) {
  const std::string text = read_file("/proc/" + std::to_string(pid) + "/stat");
  size_t at = text.rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = text.find(' ', at + 1);
  if (at == std::string::npos) return {};
  return text.substr(at + 1, text.find(' ', at + 1) - at - 1);
}

int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

int status_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

class Monitor {
 public:
  explicit Monitor(const Options& options)
      : options_(options),
        control_(options.control_fd),
        log_(open(options.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)),
        out_(log_.get(), "stdout"),
        err_(log_.get(), "stderr") {}

  int run() {
    char go = 0;
    ssize_t got = 0;
    do {
      got = read(control_.get(), &go, 1);
    } while (got < 0 && errno == EINTR);
    // Whoever started this has gone before the container was ours.
    if (got != 1 || !log_.valid() || !prepare()) return fail(1);
    const int started = start();
    if (started != 0) return fail(started);
    const int status = wait_for_end();
    record(O_APPEND, "{\"event\":\"exit\",\"at\":\"" + now_text() +
                         "\",\"exitCode\":" + std::to_string(status) + "}\n");
    return become_end();
  }

 private:
  bool prepare() {
    if (chdir(options_.directory.c_str()) != 0) return false;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (const int signal_number : kIgnored) signal(signal_number, SIG_IGN);
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, nullptr);
    signals_.reset(signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
    if (options_.tty) {
      console_ = listen_for_console(kConsoleSocket);
      return signals_.valid() && console_.valid();
    }
    return signals_.valid() && make_pipe(stdout_) && make_pipe(stderr_) &&
           (!options_.open_stdin || make_pipe(stdin_));
  }

  // 0, or the status of the runtime.
  int start() {
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    const int in = stdin_.reader.valid() ? stdin_.reader.get() : null.get();
    const int out = options_.tty ? null.get() : stdout_.writer.get();
    const int err = options_.tty ? null.get() : stderr_.writer.get();
    const pid_t runtime = spawn_runtime(options_.runtime, in, out, err);
    if (runtime < 0) return 127;
    stdin_.reader.reset();
    stdout_.writer.reset();
    stderr_.writer.reset();
    int status = 0;
    for (;;) {
      const pid_t ended = waitpid(runtime, &status, WNOHANG);
      if (ended == runtime || (ended < 0 && errno != EINTR)) break;
      turn(-1);
    }
    if (status_of(status) != 0) return status_of(status);
    pid_ = static_cast<pid_t>(strtol(read_file(options_.pid_file).c_str(), nullptr, 10));
    if (pid_ <= 0) return 1;
    record(O_TRUNC, "{\"event\":\"start\",\"at\":\"" + now_text() + "\",\"pid\":" + std::to_string(pid_) +
                        ",\"pidStart\":\"" + start_time(pid_) +
                        "\",\"runtime\":" + json_string(options_.runtime_path) + "}\n");
    write_all(control_.get(), "started " + std::to_string(pid_) + "\n");
    control_.reset();
    return 0;
  }

  int wait_for_end() {
    int status = 0;
    for (;;) {
      int ended_status = 0;
      const pid_t ended = waitpid(-1, &ended_status, WNOHANG);
      if (ended == pid_) {
        status = status_of(ended_status);
        break;
      }
      // It was never ours to wait for: nothing is known of it but that it is gone.
      if (ended < 0 && errno == ECHILD) {
        status = 255;
        break;
      }
      if (ended <= 0) turn(-1);
    }
    const int64_t until = now_ms() + kDrainMs;
    while (stdout_.reader.valid() || stderr_.reader.valid() || terminal_.valid()) {
      const int64_t left = until - now_ms();
      if (left <= 0) break;
      turn(static_cast<int>(left));
    }
    out_.finish();
    err_.finish();
    return status;
  }

  // Waits for something to happen and takes what has come.
  void turn(int timeout_ms) {
    pollfd fds[] = {{signals_.get(), POLLIN, 0},
                    {stdout_.reader.get(), POLLIN, 0},
                    {stderr_.reader.get(), POLLIN, 0},
                    {terminal_.get(), POLLIN, 0},
                    {terminal_.valid() ? -1 : console_.get(), POLLIN, 0}};
    if (poll(fds, std::size(fds), timeout_ms) <= 0) return;
    if (fds[0].revents != 0) {
      signalfd_siginfo info[8];
      [[maybe_unused]] const ssize_t taken = read(signals_.get(), info, sizeof info);
    }
    if (fds[1].revents != 0) take(stdout_.reader, out_);
    if (fds[2].revents != 0) take(stderr_.reader, err_);
    if (fds[3].revents != 0) take(terminal_, out_);
    if (fds[4].revents != 0) {
      terminal_ = receive_console(console_.get());
      console_.reset();
    }
  }

  static void take(UniqueFd& from, LogStream& to) {
    char chunk[16 * 1024];
    const ssize_t got = read(from.get(), chunk, sizeof chunk);
    if (got > 0) {
      to.write(std::string_view(chunk, static_cast<size_t>(got)));
    } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
      // A terminal whose other side is closed says EIO.
      from.reset();
    }
  }

  void record(int how, const std::string& line) const {
    const UniqueFd state(open(options_.state_file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | how, 0600));
    if (state.valid()) write_all(state.get(), line);
  }

  int fail(int status) {
    out_.finish();
    err_.finish();
    write_all(control_.get(), "failed " + std::to_string(status) + "\n");
    return 1;
  }

  // The same process, so that the bundle keeps its owner until it is gone.
  int become_end() const {
    for (const int signal_number : kIgnored) signal(signal_number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    [[maybe_unused]] const int changed = chdir("/");
    std::vector<char*> arguments = pointers(options_.at_end);
    execvp(arguments[0], arguments.data());
    return 1;
  }

  const Options& options_;
  UniqueFd control_;
  UniqueFd log_;
  LogStream out_;
  LogStream err_;
  UniqueFd signals_;
  UniqueFd console_;
  UniqueFd terminal_;
  Pipe stdin_;
  Pipe stdout_;
  Pipe stderr_;
  pid_t pid_ = -1;
};

bool parse(const std::vector<std::string>& arguments, Options& options) {
  const auto number = [](const std::string& text) {
    return static_cast<int>(strtol(text.c_str(), nullptr, 10));
  };
  for (size_t at = 0; at < arguments.size(); ++at) {
    const std::string& name = arguments[at];
    if (name == "--tty" || name == "--open-stdin") {
      (name == "--tty" ? options.tty : options.open_stdin) = true;
      continue;
    }
    if (++at == arguments.size()) return false;
    const std::string& value = arguments[at];
    if (name == "--control-fd") {
      options.control_fd = number(value);
    } else if (name == "--directory") {
      options.directory = value;
    } else if (name == "--log") {
      options.log_file = value;
    } else if (name == "--state") {
      options.state_file = value;
    } else if (name == "--pid-file") {
      options.pid_file = value;
    } else if (name == "--runtime-path") {
      options.runtime_path = value;
    } else if (name == "--runtime" || name == "--at-end") {
      const int count = number(value);
      if (count <= 0 || static_cast<size_t>(count) >= arguments.size() - at) return false;
      const auto begin = arguments.begin() + static_cast<ptrdiff_t>(at) + 1;
      (name == "--runtime" ? options.runtime : options.at_end).assign(begin, begin + count);
      at += static_cast<size_t>(count);
    } else {
      return false;
    }
  }
  return options.control_fd > STDERR_FILENO && !options.runtime.empty() && !options.at_end.empty() &&
         !options.directory.empty() && !options.log_file.empty() && !options.state_file.empty() &&
         !options.pid_file.empty();
}

}  // namespace

int monitor_command(const std::vector<std::string>& arguments) {
  Options options;
  if (!parse(arguments, options)) {
    fputs("lamina-fuse monitor: wrong arguments (native/monitor/monitor.h)\n", stderr);
    return 2;
  }
  fcntl(options.control_fd, F_SETFD, FD_CLOEXEC);
  Monitor monitor(options);
  return monitor.run();
}

}  // namespace lamina::monitor

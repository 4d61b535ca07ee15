// One poll loop over signals and the server's ready pipe. The supervisor never looks into the mount: it would
// wait for a server that only it can start (the pokes and unmounts that could are done by processes of their
// own).
#include "supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <optional>

#include "hold_socket.h"
#include "session.h"
#include "sys/log.h"
#include "sys/process.h"
#include "sys/thread.h"

namespace lamina {

namespace {

// Deaths in a row, without a request answered in between, that mean that a server cannot live.
constexpr uint32_t kMaxDeaths = 5;
constexpr int64_t kDeathWindowMs = 2000;
constexpr int64_t kRestartPauseMs = 20;
// For a fetcher to write down what it has.
constexpr int kFetcherEndMs = 1500;

double milliseconds_now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

void write_line(int fd, const std::string& line) {
  [[maybe_unused]] const ssize_t written = write(fd, line.data(), line.size());
}

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCHLD}) sigaddset(&set, number);
  return set;
}

class Supervisor {
 public:
  explicit Supervisor(const ServeOptions& options) : options_(options), started_ms_(milliseconds_now()) {}

  int run() {
    std::vector<int> in_use{options_.toc_fd, options_.control_fd, options_.stats_fd};
    for (const overlay::Source& source : options_.sources) in_use.push_back(source.fd);
    for (const auto& map : options_.arrivals.maps) in_use.push_back(map.fd);
    in_use.push_back(options_.layers.upper.upper_fd);
    in_use.push_back(options_.layers.upper.work_fd);
    in_use.insert(in_use.end(), options_.layers.lower_fds.begin(), options_.layers.lower_fds.end());
    detach_from_starter(in_use);
    signal(SIGPIPE, SIG_IGN);
    const sigset_t set = handled_signals();
    sigprocmask(SIG_BLOCK, &set, nullptr);
    umask(0);

    Failure failure;
    if (!session_.open(options_, failure) || !session_.mount(options_, failure)) {
      report_failure(options_.control_fd, failure);
      return 1;
    }
    supervisor_pid_ = getpid();
    if (!options_.fetcher.empty() && !start_fetcher()) return give_up("the fetcher could not be started");
    int status = 0;
    if (options_.supervisor) {
      status = supervise();
    } else {
      if (!session_.prepare_server() || !make_ready_pipe()) return give_up("no memory for the server");
      status = serve_here();
    }
    end_fetcher();
    remove_files();
    return status;
  }

 private:
  // The server's side: answers until the mount ends.
  int serve_here() {
    const int error = start_thread([this] { wait_for_signals(); });
    if (error != 0) return 1;
    if (!options_.supervisor) {
      const int failed = start_thread([this] {
        char byte;
        if (read(ready_reader_.get(), &byte, 1) == 1) report_ready();
      });
      if (failed != 0) return 1;
    }
    return session_.serve(ready_writer_.get()) ? 0 : 1;
  }

  // SIGTERM to a server means the mount: the supervisor unmounts, or the server itself when it is alone.
  void wait_for_signals() {
    sigset_t set = handled_signals();
    sigdelset(&set, SIGCHLD);
    for (;;) {
      int number = 0;
      if (sigwait(&set, &number) != 0) continue;
      if (getpid() != supervisor_pid_ && getppid() == supervisor_pid_) {
        kill(supervisor_pid_, SIGTERM);
      } else {
        start_unmount();
      }
    }
  }

  int supervise() {
    const sigset_t set = handled_signals();
    signals_.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_.valid() || !start_server()) return give_up("no server could be started");
    open_hold_socket();
    while (server_ > 0) {
      pollfd watched[3] = {{signals_.get(), POLLIN, 0},
                           {ready_reader_.get(), POLLIN, 0},
                           hold_socket_ ? hold_socket_->watched() : pollfd{-1, 0, 0}};
      const int timeout = hold_socket_ ? hold_socket_->timeout() : -1;
      if (poll(watched, 3, timeout) < 0 && errno != EINTR) return give_up("poll failed");
      if (hold_socket_) hold_socket_->step(watched[2].revents);
      if ((watched[1].revents & POLLIN) != 0) server_is_ready();
      signalfd_siginfo signal;
      while (read(signals_.get(), &signal, sizeof signal) == sizeof signal) {
        if (signal.ssi_signo == SIGQUIT) return end_now();
        if (signal.ssi_signo != SIGCHLD) start_unmount();
      }
      if (!reap()) return give_up("the server dies again and again");
    }
    return 0;
  }

  // What `umount --force` is to those for whom umount2(2) cannot end the connection: its last descriptor
  // goes.
  int end_now() {
    if (server_ > 0) kill(server_, SIGKILL);
    fuse::unmount_image(options_.mount.mountpoint, fuse::Unmount::kForce, session_.by_helper());
    remove_files();
    return 0;
  }

  bool make_ready_pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return false;
    ready_reader_.reset(ends[0]);
    ready_writer_.reset(ends[1]);
    // A server without supervisor reads it on a thread that may as well sleep.
    if (!options_.supervisor) fcntl(ready_reader_.get(), F_SETFL, 0);
    return true;
  }

  // In this process alone.
  void open_hold_socket() {
    if (options_.hold_path.empty() || session_.hold() == nullptr) return;
    hold_socket_.emplace(*session_.hold(), options_.mount.mountpoint,
                         [this] { return session_.passed_through(); });
    const int error = hold_socket_->open(options_.hold_path);
    if (error == 0) return;
    log_line("%s: %s; commits will find out whether anything changed", options_.hold_path.c_str(),
             strerror(error));
    hold_socket_.reset();
  }

  bool start_server() {
    if (session_.hold() != nullptr) session_.hold()->server_is_gone();
    if (!session_.prepare_server() || !make_ready_pipe()) return false;
    server_ = fork();
    if (server_ != 0) {
      ready_writer_.reset();
      return server_ > 0;
    }
    signals_.reset();
    ready_reader_.reset();
    // The ends of whoever holds are the supervisor's to see.
    hold_socket_.reset();
    if (options_.control_fd >= 0) close(options_.control_fd);
    const int status = serve_here();
    // Nobody else is left to do it.
    if (status == 0 && getppid() != supervisor_pid_) remove_files();
    _exit(status);
  }

  void server_is_ready() {
    char byte;
    if (read(ready_reader_.get(), &byte, 1) != 1) {
      ready_reader_.reset();
      return;
    }
    ready_reader_.reset();
    if (!reported_) {
      report_ready();
    } else if (session_.uring()) {
      poke_queues();
    }
  }

  void report_ready() {
    reported_ = true;
    if (options_.control_fd < 0) return;
    char line[96];
    snprintf(line, sizeof line, "ready pid=%d uring=%d ms=%.1f\n", static_cast<int>(getpid()),
             session_.uring() ? 1 : 0, milliseconds_now() - started_ms_);
    write_line(options_.control_fd, line);
    close(options_.control_fd);
  }

  // Requests that came while no server was there wait in their CPU's queue until an entry of it is committed
  // (the kernel does not look when one is registered). A STATFS from that CPU is a request that leads to a
  // commit.
  void poke_queues() {
    for (const uint32_t cpu : session_.online_cpus()) {
      if (fork() != 0) continue;
      pin_to_cpu(cpu);
      struct statfs unused;
      _exit(statfs(options_.mount.mountpoint.c_str(), &unused) == 0 ? 0 : 1);
    }
  }

  // Waits for what has ended; false when the server cannot be kept alive.
  bool reap() {
    int status = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
      if (pid == fetcher_) replace_fetcher(status);
      if (hold_socket_) hold_socket_->child_ended(pid);
      if (pid != server_) continue;
      server_ = 0;
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
      if (!replace_server(status)) return false;
    }
    return true;
  }

  bool replace_server(int status) {
    const double now_ms = milliseconds_now();
    const uint64_t served = session_.requests_served();
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (served != served_before_ || now_ms - died_ms_ > kDeathWindowMs) deaths_ = 0;
    served_before_ = served;
    died_ms_ = now_ms;
    log_line("the server (process %llu) ended with %s %d; starting another",
             static_cast<unsigned long long>(session_.stats().server_pid.load()),
             WIFSIGNALED(status) ? "signal" : "status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    // Whoever kills it means to; a server that ends by itself would do so again.
    if (!killed && ++deaths_ >= kMaxDeaths) return false;
    if (deaths_ > 1) {
      const timespec pause{0, kRestartPauseMs * 1000 * 1000};
      nanosleep(&pause, nullptr);
    }
    session_.stats().add(session_.stats().restarts);
    return start_server();
  }

  bool start_fetcher() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    const UniqueFd reader(ends[0]);
    fetcher_life_.reset(ends[1]);
    fetcher_ = start_program(options_.fetcher, reader.get());
    fetcher_started_ms_ = milliseconds_now();
    return fetcher_ > 0;
  }

  // One that has got everything ends with 0, and none is needed any more.
  void replace_fetcher(int status) {
    fetcher_ = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    const bool soon = milliseconds_now() - fetcher_started_ms_ < static_cast<double>(kDeathWindowMs);
    fetcher_deaths_ = soon ? fetcher_deaths_ + 1 : 0;
    const bool again = fetcher_deaths_ < kMaxDeaths;
    log_line("the fetcher ended with %s %d; %s", WIFSIGNALED(status) ? "signal" : "status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
             again ? "starting another" : "what has not come cannot be read");
    if (again && !start_fetcher()) log_line("the fetcher could not be started: %s", strerror(errno));
  }

  // It also ends when nobody is left who holds the other end of its standard input.
  void end_fetcher() {
    if (fetcher_ <= 0) return;
    kill(fetcher_, SIGTERM);
    fetcher_life_.reset();
    for (int waited = 0; waited < kFetcherEndMs / 10; ++waited) {
      if (waitpid(fetcher_, nullptr, WNOHANG) != 0) return;
      const timespec pause{0, 10 * 1000 * 1000};
      nanosleep(&pause, nullptr);
    }
    kill(fetcher_, SIGKILL);
    waitpid(fetcher_, nullptr, 0);
  }

  // In a process of its own: unmounting may have to wait, and the helper for non-root users is a program
  // anyway.
  void start_unmount() {
    if (fork() != 0) return;
    const sigset_t set = handled_signals();
    sigprocmask(SIG_UNBLOCK, &set, nullptr);
    const std::string& mountpoint = options_.mount.mountpoint;
    int error = fuse::unmount_image(mountpoint, fuse::Unmount::kPlain, session_.by_helper());
    // The rest goes on being served until its last file is closed.
    if (error == EBUSY) error = fuse::unmount_image(mountpoint, fuse::Unmount::kLazy, session_.by_helper());
    _exit(error == 0 ? 0 : 1);
  }

  int give_up(const char* why) {
    log_line("%s; the mount is taken away", why);
    if (!reported_) report_failure(options_.control_fd, {"fork", errno != 0 ? errno : EIO, why});
    fuse::unmount_image(options_.mount.mountpoint, fuse::Unmount::kForce, session_.by_helper());
    end_fetcher();
    remove_files();
    return 1;
  }

  void remove_files() {
    for (const std::string& path : options_.remove) unlink(path.c_str());
    if (!options_.hold_path.empty()) unlink(options_.hold_path.c_str());
  }

  const ServeOptions& options_;
  Session session_;
  double started_ms_;
  pid_t supervisor_pid_ = 0;
  pid_t server_ = 0;
  bool reported_ = false;
  uint32_t deaths_ = 0;
  double died_ms_ = 0;
  uint64_t served_before_ = 0;
  pid_t fetcher_ = 0;
  UniqueFd fetcher_life_;
  double fetcher_started_ms_ = 0;
  uint32_t fetcher_deaths_ = 0;
  UniqueFd signals_;
  UniqueFd ready_reader_;
  UniqueFd ready_writer_;
  std::optional<HoldSocket> hold_socket_;
};

}  // namespace

int run_supervisor(const ServeOptions& options) { return Supervisor(options).run(); }

void report_failure(int control_fd, const Failure& failure) {
  std::string message = failure.message;
  std::replace(message.begin(), message.end(), '\n', ' ');
  log_line("%s", message.c_str());
  if (control_fd < 0) return;
  write_line(control_fd, "failed step=" + std::string(failure.step) +
                             " errno=" + std::to_string(failure.error) + " " + message + "\n");
}

}  // namespace lamina

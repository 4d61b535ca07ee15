// lamina-fuse: serves images, containers and stacks of directories as mounted filesystems. `serve` and what
// follows it are for the `lamina` command, which makes the error messages that people read; the command line
// of a stack (stack.h) is for people and for podman.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "fuse/mount.h"
#include "kernel_union.h"
#include "load/load.h"
#include "monitor/monitor.h"
#include "scan/scan.h"
#include "stack.h"
#include "supervisor.h"

#ifndef LAMINA_VERSION
#define LAMINA_VERSION "unknown"
#endif

namespace {

constexpr const char* kUsage =
    "usage: lamina-fuse serve --toc-fd N --source FD:OFFSET:LENGTH... --control-fd N [--stats-fd N]\n"
    "           [--remove PATH]... --fsname NAME --options LIST [--threads N] [--depth N] [--no-uring]\n"
    "           [--no-supervisor] MOUNTPOINT\n"
    "           [--presence-map SOURCE:FD]... [--fetcher-socket PATH] [--fetch-timeout MS] [--fetcher "
    "ARG]...\n"
    "           [--upper-fd N --work-fd N] [--lower-fd N]... [--userxattr] [--passthrough | "
    "--no-passthrough]\n"
    "           [--kernel-union DIR]\n"
    "       lamina-fuse [-f] -o lowerdir=TOP:..:BOTTOM[,upperdir=DIR,workdir=DIR][,OPTION]... MOUNTPOINT\n"
    "       lamina-fuse umount [--lazy] [--force] MOUNTPOINT\n"
    "       lamina-fuse scan|apply|lock ... (native/scan/scan.h)\n"
    "       lamina-fuse load ... (native/load/load.h)\n"
    "       lamina-fuse monitor ... (native/monitor/monitor.h)\n"
    "       lamina-fuse --version\n";

int serve(const std::vector<std::string>& arguments) {
  lamina::ServeOptions options;
  lamina::Failure failure;
  if (!lamina::parse_serve_options(arguments, options, failure)) {
    lamina::report_failure(options.control_fd, failure);
    return 1;
  }
  return options.image_mountpoint.empty() ? lamina::run_supervisor(options)
                                          : lamina::run_kernel_union(options);
}

int umount(const std::vector<std::string>& arguments) {
  using lamina::fuse::Unmount;
  Unmount how = Unmount::kPlain;
  std::string mountpoint;
  for (const std::string& argument : arguments) {
    if (argument == "--force") {
      how = Unmount::kForce;
    } else if (argument == "--lazy") {
      if (how == Unmount::kPlain) how = Unmount::kLazy;
    } else if (argument.starts_with("-") || !mountpoint.empty()) {
      fputs(kUsage, stderr);
      return 2;
    } else {
      mountpoint = argument;
    }
  }
  if (mountpoint.empty()) {
    fputs(kUsage, stderr);
    return 2;
  }
  const int error = lamina::fuse::unmount_image(mountpoint, how, false);
  if (error == 0) return 0;
  fprintf(stderr, "errno=%d %s %s: %s\n", error, strerrorname_np(error), mountpoint.c_str(), strerror(error));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty()) {
    fputs(kUsage, stderr);
    return 1;
  }
  const std::string command = arguments.front();
  if (command == "-h" || command == "--help") {
    fputs(kUsage, stdout);
    return 0;
  }
  if (command == "-V" || command == "--version") {
    puts("lamina-fuse " LAMINA_VERSION);
    return 0;
  }
  if (lamina::is_stack_command(argv[0], arguments)) return lamina::run_stack(argv[0], arguments);
  const std::vector<std::string> all = arguments;
  arguments.erase(arguments.begin());
  if (command == "serve") return serve(arguments);
  if (command == "umount") return umount(arguments);
  if (command == "scan") return lamina::scan::scan_command(arguments);
  if (command == "apply") return lamina::scan::apply_command(arguments);
  if (command == "lock") return lamina::scan::lock_command(arguments);
  if (command == "monitor") return lamina::monitor::monitor_command(arguments);
  if (command == "load") return lamina::load::load_command(arguments);
  return lamina::run_stack(argv[0], all);
}

// mount(2) takes its options in a page; what does not fit is an error like any other, and the caller has
// another way. The image's mount lies in a place of its own and is detached as soon as overlayfs holds it:
// when the last mount of the union goes, so does the image's.
#include "kernel_union.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "erofs/encode.h"
#include "fuse/mount.h"
#include "overlay/upper.h"
#include "supervisor.h"
#include "sys/log.h"
#include "sys/process.h"
#include "sys/stats.h"
#include "sys/unique_fd.h"

namespace lamina {

namespace {

constexpr size_t kPageBytes = 4096;
// For the image's metadata where the upper lies in memory: the kernel reads it through a file system that has
// blocks.
constexpr const char* kOtherPlace = "/var/tmp";

// overlayfs separates options by commas and lower layers by colons, and takes a backslash as the escape.
std::string escape(const std::string& path) {
  std::string escaped;
  for (const char byte : path) {
    if (byte == ',' || byte == ':' || byte == '\\') escaped += '\\';
    escaped += byte;
  }
  return escaped;
}

std::string fd_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// What a directory is called now.
bool path_of(int fd, std::string& path) {
  char buffer[PATH_MAX];
  const ssize_t length = readlink(fd_path(fd).c_str(), buffer, sizeof buffer);
  if (length <= 0 || length == sizeof buffer) return false;
  path.assign(buffer, static_cast<size_t>(length));
  struct stat named {};
  struct stat held {};
  return stat(path.c_str(), &named) == 0 && fstat(fd, &held) == 0 && named.st_dev == held.st_dev &&
         named.st_ino == held.st_ino;
}

// "MAJOR:MINOR" of what is mounted at a directory, without asking it.
bool device_of(const std::string& mountpoint, std::string& device) {
  struct statx status {};
  constexpr int kFlags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
  if (statx(AT_FDCWD, mountpoint.c_str(), kFlags, STATX_TYPE, &status) != 0) return false;
  device = std::to_string(status.stx_dev_major) + ":" + std::to_string(status.stx_dev_minor);
  return true;
}

bool is_mounted(const std::string& device) {
  FILE* table = fopen("/proc/self/mountinfo", "re");
  if (table == nullptr) return true;
  char* line = nullptr;
  size_t capacity = 0;
  bool found = false;
  while (!found && getline(&line, &capacity, table) > 0) {
    char here[32];
    found = sscanf(line, "%*u %*u %31s", here) == 1 && device == here;
  }
  free(line);
  fclose(table);
  return found;
}

class KernelUnion {
 public:
  explicit KernelUnion(const ServeOptions& options) : options_(options) {}

  bool mount_all(Failure& failure) {
    toc::Toc toc;
    std::vector<uint8_t> image;
    UniqueFd metadata;
    overlay::Upper upper;
    if (!open_toc(toc, failure) || !upper.open(options_.layers.upper, failure)) return false;
    if (upper.overrides() || upper.names().prefix != overlay::XattrNames(false).prefix)
      return refuse(failure, EINVAL, "the upper keeps owners in an attribute of its own");
    if (upper.has_kept())
      return refuse(failure, EINVAL, "a file of the upper lacks names that it is to have");
    upper.tidy();
    std::string why_not;
    if (!erofs::encode(toc, sources_, device_bytes_, image, why_not)) return refuse(failure, EINVAL, why_not);
    if (!mount_image(image, failure)) return false;
    const bool mounted = mount_overlay(failure);
    fuse::unmount_image(options_.image_mountpoint, fuse::Unmount::kLazy, false);
    rmdir(options_.image_mountpoint.c_str());
    return mounted;
  }

  // Waits for the end of the mount.
  int stay() {
    const UniqueFd table(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) sigaddset(&set, number);
    const UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    while (is_mounted(device_)) {
      pollfd watched[2] = {{signals.get(), POLLIN, 0}, {table.get(), POLLPRI, 0}};
      if (poll(watched, 2, -1) < 0 && errno != EINTR) break;
      signalfd_siginfo signal;
      while (read(signals.get(), &signal, sizeof signal) == sizeof signal) {
        take_down(signal.ssi_signo == SIGQUIT);
      }
    }
    return 0;
  }

 private:
  static bool refuse(Failure& failure, int error, const std::string& why) {
    return failure.set("overlay", error, why);
  }

  bool open_toc(toc::Toc& toc, Failure& failure) {
    std::vector<uint64_t> lengths;
    for (const overlay::Source& source : options_.sources) {
      auto device = std::find(devices_.begin(), devices_.end(), source.fd);
      if (device == devices_.end()) {
        struct stat status {};
        if (fstat(source.fd, &status) != 0)
          return failure.set("source", errno, "a source cannot be examined");
        if (!S_ISREG(status.st_mode)) return failure.set("source", EINVAL, "a source is not a regular file");
        device_bytes_.push_back(static_cast<uint64_t>(status.st_size));
        device = devices_.insert(devices_.end(), source.fd);
      }
      const auto place = static_cast<uint32_t>(device - devices_.begin());
      if (source.offset > device_bytes_[place] || source.length > device_bytes_[place] - source.offset)
        return failure.set("source", EINVAL, "a source is shorter than its range");
      sources_.push_back({place, source.offset});
      lengths.push_back(source.length);
    }
    toc::Error error;
    if (toc.open(options_.toc_fd, error) && toc.validate(lengths, error)) return true;
    return failure.set("toc", error.error, error.message);
  }

  // Files without a name, which end with the mount.
  bool mount_image(const std::vector<uint8_t>& image, Failure& failure) {
    std::string devices;
    for (const int fd : devices_) devices += ",device=" + fd_path(fd);
    if (devices.size() >= kPageBytes)
      return refuse(failure, E2BIG, "the image has too many layers for mount(2)");
    int error = 0;
    for (const std::string& place : {fd_path(options_.layers.upper.work_fd), std::string(kOtherPlace)}) {
      const UniqueFd file(open(place.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
      if (!file.valid() || !write_all(file.get(), image)) {
        error = errno;
        continue;
      }
      if (mount(fd_path(file.get()).c_str(), options_.image_mountpoint.c_str(), "erofs", MS_RDONLY,
                devices.empty() ? "" : devices.c_str() + 1) == 0) {
        return true;
      }
      error = errno;
    }
    return refuse(failure, error,
                  std::string("the kernel does not mount the image as EROFS: ") + strerror(error));
  }

  static bool write_all(int fd, const std::vector<uint8_t>& bytes) {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t written = write(fd, bytes.data() + done, bytes.size() - done);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      done += static_cast<size_t>(written);
    }
    return true;
  }

  bool mount_overlay(Failure& failure) {
    std::string upper;
    std::string work;
    if (!path_of(options_.layers.upper.upper_fd, upper) || !path_of(options_.layers.upper.work_fd, work))
      return refuse(failure, ENOENT, "the upper directory has no path here");
    const std::string data = "lowerdir=" + escape(options_.image_mountpoint) + ",upperdir=" + escape(upper) +
                             ",workdir=" + escape(work) + ",index=on,metacopy=on,redirect_dir=on,xino=auto";
    if (data.size() >= kPageBytes)
      return refuse(failure, ENAMETOOLONG, "the paths are too long for mount(2)");
    if (mount(options_.mount.fsname.c_str(), options_.mount.mountpoint.c_str(), "overlay",
              fuse::mount_flags(options_.mount), data.c_str()) != 0) {
      return refuse(failure, errno, std::string("overlayfs refused: ") + strerror(errno));
    }
    return device_of(options_.mount.mountpoint, device_) ||
           refuse(failure, errno, "the mount cannot be examined");
  }

  // What is open goes on being served until it is closed.
  void take_down(bool at_once) const {
    const std::string& mountpoint = options_.mount.mountpoint;
    std::string there;
    if (!device_of(mountpoint, there) || there != device_) return;
    if (at_once || fuse::unmount_image(mountpoint, fuse::Unmount::kPlain, false) == EBUSY)
      fuse::unmount_image(mountpoint, fuse::Unmount::kLazy, false);
  }

  const ServeOptions& options_;
  std::vector<int> devices_;
  std::vector<uint64_t> device_bytes_;
  std::vector<erofs::Source> sources_;
  std::string device_;
};

}  // namespace

int run_kernel_union(const ServeOptions& options) {
  std::vector<int> in_use{options.toc_fd, options.control_fd, options.stats_fd, options.layers.upper.upper_fd,
                          options.layers.upper.work_fd};
  for (const overlay::Source& source : options.sources) in_use.push_back(source.fd);
  detach_from_starter(in_use);
  signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  // Read by whoever counts requests: there are none.
  const Mapping stats = map_stats(options.stats_fd);
  KernelUnion mounts(options);
  Failure failure;
  if (!mounts.mount_all(failure)) {
    report_failure(options.control_fd, failure);
    return 1;
  }
  // The kernel holds what it needs.
  for (const overlay::Source& source : options.sources) close(source.fd);
  close(options.toc_fd);
  if (options.control_fd >= 0) {
    const std::string line = "ready pid=" + std::to_string(getpid()) + " uring=0 ms=0\n";
    [[maybe_unused]] const ssize_t written = write(options.control_fd, line.data(), line.size());
    close(options.control_fd);
  }
  const int status = mounts.stay();
  for (const std::string& path : options.remove) unlink(path.c_str());
  return status;
}

}  // namespace lamina

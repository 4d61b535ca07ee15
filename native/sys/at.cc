// The *at calls for extended attributes came with Linux 6.13, fchmodat2 with 6.6. Before that the object is
// reached through /proc/self/fd, whose entries lead to the directory itself (proc_pid_fd(5)).
#include "sys/at.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <utility>

#include "sys/unique_fd.h"

namespace lamina::at {

namespace {

// Newer than the headers of Debian 12.
constexpr long kFchmodat2 = 452;
constexpr long kSetxattrat = 463;
constexpr long kGetxattrat = 464;
constexpr long kListxattrat = 465;
constexpr long kRemovexattrat = 466;

struct XattrArgs {
  alignas(8) uint64_t value;
  uint32_t size;
  uint32_t flags;
};
static_assert(sizeof(XattrArgs) == 16);

// Asked once: a call that is not there costs nothing after that.
std::atomic<bool> has_xattrat{true};
std::atomic<bool> has_fchmodat2{true};

struct ProcPath {
  std::string text;
  ProcPath(int dir, const char* name) {
    if (dir != AT_FDCWD) text = "/proc/self/fd/" + std::to_string(dir) + '/';
    text += name;
  }
};

// A name that is a path too long for one call (PATH_MAX), as a directory on the way and the rest.
class Reached {
 public:
  Reached(int dir, const char* path) : dir_(dir), rest_(path) {
    while (error_ == 0 && strlen(rest_) >= PATH_MAX) step();
  }
  [[nodiscard]] int dir() const { return dir_; }
  [[nodiscard]] const char* rest() const { return rest_; }
  // 0 or a negative errno.
  [[nodiscard]] int error() const { return error_; }

 private:
  void step() {
    // The last slash that is near enough.
    std::string part(rest_, PATH_MAX - 1);
    const size_t slash = part.rfind('/');
    if (slash == std::string::npos) {
      error_ = -ENAMETOOLONG;
      return;
    }
    part.resize(slash);
    UniqueFd next(open_beneath(dir_, part.c_str(), O_PATH | O_DIRECTORY));
    if (!next.valid()) {
      error_ = next.get();
      return;
    }
    fd_ = std::move(next);
    dir_ = fd_.get();
    rest_ += slash + 1;
  }

  int dir_;
  const char* rest_;
  UniqueFd fd_;
  int error_ = 0;
};

template <typename Modern, typename Old>
ssize_t either(Modern&& modern, Old&& old) {
  if (has_xattrat.load(std::memory_order_relaxed)) {
    const long result = modern();
    if (result >= 0) return result;
    if (errno != ENOSYS) return -errno;
    has_xattrat.store(false, std::memory_order_relaxed);
  }
  const ssize_t result = old();
  return result >= 0 ? result : -errno;
}

}  // namespace

int stat(int dir, const char* name, struct stat& status) {
  const Reached at(dir, name);
  if (at.error() != 0) return at.error();
  return fstatat(at.dir(), at.rest(), &status, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

int open(int dir, const char* name, int flags, mode_t mode) {
  const int fd = openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
  return fd >= 0 ? fd : -errno;
}

int open_beneath(int dir, const char* path, int flags) {
  const Reached at(dir, path);
  if (at.error() != 0) return at.error();
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_NOFOLLOW | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long fd = syscall(SYS_openat2, at.dir(), at.rest(), &how, sizeof how);
  return fd >= 0 ? static_cast<int>(fd) : -errno;
}

int chmod(int dir, const char* name, mode_t mode) {
  if (has_fchmodat2.load(std::memory_order_relaxed)) {
    if (syscall(kFchmodat2, dir, name, mode, AT_SYMLINK_NOFOLLOW) == 0) return 0;
    if (errno != ENOSYS) return -errno;
    has_fchmodat2.store(false, std::memory_order_relaxed);
  }
  return fchmodat(dir, name, mode, 0) == 0 ? 0 : -errno;
}

ssize_t read_link(int dir, const char* name, char* target, size_t size) {
  const Reached at(dir, name);
  if (at.error() != 0) return at.error();
  const ssize_t length = readlinkat(at.dir(), at.rest(), target, size);
  return length >= 0 ? length : -errno;
}

ssize_t get_xattr(int dir, const char* name, const char* attribute, void* value, size_t size) {
  const Reached at(dir, name);
  if (at.error() != 0) return at.error();
  XattrArgs arguments{reinterpret_cast<uint64_t>(value), static_cast<uint32_t>(size), 0};
  return either(
      [&] {
        return syscall(kGetxattrat, at.dir(), at.rest(), AT_SYMLINK_NOFOLLOW, attribute, &arguments,
                       sizeof arguments);
      },
      [&] { return lgetxattr(ProcPath(at.dir(), at.rest()).text.c_str(), attribute, value, size); });
}

int set_xattr(int dir, const char* name, const char* attribute, const void* value, size_t size, int flags) {
  XattrArgs arguments{reinterpret_cast<uint64_t>(value), static_cast<uint32_t>(size),
                      static_cast<uint32_t>(flags)};
  return static_cast<int>(either(
      [&] {
        return syscall(kSetxattrat, dir, name, AT_SYMLINK_NOFOLLOW, attribute, &arguments, sizeof arguments);
      },
      [&] { return lsetxattr(ProcPath(dir, name).text.c_str(), attribute, value, size, flags); }));
}

int remove_xattr(int dir, const char* name, const char* attribute) {
  return static_cast<int>(
      either([&] { return syscall(kRemovexattrat, dir, name, AT_SYMLINK_NOFOLLOW, attribute); },
             [&] { return lremovexattr(ProcPath(dir, name).text.c_str(), attribute); }));
}

int list_xattrs(int dir, const char* name, std::vector<char>& names) {
  const Reached at(dir, name);
  if (at.error() != 0) return at.error();
  names.resize(1024);
  for (;;) {
    const ssize_t length = either(
        [&] {
          return syscall(kListxattrat, at.dir(), at.rest(), AT_SYMLINK_NOFOLLOW, names.data(), names.size());
        },
        [&] { return llistxattr(ProcPath(at.dir(), at.rest()).text.c_str(), names.data(), names.size()); });
    if (length >= 0) {
      names.resize(static_cast<size_t>(length));
      return 0;
    }
    // XATTR_LIST_MAX is 65536.
    if (length != -ERANGE || names.size() >= 65536) return static_cast<int>(length);
    names.resize(65536);
  }
}

int read_xattr(int dir, const char* name, const char* attribute, std::string& value) {
  value.resize(256);
  for (;;) {
    const ssize_t length = get_xattr(dir, name, attribute, value.data(), value.size());
    if (length >= 0) {
      value.resize(static_cast<size_t>(length));
      return 0;
    }
    if (length != -ERANGE || value.size() >= 65536) return static_cast<int>(length);
    value.resize(65536);
  }
}

}  // namespace lamina::at

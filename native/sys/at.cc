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
#include <cstdio>
#include <cstring>

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
  return fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

int open(int dir, const char* name, int flags, mode_t mode) {
  const int fd = openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
  return fd >= 0 ? fd : -errno;
}

int open_beneath(int dir, const char* path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_NOFOLLOW | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
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

ssize_t get_xattr(int dir, const char* name, const char* attribute, void* value, size_t size) {
  XattrArgs arguments{reinterpret_cast<uint64_t>(value), static_cast<uint32_t>(size), 0};
  return either(
      [&] {
        return syscall(kGetxattrat, dir, name, AT_SYMLINK_NOFOLLOW, attribute, &arguments, sizeof arguments);
      },
      [&] { return lgetxattr(ProcPath(dir, name).text.c_str(), attribute, value, size); });
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
  names.resize(1024);
  for (;;) {
    const ssize_t length = either(
        [&] { return syscall(kListxattrat, dir, name, AT_SYMLINK_NOFOLLOW, names.data(), names.size()); },
        [&] { return llistxattr(ProcPath(dir, name).text.c_str(), names.data(), names.size()); });
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

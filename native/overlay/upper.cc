// Everything is made under a temporary name in the work directory and renamed to its place, or made in its
// place by one call: after a crash the upper holds whole objects only, and the work directory is emptied.
#include "overlay/upper.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>

#include "overlay/entries.h"
#include "sys/at.h"
#include "sys/credentials.h"

namespace lamina::overlay {

namespace {

// Two seconds.
constexpr int kLockTries = 200;
constexpr long kLockPauseNs = 10 * 1000 * 1000;

constexpr const char* kWorkName = "work";
// Beside it, so that it is not emptied.
constexpr const char* kKeptName = "links";
constexpr const char* kWhiteoutName = "whiteout";

int errno_of(int result) { return result < 0 ? -result : 0; }

}  // namespace

bool Upper::open(const UpperOptions& options, Failure& failure) {
  options_ = options;
  // The server of a mount that has just ended holds it for a moment longer.
  int tries = kLockTries;
  while (flock(options.work_fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK && --tries > 0) {
      const timespec pause{0, kLockPauseNs};
      nanosleep(&pause, nullptr);
      continue;
    }
    if (errno == EWOULDBLOCK) {
      return failure.set("upper", EBUSY, "the upper directory is in use by another mount");
    }
    return failure.set("upper", errno,
                       std::string("the work directory cannot be locked: ") + strerror(errno));
  }
  struct stat upper {};
  struct stat work {};
  if (fstat(options.upper_fd, &upper) != 0 || fstat(options.work_fd, &work) != 0) {
    return failure.set("upper", errno,
                       std::string("the upper directory cannot be examined: ") + strerror(errno));
  }
  if (!S_ISDIR(upper.st_mode) || !S_ISDIR(work.st_mode)) {
    return failure.set("upper", ENOTDIR, "upper and work must be directories");
  }
  if (upper.st_dev != work.st_dev) {
    return failure.set("upper", EXDEV, "upper and work directory must be on one filesystem");
  }
  if (upper.st_ino == work.st_ino) return failure.set("upper", EINVAL, "upper and work are one directory");
  return prepare_work(failure) && probe(failure);
}

// The subdirectory is the one that kernel overlayfs uses, and empties, as well.
bool Upper::prepare_work(Failure& failure) {
  const auto open_directory = [&](const char* name, UniqueFd& directory) {
    const int fd = at::open(options_.work_fd, name, O_RDONLY | O_DIRECTORY);
    if (fd >= 0) directory.reset(fd);
    return errno_of(fd);
  };
  int error = 0;
  if (mkdirat(options_.work_fd, kKeptName, 0700) != 0 && errno != EEXIST) error = errno;
  if (error == 0) error = open_directory(kKeptName, kept_);
  if (UniqueFd before; error == 0 && open_directory(kWorkName, before) == 0) {
    // Which of the two it was is not known yet; an object has the one.
    for (const bool user : {false, true}) restore_names(before.get(), kept_.get(), XattrNames(user));
  }
  if (error == 0) error = remove_tree(options_.work_fd, kWorkName);
  if (error == ENOENT) error = 0;
  if (error == 0 && mkdirat(options_.work_fd, kWorkName, 0700) != 0) error = errno;
  if (error == 0) error = open_directory(kWorkName, work_);
  if (error == 0) return true;
  return failure.set("upper", error,
                     std::string("the work directory cannot be prepared: ") + strerror(error));
}

bool Upper::has_kept() const {
  bool found = false;
  const int fd = at::open(kept(), at::kSelf, O_RDONLY | O_DIRECTORY);
  if (fd >= 0) for_each_entry(fd, [&](const char*, uint8_t, int) { found = true; });
  return found;
}

void Upper::tidy() const { unlinkat(work(), kWhiteoutName, 0); }

bool Upper::probe(Failure& failure) {
  bool user = options_.user_xattr || geteuid() != 0;
  const std::string name = temporary_name();
  const UniqueFd file(openat(work(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return failure.set("upper", errno,
                       std::string("the work directory cannot be written: ") + strerror(errno));
  }
  int error = 0;
  const std::string probe_name = XattrNames(user).prefix + "probe";
  if (fsetxattr(file.get(), probe_name.c_str(), "y", 1, 0) != 0) error = errno;
  if (error == EPERM && !user) {
    // Root of a user namespace may not use trusted attributes (xattr(7)).
    user = true;
    error = fsetxattr(file.get(), (XattrNames(user).prefix + "probe").c_str(), "y", 1, 0) == 0 ? 0 : errno;
  }
  names_ = std::make_unique<XattrNames>(user);
  has_acl_ = getxattr("/proc/self/fd", "system.posix_acl_access", nullptr, 0) >= 0 ||
             fgetxattr(file.get(), "system.posix_acl_access", nullptr, 0) >= 0 || errno == ENODATA;
  override_name_ = find_override(root());
  if (override_name_.empty()) override_name_ = options_.override_name;
  // Another owner cannot be set: then all owners are kept beside.
  if (override_name_.empty() && geteuid() != 0) override_name_ = kOverrideContainers;
  unlinkat(work(), name.c_str(), 0);
  // With owners in attributes, what is made is not what it is shown as.
  makes_unnamed_ =
      !overrides() && UniqueFd(openat(work(), at::kSelf, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)).valid();
  if (error == 0 && overrides()) {
    // By the root's others tell how the rest is kept.
    struct stat status {};
    error = stat(root(), at::kSelf, status);
    if (error == 0) error = keep(root(), at::kSelf, status);
  }
  if (error != 0) {
    return failure.set(
        "upper", error,
        std::string("the upper's filesystem keeps no extended attributes of overlayfs: ") + strerror(error));
  }
  return true;
}

int Upper::stat(int dir, const char* name, struct stat& status) const {
  if (const int error = at::stat(dir, name, status); error < 0) return -error;
  if (overrides()) apply_override(dir, name, override_name_, status);
  return 0;
}

int Upper::keep(int dir, const char* name, const struct stat& status) const {
  return write_override(dir, name, override_name_, status);
}

// Links have no attributes to keep owners in: they get the real one where that is allowed.
int Upper::chown_link(int dir, const char* name, uid_t uid, gid_t gid) {
  if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) == 0 || geteuid() != 0) return 0;
  return errno;
}

int Upper::chown(int dir, const char* name, uid_t uid, gid_t gid) const {
  if (!overrides()) return fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
  struct stat status {};
  if (const int error = stat(dir, name, status); error != 0) return error;
  if (S_ISLNK(status.st_mode)) return chown_link(dir, name, uid, gid);
  if (uid != static_cast<uid_t>(-1)) status.st_uid = uid;
  if (gid != static_cast<gid_t>(-1)) status.st_gid = gid;
  // As chown(2) does.
  if (!S_ISDIR(status.st_mode)) {
    status.st_mode &= ~static_cast<mode_t>(S_ISUID);
    if ((status.st_mode & S_IXGRP) != 0) status.st_mode &= ~static_cast<mode_t>(S_ISGID);
  }
  return keep(dir, name, status);
}

int Upper::chmod(int dir, const char* name, mode_t mode) const {
  if (!overrides()) return errno_of(at::chmod(dir, name, mode & 07777));
  struct stat status {};
  if (const int error = stat(dir, name, status); error != 0) return error;
  status.st_mode = (status.st_mode & S_IFMT) | (mode & 07777);
  return keep(dir, name, status);
}

std::string Upper::temporary_name() {
  return std::string(kTemporary) + std::to_string(getpid()) + '-' +
         std::to_string(next_temporary_.fetch_add(1));
}

std::string Upper::orphan_name(uint64_t node) { return "orphan-" + std::to_string(node); }

int Upper::make(int dir, const char* name, mode_t mode, dev_t rdev, const char* target,
                const fuse::Caller& caller, mode_t umask, UniqueFd* opened) const {
  if (overrides()) {
    struct stat parent {};
    if (const int error = stat(dir, at::kSelf, parent); error != 0) return error;
    struct stat status {};
    status.st_mode = mode & ~umask;
    status.st_uid = caller.uid;
    status.st_gid = (parent.st_mode & S_ISGID) != 0 ? parent.st_gid : caller.gid;
    if (S_ISDIR(mode) && (parent.st_mode & S_ISGID) != 0) status.st_mode |= S_ISGID;
    status.st_rdev = rdev;
    int result = 0;
    if (S_ISDIR(mode)) {
      result = mkdirat(dir, name, 0700);
    } else if (S_ISLNK(mode)) {
      return symlinkat(target, dir, name) == 0 ? chown_link(dir, name, status.st_uid, status.st_gid) : errno;
    } else {
      result = mknodat(dir, name, S_IFREG | 0600, 0);
    }
    // A server that was killed may have made it, and not have lived to say whose it is.
    if (result != 0 && (errno != EEXIST || !caller.replayed ||
                        at::get_xattr(dir, name, override_name_.c_str(), nullptr, 0) >= 0)) {
      return errno;
    }
    const int error = keep(dir, name, status);
    if (error != 0) unlinkat(dir, name, S_ISDIR(mode) ? AT_REMOVEDIR : 0);
    return error;
  }
  act_as(caller.uid, caller.gid, umask);
  int result = 0;
  if (S_ISDIR(mode)) {
    result = mkdirat(dir, name, mode & 07777);
  } else if (S_ISLNK(mode)) {
    result = symlinkat(target, dir, name);
  } else if (S_ISREG(mode) && opened != nullptr) {
    result = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 07777);
    if (result >= 0) opened->reset(result);
  } else {
    result = mknodat(dir, name, mode, rdev);
  }
  const int error = result >= 0 ? 0 : errno;
  act_as_server();
  return error;
}

int Upper::make_unnamed(int dir, const char* name, mode_t mode, const fuse::Caller& caller,
                        mode_t umask) const {
  if (overrides()) return make(work(), name, S_IFREG | mode, 0, nullptr, caller, umask);
  act_as(caller.uid, caller.gid, umask);
  const UniqueFd file(openat(dir, at::kSelf, O_TMPFILE | O_RDWR | O_CLOEXEC, mode));
  const int error = errno;
  act_as_server();
  if (!file.valid()) {
    if (error != EOPNOTSUPP && error != EISDIR) return error;
    return make(work(), name, S_IFREG | mode, 0, nullptr, caller, umask);
  }
  return give_place(file.get(), work(), name);
}

int Upper::give_place(int fd, int dir, const char* name) {
  // ENOENT: only for who has CAP_DAC_READ_SEARCH (linkat(2)).
  if (linkat(fd, "", dir, name, AT_EMPTY_PATH) == 0) return 0;
  if (errno != ENOENT) return errno;
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

int Upper::make_exactly(const char* name, const ObjectAttributes& attributes, const char* target) const {
  int result = 0;
  if (S_ISDIR(attributes.mode)) {
    result = mkdirat(work(), name, 0700);
  } else if (S_ISLNK(attributes.mode)) {
    result = symlinkat(target, work(), name);
  } else if (overrides()) {
    result = mknodat(work(), name, S_IFREG | 0600, 0);
  } else {
    result = mknodat(work(), name, (attributes.mode & S_IFMT) | 0600, attributes.rdev);
  }
  return result == 0 ? 0 : errno;
}

int Upper::set_attributes(int dir, const char* name, const ObjectAttributes& attributes) const {
  if (overrides()) {
    struct stat status {};
    status.st_mode = attributes.mode;
    status.st_uid = attributes.uid;
    status.st_gid = attributes.gid;
    status.st_rdev = attributes.rdev;
    const int error = S_ISLNK(attributes.mode) ? chown_link(dir, name, attributes.uid, attributes.gid)
                                               : keep(dir, name, status);
    if (error != 0) return error;
  } else {
    if (fchownat(dir, name, attributes.uid, attributes.gid, AT_SYMLINK_NOFOLLOW) != 0) return errno;
    // After chown, which takes setuid bits away.
    if (!S_ISLNK(attributes.mode)) {
      if (const int error = at::chmod(dir, name, attributes.mode & 07777); error < 0) return -error;
    }
  }
  const timespec times[2] = {attributes.atime, attributes.mtime};
  return utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
}

int Upper::make_whiteout(int dir, const char* name) {
  // Links to one whiteout are cheaper than whiteouts; filesystems bound how many there may be.
  for (int tries = 0; tries < 3 && device_whiteouts_; ++tries) {
    if (!whiteout_ready_.load(std::memory_order_acquire)) {
      if (mknodat(work(), kWhiteoutName, S_IFCHR | 0600, 0) != 0 && errno != EEXIST) {
        if (errno != EPERM && errno != EINVAL) return errno;
        device_whiteouts_ = false;
        break;
      }
      whiteout_ready_.store(true, std::memory_order_release);
    }
    if (linkat(work(), kWhiteoutName, dir, name, 0) == 0) return 0;
    if (errno == EMLINK || errno == ENOENT) {
      const std::string full = temporary_name();
      renameat(work(), kWhiteoutName, work(), full.c_str());
      unlinkat(work(), full.c_str(), 0);
      whiteout_ready_.store(false, std::memory_order_release);
      continue;
    }
    if (errno != EEXIST) return errno;
    const std::string temporary = temporary_name();
    if (linkat(work(), kWhiteoutName, work(), temporary.c_str(), 0) != 0) continue;
    const int error = renameat(work(), temporary.c_str(), dir, name) == 0 ? 0 : errno;
    // rename(2) does nothing where both are links to one inode: it is a whiteout already.
    unlinkat(work(), temporary.c_str(), 0);
    return error;
  }
  if (device_whiteouts_) return EMLINK;
  // A file with an attribute, in a directory that says that it has such (overlayfs.rst, "whiteouts and opaque
  // directories").
  const std::string temporary = temporary_name();
  if (mknodat(work(), temporary.c_str(), S_IFREG | 0600, 0) != 0) return errno;
  int error = errno_of(at::set_xattr(work(), temporary.c_str(), names().whiteout.c_str(), "y", 1, 0));
  if (error == 0) {
    Marks marks;
    error = errno_of(read_marks(names(), dir, at::kSelf, marks));
    if (error == 0 && !marks.opaque && !marks.xattr_whiteouts) {
      error = errno_of(at::set_xattr(dir, at::kSelf, names().opaque.c_str(), "x", 1, 0));
    }
  }
  if (error == 0 && renameat(work(), temporary.c_str(), dir, name) != 0) error = errno;
  if (error != 0) unlinkat(work(), temporary.c_str(), 0);
  return error;
}

bool Upper::is_whiteout(int dir, const char* name, const struct stat& status) const {
  if (is_device_whiteout(status)) return true;
  if (!may_be_xattr_whiteout(status)) return false;
  return at::get_xattr(dir, name, names().whiteout.c_str(), nullptr, 0) >= 0;
}

int Upper::set_opaque(int dir, const char* name) const {
  return errno_of(at::set_xattr(dir, name, names().opaque.c_str(), "y", 1, 0));
}

int Upper::sync(int fd, bool data_only) const {
  if (options_.is_volatile) return 0;
  return (data_only ? fdatasync(fd) : fsync(fd)) == 0 ? 0 : errno;
}

int Upper::remove_tree(int dir, const char* name) {
  if (unlinkat(dir, name, 0) == 0) return 0;
  if (errno != EISDIR && errno != EPERM) return errno;
  const int fd = at::open(dir, name, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return -fd;
  int error = 0;
  const int unread = for_each_entry(fd, [&](const char* child, uint8_t, int open) {
    if (const int failed = remove_tree(open, child); failed != 0 && failed != ENOENT) error = failed;
  });
  if (error == 0) error = unread;
  if (unlinkat(dir, name, AT_REMOVEDIR) == 0) return 0;
  return error != 0 ? error : errno;
}

}  // namespace lamina::overlay

#include "scan/scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "scan/beneath.h"
#include "scan/format.h"

namespace lamina::scan {

namespace {

constexpr size_t kFlushBytes = size_t{256} * 1024;

class Scanner {
 public:
  explicit Scanner(uint32_t max_depth) : max_depth_(max_depth) {}

  // Streams the entry that `itself` (O_PATH) is open on, and all below it.
  bool run(const UniqueFd& itself) {
    out_.append(kScanMagic, kMagicBytes);
    struct stat status {};
    if (fstat(itself.get(), &status) != 0) return set_error(errno);
    // Reached through itself: the attributes of a link that is open are those of the descriptor's own path.
    const std::string path = "/proc/self/fd/" + std::to_string(itself.get());
    if (!S_ISDIR(status.st_mode)) {
      if (!entry(
              status, "", 0,
              [&](char* buffer, size_t size) { return readlinkat(itself.get(), "", buffer, size); }, path,
              true))
        return false;
    } else {
      UniqueFd directory(openat(itself.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!directory.valid()) return set_error(errno);
      if (!entry(status, "", 0, nullptr, path, true)) return false;
      if (max_depth_ > 0 && !children(std::move(directory), 1)) return false;
    }
    store<uint32_t>(out_, 0);
    return flush();
  }

  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  bool set_error(int error) {
    error_ = error;
    return false;
  }

  // What is gone by the time it is asked for was never there.
  static bool vanished(int error) { return error == ENOENT || error == ENOTDIR; }

  bool children(UniqueFd directory, uint32_t depth) {
    std::vector<std::string> names;
    {
      const int fd = dup(directory.get());
      DIR* stream = fd < 0 ? nullptr : fdopendir(fd);
      if (stream == nullptr) {
        const int error = errno;
        if (fd >= 0) close(fd);
        return set_error(error);
      }
      errno = 0;
      for (const dirent* found = readdir(stream); found != nullptr; found = readdir(stream)) {
        const std::string name = found->d_name;
        if (name != "." && name != "..") names.push_back(name);
        errno = 0;
      }
      const int error = errno;
      closedir(stream);
      if (error != 0) return set_error(error);
    }
    std::sort(names.begin(), names.end());
    const size_t length = path_.size();
    for (const std::string& name : names) {
      path_ += '/';
      path_ += name;
      if (!child(directory, name, depth)) return false;
      path_.resize(length);
    }
    return true;
  }

  bool child(const UniqueFd& directory, const std::string& name, uint32_t depth) {
    struct stat status {};
    if (fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      return vanished(errno) || set_error(errno);
    if (S_ISDIR(status.st_mode)) {
      UniqueFd below(openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!below.valid()) return vanished(errno) || set_error(errno);
      // What was opened counts, should the name lead elsewhere by now.
      if (fstat(below.get(), &status) != 0) return set_error(errno);
      if (!entry(status, name, depth, nullptr, "/proc/self/fd/" + std::to_string(below.get()), true))
        return false;
      return depth >= max_depth_ || children(std::move(below), depth + 1);
    }
    return entry(
        status, name, depth,
        [&](char* buffer, size_t size) { return readlinkat(directory.get(), name.c_str(), buffer, size); },
        proc_path(directory.get(), name.c_str()), false);
  }

  // `follow`: `xattr_path` is the magic link of a descriptor, which must be followed to reach what is open.
  template <typename ReadLink>
  bool entry(const struct stat& status, const std::string& name, uint32_t depth, const ReadLink& read_link,
             const std::string& xattr_path, bool follow) {
    std::string text;
    if constexpr (!std::is_null_pointer_v<ReadLink>) {
      if (S_ISLNK(status.st_mode)) {
        char buffer[PATH_MAX];
        const ssize_t length = read_link(buffer, sizeof buffer);
        if (length < 0) return vanished(errno) || errno == EINVAL || set_error(errno);
        text.assign(buffer, static_cast<size_t>(length));
      }
    }
    std::string attributes;
    uint32_t count = 0;
    if (!read_xattrs(xattr_path, follow, attributes, count))
      return vanished(error_) ? (error_ = 0, true) : false;

    const size_t length = kScanRecordBytes + name.size() + text.size() + attributes.size();
    store<uint32_t>(out_, static_cast<uint32_t>(length));
    store<uint32_t>(out_, status.st_mode);
    store<uint64_t>(out_, status.st_dev);
    store<uint64_t>(out_, status.st_ino);
    store<uint32_t>(out_, static_cast<uint32_t>(status.st_nlink));
    store<uint32_t>(out_, status.st_uid);
    store<uint32_t>(out_, status.st_gid);
    const bool device = S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode);
    store<uint32_t>(out_, device ? major(status.st_rdev) : 0);
    store<uint32_t>(out_, device ? minor(status.st_rdev) : 0);
    store<uint32_t>(out_, depth);
    store<uint64_t>(out_, 0);
    store<int64_t>(out_, status.st_size);
    store<int64_t>(out_, status.st_mtim.tv_sec);
    store<uint32_t>(out_, static_cast<uint32_t>(status.st_mtim.tv_nsec));
    store<uint32_t>(out_, static_cast<uint32_t>(status.st_ctim.tv_nsec));
    store<int64_t>(out_, status.st_ctim.tv_sec);
    store<int64_t>(out_, status.st_blocks);
    store<uint32_t>(out_, static_cast<uint32_t>(name.size()));
    store<uint32_t>(out_, static_cast<uint32_t>(text.size()));
    store<uint32_t>(out_, count);
    store<uint32_t>(out_, 0);
    out_ += name;
    out_ += text;
    out_ += attributes;
    return out_.size() < kFlushBytes || flush();
  }

  bool read_xattrs(const std::string& path, bool follow, std::string& out, uint32_t& count) {
    const auto list = follow ? listxattr : llistxattr;
    const auto get = follow ? getxattr : lgetxattr;
    ssize_t length = 0;
    for (;;) {
      length = list(path.c_str(), names_.data(), names_.size());
      if (length < 0 && errno == EOPNOTSUPP) return true;
      if (length < 0 && errno == ERANGE && names_.size() < kMaxRecordBytes) {
        names_.resize(names_.size() * 2);
        continue;
      }
      if (length < 0) return set_error(errno);
      break;
    }
    std::vector<std::string> sorted;
    for (ssize_t at = 0; at < length; at += static_cast<ssize_t>(sorted.back().size()) + 1)
      sorted.emplace_back(names_.data() + at);
    std::sort(sorted.begin(), sorted.end());
    for (const std::string& name : sorted) {
      ssize_t size = 0;
      for (;;) {
        size = get(path.c_str(), name.c_str(), value_.data(), value_.size());
        if (size >= 0 || errno != ERANGE || value_.size() >= kMaxRecordBytes) break;
        value_.resize(value_.size() * 2);
      }
      // Listed, but gone or not ours to read (security modules do that).
      if (size < 0 && (errno == ENODATA || errno == EOPNOTSUPP || errno == EPERM)) continue;
      if (size < 0) return set_error(errno);
      store<uint32_t>(out, static_cast<uint32_t>(name.size()));
      store<uint32_t>(out, static_cast<uint32_t>(size));
      out += name;
      out.append(value_.data(), static_cast<size_t>(size));
      count++;
    }
    return true;
  }

  bool flush() {
    for (size_t done = 0; done < out_.size();) {
      const ssize_t written = write(STDOUT_FILENO, out_.data() + done, out_.size() - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return set_error(errno);
      done += static_cast<size_t>(written);
    }
    out_.clear();
    return true;
  }

  uint32_t max_depth_;
  std::string out_;
  std::string path_;
  std::string names_ = std::string(4096, '\0');
  std::string value_ = std::string(4096, '\0');
  int error_ = 0;
};

}  // namespace

int fail(int error, const std::string& path, const char* what) {
  fprintf(stderr, "errno=%d %s %s: %s\n", error, strerrorname_np(error), path.c_str(), what);
  return 1;
}

int scan_command(const std::vector<std::string>& arguments) {
  std::string in_root;
  std::string directory;
  uint32_t max_depth = UINT32_MAX;
  int flags = O_PATH;
  for (size_t index = 0; index < arguments.size(); index++) {
    const std::string& argument = arguments[index];
    const bool has_value = index + 1 < arguments.size();
    if (argument == "--in-root" && has_value) {
      in_root = arguments[++index];
    } else if (argument == "--depth" && has_value) {
      max_depth = static_cast<uint32_t>(strtoul(arguments[++index].c_str(), nullptr, 10));
    } else if (argument == "--no-follow") {
      flags |= O_NOFOLLOW;
    } else if (argument.starts_with("--") || !directory.empty()) {
      return 2;
    } else {
      directory = argument;
    }
  }
  if (directory.empty()) return 2;
  raise_descriptor_limit();
  const UniqueFd root(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return fail(errno, directory, strerror(errno));
  const UniqueFd start = open_beneath(root.get(), in_root, flags, Links::kInRoot);
  if (!start.valid()) return fail(errno, in_root.empty() ? directory : in_root, strerror(errno));
  Scanner scanner(max_depth);
  if (scanner.run(start)) return 0;
  return fail(scanner.error(), scanner.path().empty() ? directory : scanner.path(),
              strerror(scanner.error()));
}

}  // namespace lamina::scan

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>
#include <utility>

#include "scan/beneath.h"
#include "scan/format.h"
#include "scan/scan.h"

namespace lamina::scan {

namespace {

struct Record {
  uint32_t kind = 0;
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t rdev_major = 0;
  uint32_t rdev_minor = 0;
  uint32_t flags = 0;
  timespec mtime{};
  uint64_t content_bytes = 0;
  std::string path;
  std::string text;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

class Input {
 public:
  // Exactly `size` bytes; false at the end of the stream or on error.
  bool read_exactly(char* into, size_t size) {
    for (size_t done = 0; done < size;) {
      if (at_ == end_ && !fill()) return false;
      const size_t part = std::min(size - done, end_ - at_);
      memcpy(into + done, buffer_ + at_, part);
      at_ += part;
      done += part;
    }
    return true;
  }

  // Up to `size` bytes where they lie; empty at the end.
  std::pair<const char*, size_t> some(uint64_t size) {
    if (at_ == end_ && !fill()) return {nullptr, 0};
    const size_t part = static_cast<size_t>(std::min<uint64_t>(size, end_ - at_));
    const char* from = buffer_ + at_;
    at_ += part;
    return {from, part};
  }

 private:
  bool fill() {
    ssize_t count = 0;
    do count = read(STDIN_FILENO, buffer_, sizeof buffer_);
    while (count < 0 && errno == EINTR);
    at_ = 0;
    end_ = count > 0 ? static_cast<size_t>(count) : 0;
    return count > 0;
  }

  char buffer_[256 * 1024];
  size_t at_ = 0;
  size_t end_ = 0;
};

class Applier {
 public:
  Applier(UniqueFd root, Links links) : root_(std::move(root)), links_(links) {}

  int run() {
    char magic[kMagicBytes];
    if (!input_.read_exactly(magic, sizeof magic) || memcmp(magic, kApplyMagic, sizeof magic) != 0)
      return fail(EBADMSG, "stdin", "it is not a stream of entries");
    for (;;) {
      Record record;
      bool is_end = false;
      if (!read_record(record, is_end)) return fail(EBADMSG, "stdin", "the stream of entries is cut short");
      if (is_end) break;
      at_ = record.path;
      if (!apply(record)) return fail(errno, at_, strerror(errno));
      entries_++;
    }
    if (!describe_directories()) return fail(errno, at_, strerror(errno));
    printf("applied %llu %llu\n", entries_, lost_);
    return 0;
  }

 private:
  bool read_record(Record& record, bool& is_end) {
    char head[kApplyRecordBytes];
    if (!input_.read_exactly(head, 4)) return false;
    const auto length = load<uint32_t>(head);
    if (length == 0) return is_end = true;
    if (length < kApplyRecordBytes || length > kMaxRecordBytes) return false;
    if (!input_.read_exactly(head + 4, sizeof head - 4)) return false;
    record.kind = load<uint32_t>(head + 4);
    record.mode = load<uint32_t>(head + 8);
    record.uid = load<uint32_t>(head + 12);
    record.gid = load<uint32_t>(head + 16);
    record.rdev_major = load<uint32_t>(head + 20);
    record.rdev_minor = load<uint32_t>(head + 24);
    record.mtime.tv_sec = load<int64_t>(head + 32);
    record.mtime.tv_nsec = load<uint32_t>(head + 40);
    record.flags = load<uint32_t>(head + 44);
    record.content_bytes = load<uint64_t>(head + 48);
    std::string rest(length - kApplyRecordBytes, '\0');
    if (!input_.read_exactly(rest.data(), rest.size())) return false;
    size_t at = 0;
    const auto take = [&](std::string& into, uint32_t size) {
      if (size > rest.size() - at) return false;
      into = rest.substr(at, size);
      at += size;
      return into.find('\0') == std::string::npos;
    };
    if (!take(record.path, load<uint32_t>(head + 56)) || !take(record.text, load<uint32_t>(head + 60)))
      return false;
    for (uint32_t left = load<uint32_t>(head + 64); left > 0; left--) {
      if (rest.size() - at < 8) return false;
      const auto name_bytes = load<uint32_t>(rest.data() + at);
      const auto value_bytes = load<uint32_t>(rest.data() + at + 4);
      at += 8;
      auto& [name, value] = record.xattrs.emplace_back();
      if (!take(name, name_bytes) || value_bytes > rest.size() - at) return false;
      value = rest.substr(at, value_bytes);
      at += value_bytes;
    }
    return true;
  }

  // False means errno.
  bool apply(const Record& record) {
    std::string parent_path;
    std::string name;
    split_path(record.path, parent_path, name);
    if (name == "." || name == "..") return error(EINVAL);
    if (record.kind == kRemoveXattr) return remove_xattr(record);
    if (record.path.empty()) {
      if (!S_ISDIR(record.mode)) return error(EINVAL);
      directories_.push_back(record);
      return true;
    }
    const UniqueFd parent = open_directory(root_.get(), parent_path, links_);
    if (!parent.valid()) return false;
    struct stat existing {};
    const bool exists = fstatat(parent.get(), name.c_str(), &existing, AT_SYMLINK_NOFOLLOW) == 0;
    if (!exists && errno != ENOENT) return false;
    if (record.kind == kPut && S_ISDIR(record.mode)) {
      if (exists && !S_ISDIR(existing.st_mode)) return error(EEXIST);
      if (exists && (record.flags & kKeepExisting) != 0) return true;
      // Nobody else may enter before it has its own rights, which may be fewer than making its children
      // takes.
      if (!exists && mkdirat(parent.get(), name.c_str(), 0700) != 0) return false;
      directories_.push_back(record);
      return true;
    }
    if (exists && S_ISDIR(existing.st_mode)) return error(EISDIR);
    if (record.kind == kLink) return link(record, parent, name, exists);
    if (record.kind != kPut) return error(EINVAL);
    if (exists && unlinkat(parent.get(), name.c_str(), 0) != 0) return false;
    return make(record, parent, name);
  }

  bool link(const Record& record, const UniqueFd& parent, const std::string& name, bool exists) {
    std::string target_parent;
    std::string target_name;
    split_path(record.text, target_parent, target_name);
    const UniqueFd from = open_beneath(root_.get(), target_parent, O_RDONLY | O_DIRECTORY, links_);
    if (!from.valid()) return false;
    struct stat target {};
    struct stat existing {};
    if (fstatat(from.get(), target_name.c_str(), &target, AT_SYMLINK_NOFOLLOW) != 0) return false;
    if (exists) {
      // Linking a name to itself must not remove it.
      if (fstatat(parent.get(), name.c_str(), &existing, AT_SYMLINK_NOFOLLOW) == 0 &&
          existing.st_ino == target.st_ino && existing.st_dev == target.st_dev)
        return true;
      if (unlinkat(parent.get(), name.c_str(), 0) != 0) return false;
    }
    return linkat(from.get(), target_name.c_str(), parent.get(), name.c_str(), 0) == 0;
  }

  bool make(const Record& record, const UniqueFd& parent, const std::string& name) {
    if (S_ISREG(record.mode)) {
      const UniqueFd file(
          openat(parent.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
      return file.valid() && write_content(file.get(), record.content_bytes) && describe(record, file.get());
    }
    if (S_ISLNK(record.mode)) {
      if (symlinkat(record.text.c_str(), parent.get(), name.c_str()) != 0) return false;
    } else if (mknodat(parent.get(), name.c_str(), (record.mode & S_IFMT) | 0600,
                       makedev(record.rdev_major, record.rdev_minor)) != 0) {
      return false;
    }
    // Opening a device may do things: it is only pointed at.
    const UniqueFd made(openat(parent.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!made.valid() || fstat(made.get(), &status) != 0) return false;
    if ((status.st_mode & S_IFMT) != (record.mode & S_IFMT)) return error(EAGAIN);
    if (S_ISLNK(record.mode)) return describe_symlink(record, made.get(), parent.get(), name);
    return describe(record, made.get());
  }

  bool write_content(int fd, uint64_t bytes) {
    while (bytes > 0) {
      const auto [from, size] = input_.some(bytes);
      if (size == 0) return error(EBADMSG);
      for (size_t done = 0; done < size;) {
        const ssize_t count = write(fd, from + done, size - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return false;
        done += static_cast<size_t>(count);
      }
      bytes -= size;
    }
    return true;
  }

  // Owner before mode, which chown(2) may change, attributes after both (chown drops capabilities), times
  // last.
  bool describe(const Record& record, int fd) {
    const std::string itself = "/proc/self/fd/" + std::to_string(fd);
    if ((record.flags & kChown) != 0 && fchownat(fd, "", record.uid, record.gid, AT_EMPTY_PATH) != 0)
      return false;
    if (chmod(itself.c_str(), record.mode & 07777) != 0) return false;
    for (const auto& [name, value] : record.xattrs)
      if (!lost_or(setxattr(itself.c_str(), name.c_str(), value.data(), value.size(), 0))) return false;
    const timespec times[2] = {record.mtime, record.mtime};
    return utimensat(AT_FDCWD, itself.c_str(), times, 0) == 0;
  }

  bool describe_symlink(const Record& record, int fd, int parent, const std::string& name) {
    if ((record.flags & kChown) != 0 && fchownat(fd, "", record.uid, record.gid, AT_EMPTY_PATH) != 0)
      return false;
    const std::string path = proc_path(parent, name.c_str());
    for (const auto& [attribute, value] : record.xattrs)
      if (!lost_or(lsetxattr(path.c_str(), attribute.c_str(), value.data(), value.size(), 0))) return false;
    const timespec times[2] = {record.mtime, record.mtime};
    return utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0;
  }

  // Directories last, so that making their children changes no time of theirs; the last description of one
  // counts.
  bool describe_directories() {
    std::set<std::string> done;
    for (auto record = directories_.rbegin(); record != directories_.rend(); ++record) {
      if (!done.insert(record->path).second) continue;
      at_ = record->path;
      std::string parent_path;
      std::string name;
      split_path(record->path, parent_path, name);
      const UniqueFd parent = open_beneath(root_.get(), parent_path, O_RDONLY | O_DIRECTORY, links_);
      if (!parent.valid()) return false;
      const UniqueFd directory(openat(parent.get(), name.empty() ? "." : name.c_str(),
                                      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!directory.valid() || !describe(*record, directory.get())) return false;
    }
    return true;
  }

  bool remove_xattr(const Record& record) {
    const UniqueFd itself = open_beneath(root_.get(), record.path, O_PATH | O_NOFOLLOW, links_);
    if (!itself.valid()) return false;
    struct stat status {};
    if (fstat(itself.get(), &status) != 0) return false;
    if (S_ISLNK(status.st_mode)) {
      std::string parent_path;
      std::string name;
      split_path(record.path, parent_path, name);
      const UniqueFd parent = open_beneath(root_.get(), parent_path, O_RDONLY | O_DIRECTORY, links_);
      return parent.valid() &&
             lremovexattr(proc_path(parent.get(), name.c_str()).c_str(), record.text.c_str()) == 0;
    }
    const std::string path = "/proc/self/fd/" + std::to_string(itself.get());
    return removexattr(path.c_str(), record.text.c_str()) == 0 || errno == ENODATA;
  }

  // A filesystem or a user that may not have an attribute does not stop a copy: it is counted.
  bool lost_or(int result) {
    if (result == 0) return true;
    if (errno != EOPNOTSUPP && errno != EPERM && errno != EACCES) return false;
    lost_++;
    return true;
  }

  static bool error(int code) {
    errno = code;
    return false;
  }

  UniqueFd root_;
  Links links_;
  Input input_;
  std::string at_;
  std::vector<Record> directories_;
  unsigned long long entries_ = 0;
  unsigned long long lost_ = 0;
};

}  // namespace

int apply_command(const std::vector<std::string>& arguments) {
  Links links = Links::kInRoot;
  std::string directory;
  for (const std::string& argument : arguments) {
    if (argument == "--no-links") {
      links = Links::kRefused;
    } else if (argument.starts_with("--") || !directory.empty()) {
      return 2;
    } else {
      directory = argument;
    }
  }
  if (directory.empty()) return 2;
  // Rights are given one by one.
  umask(0);
  UniqueFd root(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return fail(errno, directory, strerror(errno));
  static Applier applier(std::move(root), links);
  return applier.run();
}

}  // namespace lamina::scan

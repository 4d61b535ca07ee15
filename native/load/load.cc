#include "load/load.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <set>

#include "sys/unique_fd.h"

namespace lamina::load {

namespace {

uint64_t operations = 0;
uint64_t bytes = 0;

[[noreturn]] void fail(const char* what, const std::string& path) {
  fprintf(stderr, "load: %s %s: %s\n", what, path.c_str(), strerror(errno));
  exit(1);
}

std::vector<std::string> read_list(const std::string& file) {
  std::vector<std::string> paths;
  std::ifstream in(file);
  if (!in.is_open()) fail("cannot read", file);
  for (std::string line; std::getline(in, line);) paths.push_back(line);
  return paths;
}

double now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

void stat_all(const std::vector<std::string>& paths) {
  struct stat st {};
  for (const std::string& path : paths) {
    if (lstat(path.c_str(), &st) < 0) fail("lstat", path);
    if (S_ISREG(st.st_mode)) bytes += static_cast<uint64_t>(st.st_size);
  }
  operations += paths.size();
}

void stat_missing(const std::vector<std::string>& paths) {
  struct stat st {};
  for (const std::string& path : paths) {
    if (lstat(path.c_str(), &st) == 0 || errno != ENOENT) fail("expected to be missing", path);
  }
  operations += paths.size();
}

struct KernelDirent {
  uint64_t ino;
  int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

class Walk {
 public:
  Walk(bool asks_attributes, const std::vector<std::string>& skipped)
      : asks_attributes_(asks_attributes), skipped_(skipped.begin(), skipped.end()) {}

  void directory(int parent, const char* name) {
    const UniqueFd fd(openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid()) fail("open directory", path_);
    std::vector<std::string> below;
    alignas(KernelDirent) char buffer[32768];
    for (;;) {
      const long filled = syscall(SYS_getdents64, fd.get(), buffer, sizeof buffer);
      if (filled < 0) fail("getdents64", path_);
      if (filled == 0) break;
      for (long at = 0; at < filled;) {
        auto* entry = reinterpret_cast<KernelDirent*>(buffer + at);
        at += entry->length;
        if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0) continue;
        operations++;
        if (asks_attributes_) attributes(fd.get(), entry->name);
        if (entry->type == DT_DIR) below.emplace_back(entry->name);
        if (entry->type == DT_UNKNOWN) fail("no type from readdir for", entry->name);
      }
    }
    const size_t length = path_.size();
    for (const std::string& child : below) {
      path_ += (length == 0 ? "" : "/") + child;
      if (!skipped_.contains(path_)) directory(fd.get(), child.c_str());
      path_.resize(length);
    }
  }

 private:
  void attributes(int directory, const char* name) {
    struct stat st {};
    if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0) fail("lstat", name);
    if (S_ISREG(st.st_mode)) bytes += static_cast<uint64_t>(st.st_size);
    if (S_ISLNK(st.st_mode)) {
      char text[PATH_MAX];
      if (readlinkat(directory, name, text, sizeof text) < 0) fail("readlink", name);
      return;
    }
    // ls asks whether to show a `+`; that there is no answer, or no such attribute, is one as well.
    const std::string path = path_.empty() ? name : path_ + "/" + name;
    getxattr(path.c_str(), "system.posix_acl_access", nullptr, 0);
  }

  bool asks_attributes_;
  std::set<std::string> skipped_;
  std::string path_;
};

void read_file(const std::string& path, std::vector<char>& buffer, bool whole) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) fail("open", path);
  for (;;) {
    const ssize_t count = read(fd.get(), buffer.data(), buffer.size());
    if (count < 0) fail("read", path);
    bytes += static_cast<uint64_t>(count);
    if (count == 0 || !whole) break;
  }
  operations++;
}

size_t buffer_bytes(const std::string& command) {
  if (command == "first-read") return 1 << 20;
  if (command == "open-read-close") return 4096;
  return command == "first-byte" ? 1 : 1 << 17;
}

// False: there is no such command.
bool perform(const std::string& command, const std::string& file, const std::vector<std::string>& paths,
             size_t times, std::vector<char>& buffer) {
  if (command == "stat") {
    for (size_t i = 0; i < times; i++) stat_all(paths);
  } else if (command == "negative") {
    for (size_t i = 0; i < times; i++) stat_missing(paths);
  } else if (command == "walk" || command == "list") {
    Walk(command == "list", paths).directory(AT_FDCWD, ".");
  } else if (command == "read-all") {
    for (const std::string& path : paths) read_file(path, buffer, true);
  } else if (command == "open-read-close") {
    for (size_t i = 0; i < times; i++) read_file(paths[i % paths.size()], buffer, false);
  } else if (command == "first-read" || command == "first-byte") {
    read_file(file, buffer, command == "first-read");
  } else {
    return false;
  }
  return true;
}

int usage() {
  fputs(
      "usage: lamina-fuse load stat|negative|walk|list|read-all|open-read-close DIR [LIST] [TIMES]\n"
      "       lamina-fuse load first-read|first-byte FILE\n",
      stderr);
  return 2;
}

}  // namespace

int load_command(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2) return usage();
  const std::string& command = arguments[0];
  const std::string& file = arguments[1];
  std::vector<std::string> paths;
  if (arguments.size() > 2) paths = read_list(arguments[2]);
  const size_t times = arguments.size() > 3 ? strtoull(arguments[3].c_str(), nullptr, 10) : 1;
  const bool is_walk = command == "walk" || command == "list";
  const bool is_file = command == "first-read" || command == "first-byte";
  if (paths.empty() && !is_walk && !is_file) {
    fputs("load: the list of paths is empty\n", stderr);
    return 2;
  }
  std::vector<char> buffer(buffer_bytes(command), '\0');
  if (!is_file && chdir(file.c_str()) < 0) fail("chdir", file);

  const double start = now();
  if (!perform(command, file, paths, times, buffer)) return usage();
  const double seconds = now() - start;

  printf("{\"seconds\":%.9f,\"operations\":%llu,\"bytes\":%llu}\n", seconds,
         static_cast<unsigned long long>(operations), static_cast<unsigned long long>(bytes));
  return 0;
}

}  // namespace lamina::load

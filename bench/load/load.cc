// The load generators: one process, plain system calls, no allocation in the timed part. Each reads its list
// of paths first, enters the directory, runs, and prints one JSON line: seconds, operations, bytes. Any
// result other than the expected one ends the program with status 1: a subject cannot win by failing fast.
//
//   load stat DIR LIST               lstat of every path
//   load negative DIR LIST           lstat of paths that are not there
//   load walk DIR                    readdir of every directory; descends by its types, stats nothing else
//   load read-all DIR LIST           open, read to the end, close
//   load open-read-close DIR LIST N  N times: open, read up to 4 KiB, close, through the list round and round
//   load first-read FILE             read to the end in 1 MiB pieces
//   load first-byte FILE             open, read one byte
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <string>
#include <vector>

static std::uint64_t operations = 0;
static std::uint64_t bytes = 0;

[[noreturn]] static void fail(const char* what, const std::string& path) {
  std::fprintf(stderr, "load: %s %s: %s\n", what, path.c_str(), std::strerror(errno));
  std::exit(1);
}

static std::vector<std::string> read_list(const char* file) {
  std::vector<std::string> paths;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) paths.push_back(line);
  if (paths.empty()) fail("empty list", file);
  return paths;
}

static double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

static void stat_all(const std::vector<std::string>& paths) {
  struct stat st;
  for (const std::string& path : paths) {
    if (lstat(path.c_str(), &st) < 0) fail("lstat", path);
    if (S_ISREG(st.st_mode)) bytes += static_cast<std::uint64_t>(st.st_size);
  }
  operations = paths.size();
}

static void stat_missing(const std::vector<std::string>& paths) {
  struct stat st;
  for (const std::string& path : paths) {
    if (lstat(path.c_str(), &st) == 0 || errno != ENOENT) fail("expected to be missing", path);
  }
  operations = paths.size();
}

struct KernelDirent {
  std::uint64_t ino;
  std::int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

static void walk(int parent, const char* name) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) fail("open directory", name);
  std::vector<std::string> below;
  alignas(KernelDirent) char buffer[32768];
  for (;;) {
    long filled = syscall(SYS_getdents64, fd, buffer, sizeof buffer);
    if (filled < 0) fail("getdents64", name);
    if (filled == 0) break;
    for (long at = 0; at < filled;) {
      auto* entry = reinterpret_cast<KernelDirent*>(buffer + at);
      at += entry->length;
      if (!std::strcmp(entry->name, ".") || !std::strcmp(entry->name, "..")) continue;
      operations++;
      if (entry->type == DT_DIR) below.emplace_back(entry->name);
      if (entry->type == DT_UNKNOWN) fail("no type from readdir for", entry->name);
    }
  }
  for (const std::string& child : below) walk(fd, child.c_str());
  close(fd);
}

static void read_file(const std::string& path, std::vector<char>& buffer, bool whole) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("open", path);
  for (;;) {
    ssize_t count = read(fd, buffer.data(), buffer.size());
    if (count < 0) fail("read", path);
    bytes += static_cast<std::uint64_t>(count);
    if (count == 0 || !whole) break;
  }
  close(fd);
  operations++;
}

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr,
                 "usage: load stat|negative|walk|read-all|open-read-close|first-read|first-byte ...\n");
    return 2;
  }
  std::string command = argv[1];
  std::vector<std::string> paths;
  if (argc > 3) paths = read_list(argv[3]);
  std::size_t rounds = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 0;
  std::string file = argv[2];
  std::vector<char> buffer(command == "first-read" ? 1 << 20 : command == "open-read-close" ? 4096 : 1 << 17);
  if (command == "first-byte") buffer.resize(1);
  std::memset(buffer.data(), 0, buffer.size());
  if (command.rfind("first-", 0) != 0 && chdir(argv[2]) < 0) fail("chdir", argv[2]);

  double start = now();
  if (command == "stat")
    stat_all(paths);
  else if (command == "negative")
    stat_missing(paths);
  else if (command == "walk")
    walk(AT_FDCWD, ".");
  else if (command == "read-all") {
    for (const std::string& path : paths) read_file(path, buffer, true);
  } else if (command == "open-read-close") {
    for (std::size_t i = 0; i < rounds; i++) read_file(paths[i % paths.size()], buffer, false);
  } else if (command == "first-read")
    read_file(file, buffer, true);
  else if (command == "first-byte")
    read_file(file, buffer, false);
  else
    return 2;
  double seconds = now() - start;

  std::printf("{\"seconds\":%.9f,\"operations\":%llu,\"bytes\":%llu}\n", seconds,
              static_cast<unsigned long long>(operations), static_cast<unsigned long long>(bytes));
  return 0;
}

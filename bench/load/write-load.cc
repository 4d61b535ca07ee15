// The load generators that write: one process, plain system calls. Prints one JSON line: seconds, operations,
// bytes. Any result other than the expected one ends the program with status 1.
//
//   write-load create DIR COUNT       makes DIR and COUNT files of 1 KiB in it
//   write-load append DIR COUNT N     N times: open one of them with O_APPEND, write 100 bytes, close
//   write-load sequential FILE BYTES [fsync]
//                                     from 0 in pieces of 1 MiB, over what is there
//   write-load random FILE BYTES N    N writes of 4 KiB at aligned places below BYTES, the same each time
//   write-load chown FILE UID         one chown(2)
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

static std::uint64_t operations = 0;
static std::uint64_t bytes = 0;

[[noreturn]] static void fail(const char* what, const std::string& path) {
  std::fprintf(stderr, "write-load: %s %s: %s\n", what, path.c_str(), std::strerror(errno));
  std::exit(1);
}

static double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// mulberry32, as in bench/images/random.js.
static std::uint32_t next_random(std::uint32_t& state) {
  state += 0x6d2b79f5;
  std::uint32_t t = state;
  t = (t ^ (t >> 15)) * (t | 1);
  t ^= t + (t ^ (t >> 7)) * (t | 61);
  return t ^ (t >> 14);
}

static std::vector<char> noise(std::size_t size) {
  std::vector<char> data(size);
  std::uint32_t state = 1;
  for (char& byte : data) byte = static_cast<char>(next_random(state));
  return data;
}

static int open_or_fail(const std::string& path, int flags) {
  int fd = open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd < 0) fail("open", path);
  return fd;
}

static void write_piece(int fd, const std::string& path, const char* data, std::size_t size) {
  if (write(fd, data, size) != static_cast<ssize_t>(size)) fail("write", path);
  operations++;
  bytes += size;
}

static void close_or_fail(int fd, const std::string& path) {
  if (close(fd) < 0) fail("close", path);
}

static std::vector<std::string> names(const std::string& directory, std::uint64_t count) {
  std::vector<std::string> paths;
  for (std::uint64_t i = 0; i < count; i++) paths.push_back(directory + "/log" + std::to_string(i));
  return paths;
}

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: write-load create|append|chown|sequential|random ...\n");
    return 2;
  }
  const std::string command = argv[1];
  const std::string path = argv[2];
  const std::uint64_t size = std::strtoull(argv[3], nullptr, 10);
  const std::vector<char> data = noise(1 << 20);
  double start = now();

  if (command == "create") {
    if (mkdir(path.c_str(), 0755) < 0) fail("mkdir", path);
    for (const std::string& file : names(path, size)) {
      int fd = open_or_fail(file, O_WRONLY | O_CREAT | O_EXCL);
      write_piece(fd, file, data.data(), 1024);
      close_or_fail(fd, file);
    }
  } else if (command == "append" && argc == 5) {
    const std::uint64_t times = std::strtoull(argv[4], nullptr, 10);
    const std::vector<std::string> files = names(path, size);
    start = now();
    for (std::uint64_t i = 0; i < times; i++) {
      const std::string& file = files[i % files.size()];
      int fd = open_or_fail(file, O_WRONLY | O_APPEND);
      write_piece(fd, file, data.data(), 100);
      close_or_fail(fd, file);
    }
  } else if (command == "chown") {
    start = now();
    if (chown(path.c_str(), static_cast<uid_t>(size), static_cast<gid_t>(size)) < 0) fail("chown", path);
    operations = 1;
  } else if (command == "sequential") {
    int fd = open_or_fail(path, O_WRONLY | O_CREAT);
    for (std::uint64_t done = 0; done < size; done += data.size())
      write_piece(fd, path, data.data(), data.size());
    if (argc == 5 && fsync(fd) < 0) fail("fsync", path);
    close_or_fail(fd, path);
  } else if (command == "random" && argc == 5) {
    const std::uint64_t times = std::strtoull(argv[4], nullptr, 10);
    int fd = open_or_fail(path, O_WRONLY);
    std::uint32_t state = 4096;
    for (std::uint64_t i = 0; i < times; i++) {
      const std::uint64_t page = next_random(state) % (size / 4096);
      if (pwrite(fd, data.data(), 4096, static_cast<off_t>(page * 4096)) != 4096) fail("pwrite", path);
      operations++;
      bytes += 4096;
    }
    close_or_fail(fd, path);
  } else {
    return 2;
  }
  const double seconds = now() - start;
  std::printf("{\"seconds\":%.9f,\"operations\":%llu,\"bytes\":%llu}\n", seconds,
              static_cast<unsigned long long>(operations), static_cast<unsigned long long>(bytes));
  return 0;
}

// Writes to files in every way there is and compares what is read with a model in memory, byte for byte.
//
//   checker SEED OPERATIONS FILE...
//
// The files are opened for reading and writing; what they hold at the start is the model's start. After each
// 1/REMOUNTS of the operations all files are closed and `remount` is printed: the program goes on when a line
// comes in. At the first byte that is not the model's it prints the last operations on that file and ends
// with status 1. The same seed gives the same run.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kMaxSize = 400'000;
constexpr std::size_t kMaxPiece = 70'000;
constexpr int kRemounts = 8;
constexpr std::size_t kHistory = 40;
constexpr std::size_t kPage = 4096;

struct Random {
  std::uint64_t state;

  std::uint64_t next() {
    state += 0x9e3779b97f4a7c15;
    std::uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
  }
  std::size_t below(std::size_t limit) { return limit == 0 ? 0 : next() % limit; }
  /// Small ones, page-sized ones and large ones.
  std::size_t length() {
    switch (below(4)) {
      case 0:
        return 1 + below(100);
      case 1:
        return kPage * (1 + below(8));
      case 2:
        return 1 + below(3 * kPage);
      default:
        return 1 + below(kMaxPiece);
    }
  }
};

using Bytes = std::vector<unsigned char>;

struct File {
  std::string path;
  int fd = -1;
  Bytes model;
  unsigned char* map = nullptr;
  std::size_t mapped = 0;
  std::deque<std::string> history;
};

class Checker {
 public:
  Checker(std::uint64_t seed, char** paths, int count) : random_{seed} {
    files_.resize(static_cast<std::size_t>(count));
    for (std::size_t index = 0; index < files_.size(); index++) files_[index].path = paths[index];
    for (File& file : files_) {
      open_file(file, O_CREAT);
      struct stat st;
      if (fstat(file.fd, &st) < 0) fail(file, "fstat");
      file.model.resize(static_cast<std::size_t>(st.st_size));
      if (pread(file.fd, file.model.data(), file.model.size(), 0) != st.st_size) fail(file, "first read");
    }
  }

  void run(long operations) {
    const long stretch = std::max(operations / kRemounts, 1L);
    for (done_ = 1; done_ <= operations; done_++) {
      step();
      if (done_ % stretch == 0) remount();
    }
    for (File& file : files_) verify_all(file);
  }

 private:
  [[noreturn]] void fail(const File& file, const std::string& what) {
    std::printf("operation %ld: %s: %s: %s\nmodel size %zu; the last operations there:\n", done_,
                file.path.c_str(), what.c_str(), std::strerror(errno), file.model.size());
    for (const std::string& line : file.history) std::printf("  %s\n", line.c_str());
    std::exit(1);
  }

  static std::string text(const char* what, std::size_t a, std::size_t b = 0) {
    return std::string(what) + " " + std::to_string(a) + " " + std::to_string(b);
  }

  void note(File& file, std::string line) {
    file.history.push_back(std::to_string(done_) + ": " + std::move(line));
    if (file.history.size() > kHistory) file.history.pop_front();
  }

  void open_file(File& file, int flags) {
    file.fd = open(file.path.c_str(), O_RDWR | O_CLOEXEC | flags, 0644);
    if (file.fd < 0) fail(file, "open");
  }

  void unmap(File& file) {
    if (file.map != nullptr) munmap(file.map, file.mapped);
    file.map = nullptr;
  }

  void close_file(File& file) {
    unmap(file);
    if (close(file.fd) < 0) fail(file, "close");
    file.fd = -1;
  }

  /// A map of the whole file as it is now; made anew when the file has more pages than it.
  bool map(File& file) {
    if (file.model.empty()) return false;
    if (file.map != nullptr && file.mapped >= file.model.size()) return true;
    unmap(file);
    file.mapped = (file.model.size() + kPage - 1) / kPage * kPage;
    void* address = mmap(nullptr, file.mapped, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
    if (address == MAP_FAILED) fail(file, "mmap");
    file.map = static_cast<unsigned char*>(address);
    return true;
  }

  Bytes piece(std::size_t length) {
    Bytes bytes(length);
    const auto start = static_cast<unsigned char>(random_.next());
    for (std::size_t at = 0; at < length; at++) bytes[at] = static_cast<unsigned char>(start + at % 251);
    return bytes;
  }

  void put(File& file, std::size_t offset, const Bytes& bytes) {
    if (file.model.size() < offset + bytes.size()) file.model.resize(offset + bytes.size());
    std::copy(bytes.begin(), bytes.end(), file.model.begin() + static_cast<std::ptrdiff_t>(offset));
  }

  void compare(File& file, const unsigned char* got, std::size_t offset, std::size_t length,
               const char* how) {
    if (length == 0 || std::memcmp(got, file.model.data() + offset, length) == 0) return;
    std::size_t at = 0;
    while (got[at] == file.model[offset + at]) at++;
    std::size_t wrong = 0;
    for (std::size_t other = at; other < length; other++) wrong += got[other] != file.model[offset + other];
    errno = 0;
    fail(file, std::string(how) + ": byte " + std::to_string(offset + at) + " is " + std::to_string(got[at]) +
                   " and must be " + std::to_string(file.model[offset + at]) + "; " + std::to_string(wrong) +
                   " wrong in all, of " + std::to_string(length) + " from " + std::to_string(offset));
  }

  void verify(File& file, std::size_t offset, std::size_t length) {
    Bytes got(length + 1);
    const ssize_t count = pread(file.fd, got.data(), length, static_cast<off_t>(offset));
    const std::size_t there = offset >= file.model.size() ? 0 : std::min(length, file.model.size() - offset);
    if (count != static_cast<ssize_t>(there))
      fail(file, text("read gave / must give", static_cast<std::size_t>(count), there));
    compare(file, got.data(), offset, there, "read");
  }

  void verify_all(File& file) {
    struct stat st;
    if (fstat(file.fd, &st) < 0) fail(file, "fstat");
    if (static_cast<std::size_t>(st.st_size) != file.model.size())
      fail(file, text("size is", static_cast<std::size_t>(st.st_size)));
    verify(file, 0, file.model.size() + 1);
  }

  void write_piece(File& file) {
    const std::size_t offset =
        random_.below(random_.below(8) == 0 ? kMaxSize - kMaxPiece : file.model.size() + 1);
    const Bytes bytes = piece(random_.length());
    if (offset + bytes.size() > kMaxSize) return;
    note(file, text("write", offset, bytes.size()));
    if (pwrite(file.fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)) !=
        static_cast<ssize_t>(bytes.size()))
      fail(file, "write");
    put(file, offset, bytes);
  }

  void append(File& file) {
    const Bytes bytes = piece(random_.length());
    if (file.model.size() + bytes.size() > kMaxSize) return;
    note(file, text("append", file.model.size(), bytes.size()));
    const int fd = open(file.path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0 || write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()) ||
        close(fd) < 0)
      fail(file, "append");
    put(file, file.model.size(), bytes);
  }

  void truncate_to(File& file, std::size_t size) {
    note(file, text("truncate", file.model.size(), size));
    // Pages of a map that lie behind the end may not be touched any more.
    if (size < file.model.size()) unmap(file);
    const bool by_path = random_.below(2) == 0;
    if ((by_path ? truncate(file.path.c_str(), static_cast<off_t>(size))
                 : ftruncate(file.fd, static_cast<off_t>(size))) < 0)
      fail(file, "truncate");
    file.model.resize(size);
  }

  void punch(File& file, int mode, const char* what) {
    if (file.model.empty()) return;
    const std::size_t offset = random_.below(file.model.size());
    const std::size_t length = random_.length();
    note(file, text(what, offset, length));
    if (fallocate(file.fd, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(length)) < 0) {
      if (errno == EOPNOTSUPP) return;
      fail(file, what);
    }
    const std::size_t end = std::min(offset + length, file.model.size());
    std::fill(file.model.begin() + static_cast<std::ptrdiff_t>(offset),
              file.model.begin() + static_cast<std::ptrdiff_t>(end), 0);
  }

  void allocate(File& file) {
    const std::size_t offset = random_.below(file.model.size() + kPage);
    const std::size_t length = random_.length();
    if (offset + length > kMaxSize) return;
    note(file, text("allocate", offset, length));
    if (fallocate(file.fd, 0, static_cast<off_t>(offset), static_cast<off_t>(length)) < 0) {
      if (errno == EOPNOTSUPP) return;
      fail(file, "allocate");
    }
    if (file.model.size() < offset + length) file.model.resize(offset + length);
  }

  void map_write(File& file) {
    if (!map(file)) return;
    const std::size_t offset = random_.below(file.model.size());
    const Bytes bytes = piece(std::min(random_.length(), file.model.size() - offset));
    note(file, text("map write", offset, bytes.size()));
    std::memcpy(file.map + offset, bytes.data(), bytes.size());
    put(file, offset, bytes);
    if (random_.below(4) == 0 && msync(file.map, file.mapped, MS_SYNC) < 0) fail(file, "msync");
  }

  void map_read(File& file) {
    if (!map(file)) return;
    const std::size_t offset = random_.below(file.model.size());
    compare(file, file.map + offset, offset, std::min(random_.length(), file.model.size() - offset), "map");
  }

  void copy(File& from, File& to) {
    if (from.model.empty()) return;
    const std::size_t source = random_.below(from.model.size());
    const std::size_t length = std::min(random_.length(), from.model.size() - source);
    const std::size_t target = random_.below(to.model.size() + 1);
    if (target + length > kMaxSize) return;
    if (&from == &to && source < target + length && target < source + length) return;
    note(to, text(("copy from " + from.path).c_str(), source, length) + " to " + std::to_string(target));
    off_t in = static_cast<off_t>(source);
    off_t out = static_cast<off_t>(target);
    const Bytes bytes(from.model.begin() + in, from.model.begin() + in + static_cast<std::ptrdiff_t>(length));
    for (std::size_t left = length; left > 0;) {
      const ssize_t count = copy_file_range(from.fd, &in, to.fd, &out, left, 0);
      if (count <= 0) fail(to, text("copy_file_range, left", left));
      left -= static_cast<std::size_t>(count);
    }
    put(to, target, bytes);
  }

  void direct(File& file) {
    const int fd = open(file.path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
    if (fd < 0) return;
    const std::size_t offset = random_.below(kMaxSize / kPage / 2) * kPage;
    const std::size_t length = kPage * (1 + random_.below(8));
    void* area = nullptr;
    if (posix_memalign(&area, kPage, length) != 0) std::abort();
    auto* bytes = static_cast<unsigned char*>(area);
    if (random_.below(2) == 0) {
      note(file, text("direct write", offset, length));
      const Bytes content = piece(length);
      std::copy(content.begin(), content.end(), bytes);
      if (pwrite(fd, bytes, length, static_cast<off_t>(offset)) != static_cast<ssize_t>(length))
        fail(file, "direct write");
      put(file, offset, content);
    } else {
      const std::size_t there =
          offset >= file.model.size() ? 0 : std::min(length, file.model.size() - offset);
      const ssize_t count = pread(fd, bytes, length, static_cast<off_t>(offset));
      if (count != static_cast<ssize_t>(there)) fail(file, text("direct read", offset, length));
      compare(file, bytes, offset, there, "direct read");
    }
    std::free(area);
    close(fd);
  }

  void step() {
    File& file = files_[random_.below(files_.size())];
    switch (random_.below(32)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
        return write_piece(file);
      case 6:
      case 7:
      case 8:
        return append(file);
      case 9:
        return truncate_to(file, random_.below(file.model.size() + 1));
      case 10:
        return truncate_to(file, std::min(kMaxSize, file.model.size() + random_.length()));
      case 11:
        return truncate_to(file, random_.below(kMaxSize));
      case 12:
      case 13:
        return punch(file, FALLOC_FL_PUNCH_HOLE, "punch");
      case 14:
        return punch(file, FALLOC_FL_ZERO_RANGE, "zero");
      case 15:
        return allocate(file);
      case 16:
      case 17:
      case 18:
        return map_write(file);
      case 19:
      case 20:
        return map_read(file);
      case 21:
      case 22:
        return copy(file, files_[random_.below(files_.size())]);
      case 23:
        return direct(file);
      case 24:
        note(file, "fsync");
        if ((random_.below(2) == 0 ? fsync(file.fd) : fdatasync(file.fd)) < 0) fail(file, "fsync");
        return;
      case 25:
        note(file, "reopen");
        close_file(file);
        return open_file(file, 0);
      case 26:
        return verify_all(file);
      default:
        return verify(file, random_.below(file.model.size() + 1), random_.length());
    }
  }

  void remount() {
    for (File& file : files_) {
      verify_all(file);
      close_file(file);
    }
    std::puts("remount");
    std::fflush(stdout);
    char line[16];
    if (std::fgets(line, sizeof line, stdin) == nullptr) std::exit(2);
    for (File& file : files_) {
      note(file, "remount");
      open_file(file, 0);
      verify_all(file);
    }
  }

  Random random_;
  std::vector<File> files_;
  long done_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  Checker checker(std::strtoull(argv[1], nullptr, 10), argv + 3, argc - 3);
  checker.run(std::atol(argv[2]));
  std::puts("done");
  return 0;
}

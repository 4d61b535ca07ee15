// So many filesystem operations of every kind that makes and takes away, in a loop:
//
//   operations DIR OPERATIONS LOWER_FILES
//
// Works in DIR/lower, which holds files 0 .. LOWER_FILES-1, and in DIR/new, which it makes and takes away. A
// window of files lives while others come and go, under names that never come twice. Prints how many system
// calls it made that name or reach a file; ends with status 1 at the first that does not do what it must.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

constexpr std::uint64_t kWindow = 500;
constexpr std::uint64_t kListEvery = 50;

std::uint64_t done = 0;

[[noreturn]] void fail(const char* what, const std::string& path) {
  fprintf(stderr, "operation %llu: %s %s: %s\n", static_cast<unsigned long long>(done), what, path.c_str(),
          strerror(errno));
  exit(1);
}

// One operation, which succeeds.
long must(long result, const char* what, const std::string& path) {
  if (result < 0) fail(what, path);
  ++done;
  return result;
}

void expect_missing(const std::string& path) {
  struct stat st;
  if (lstat(path.c_str(), &st) == 0 || errno != ENOENT) fail("is there", path);
  ++done;
}

void list(const std::string& path, std::uint64_t expected) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) fail("opendir", path);
  std::uint64_t names = 0;
  while (readdir(directory) != nullptr) ++names;
  closedir(directory);
  ++done;
  if (names != expected + 2) {
    errno = EIO;
    fail(("lists " + std::to_string(names) + " names").c_str(), path);
  }
}

void write_file(const std::string& path, int flags, std::size_t length) {
  static const char bytes[5000] = {};
  const int fd = static_cast<int>(must(open(path.c_str(), flags | O_CLOEXEC, 0644), "open", path));
  must(write(fd, bytes, length), "write", path);
  must(close(fd), "close", path);
}

// A file that is made, changed in each way, and left under its last name.
void make_one(const std::string& dir, std::uint64_t number) {
  const std::string first = dir + "/made-" + std::to_string(number);
  const std::string last = dir + "/kept-" + std::to_string(number);
  const std::string other = dir + "/link-" + std::to_string(number);
  struct stat st;
  char value[16];
  expect_missing(first);
  write_file(first, O_WRONLY | O_CREAT | O_EXCL, 100 + number % 4900);
  must(rename(first.c_str(), last.c_str()), "rename", first);
  must(link(last.c_str(), other.c_str()), "link", other);
  must(chmod(other.c_str(), 0600 + static_cast<mode_t>(number % 64)), "chmod", other);
  must(setxattr(last.c_str(), "user.number", "12345", 5, 0), "setxattr", last);
  must(getxattr(other.c_str(), "user.number", value, sizeof value), "getxattr", other);
  must(truncate(other.c_str(), 50), "truncate", other);
  must(lstat(last.c_str(), &st), "lstat", last);
  if (st.st_nlink != 2 || st.st_size != 50) fail("is not what it was made", last);
  must(unlink(other.c_str()), "unlink", other);
  expect_missing(first);
}

// Directories, symbolic links and files removed while open, gone again at once.
void make_and_remove(const std::string& dir, std::uint64_t number) {
  const std::string made = dir + "/dir-" + std::to_string(number);
  const std::string moved = dir + "/moved-" + std::to_string(number);
  const std::string inner = moved + "/inner";
  char target[16];
  must(mkdir(made.c_str(), 0755), "mkdir", made);
  must(rename(made.c_str(), moved.c_str()), "rename", made);
  must(symlink("nowhere", inner.c_str()), "symlink", inner);
  must(readlink(inner.c_str(), target, sizeof target), "readlink", inner);
  must(unlink(inner.c_str()), "unlink", inner);
  const int fd =
      static_cast<int>(must(open(inner.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open", inner));
  must(unlink(inner.c_str()), "unlink", inner);
  must(write(fd, "open", 4), "write", inner);
  must(close(fd), "close", inner);
  must(rmdir(moved.c_str()), "rmdir", moved);
}

// A file of the lower layer: deleted behind a whiteout, made again over it.
void replace_lower(const std::string& dir, std::uint64_t number, std::uint64_t count) {
  const std::string path = dir + "/" + std::to_string(number % count);
  must(chmod(path.c_str(), 0640), "chmod", path);
  must(unlink(path.c_str()), "unlink", path);
  expect_missing(path);
  write_file(path, O_WRONLY | O_CREAT | O_EXCL, 10);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string base = argv[1];
  const std::uint64_t operations = strtoull(argv[2], nullptr, 10);
  const std::uint64_t lower_files = strtoull(argv[3], nullptr, 10);
  const std::string made = base + "/new";
  const std::string lower = base + "/lower";
  must(mkdir(made.c_str(), 0755), "mkdir", made);
  std::uint64_t number = 0;
  for (; done < operations; ++number) {
    make_one(made, number);
    make_and_remove(made, number);
    replace_lower(lower, number, lower_files);
    if (number >= kWindow) {
      const std::string old = made + "/kept-" + std::to_string(number - kWindow);
      must(unlink(old.c_str()), "unlink", old);
    }
    if (number % kListEvery == 0) {
      list(made, number < kWindow ? number + 1 : kWindow);
      list(lower, lower_files);
    }
  }
  for (std::uint64_t left = number < kWindow ? 0 : number - kWindow; left < number; ++left) {
    const std::string old = made + "/kept-" + std::to_string(left);
    must(unlink(old.c_str()), "unlink", old);
  }
  must(rmdir(made.c_str()), "rmdir", made);
  printf("%llu\n", static_cast<unsigned long long>(done));
  return 0;
}

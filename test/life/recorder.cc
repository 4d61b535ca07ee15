// A file whose writes are recorded in their order, for a loop device above it: what a disk was told, so that
// its loss of power can be played at any moment. Serves the file `disk` by FUSE, without libfuse.
//
//   recorder MOUNTPOINT IMAGE LOG POSITION
//
// IMAGE holds the content and is written to as well. LOG gets for each request a header of three 64-bit
// little-endian numbers, its kind (1 write, 2 flush), offset and length, and the bytes of a write. The first
// 8 bytes of POSITION, mapped, count the records. Prints `ready` when mounted; ends when unmounted.
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr std::uint64_t kDisk = 2;
constexpr std::uint32_t kMaxWrite = 1 << 20;
constexpr std::uint64_t kForEver = 1 << 30;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "recorder: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

class Recorder {
 public:
  Recorder(const char* image, const char* log, const char* position)
      : image_(open(image, O_RDWR | O_CLOEXEC)),
        log_(open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
    const int fd = open(position, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (image_ < 0 || log_ < 0 || fd < 0 || ftruncate(fd, 4096) < 0) fail("open");
    void* area = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (area == MAP_FAILED) fail("mmap");
    position_ = static_cast<std::uint64_t*>(area);
  }

  void mount_at(const char* point) {
    fuse_ = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fuse_ < 0) fail("/dev/fuse");
    const std::string options = "fd=" + std::to_string(fuse_) + ",rootmode=40000,user_id=0,group_id=0";
    if (mount("recorder", point, "fuse", MS_NOSUID | MS_NODEV, options.c_str()) < 0) fail("mount");
  }

  void serve() {
    std::vector<char> buffer(kMaxWrite + 65536);
    for (;;) {
      const ssize_t length = read(fuse_, buffer.data(), buffer.size());
      if (length < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN)) continue;
      if (length <= 0) return;
      auto* header = reinterpret_cast<fuse_in_header*>(buffer.data());
      handle(*header, buffer.data() + sizeof *header);
    }
  }

 private:
  void reply(const fuse_in_header& in, int error, const void* data = nullptr, std::size_t length = 0) {
    fuse_out_header out{};
    out.len = static_cast<std::uint32_t>(sizeof out + length);
    out.error = -error;
    out.unique = in.unique;
    iovec parts[2] = {{&out, sizeof out}, {const_cast<void*>(data), length}};
    if (writev(fuse_, parts, length == 0 ? 1 : 2) < 0 && errno != ENOENT) fail("reply");
  }

  void record(std::uint64_t kind, std::uint64_t offset, const char* data, std::uint64_t length) {
    const std::uint64_t head[3] = {kind, offset, length};
    iovec parts[2] = {{const_cast<std::uint64_t*>(head), sizeof head}, {const_cast<char*>(data), length}};
    if (writev(log_, parts, 2) != static_cast<ssize_t>(sizeof head + length)) fail("log");
    __atomic_add_fetch(position_, 1, __ATOMIC_SEQ_CST);
  }

  fuse_attr attributes(std::uint64_t node) {
    fuse_attr attr{};
    struct stat st;
    if (fstat(image_, &st) < 0) fail("fstat");
    attr.ino = node;
    attr.nlink = 1;
    attr.mode = node == kDisk ? S_IFREG | 0600 : S_IFDIR | 0700;
    attr.size = node == kDisk ? static_cast<std::uint64_t>(st.st_size) : 0;
    attr.blksize = 4096;
    return attr;
  }

  void handle(const fuse_in_header& in, const char* body) {
    switch (in.opcode) {
      case FUSE_INIT: {
        fuse_init_out out{};
        out.major = FUSE_KERNEL_VERSION;
        out.minor = 31;
        out.max_write = kMaxWrite;
        out.max_pages = kMaxWrite / 4096;
        out.flags = FUSE_BIG_WRITES | FUSE_MAX_PAGES;
        return reply(in, 0, &out, sizeof out);
      }
      case FUSE_LOOKUP: {
        if (std::strcmp(body, "disk") != 0) return reply(in, ENOENT);
        fuse_entry_out out{};
        out.nodeid = kDisk;
        out.entry_valid = out.attr_valid = kForEver;
        out.attr = attributes(kDisk);
        return reply(in, 0, &out, sizeof out);
      }
      case FUSE_GETATTR:
      case FUSE_SETATTR: {
        fuse_attr_out out{};
        out.attr = attributes(in.nodeid);
        return reply(in, 0, &out, sizeof out);
      }
      case FUSE_OPEN:
      case FUSE_OPENDIR: {
        fuse_open_out out{};
        if (in.nodeid == kDisk) out.open_flags = FOPEN_DIRECT_IO;
        return reply(in, 0, &out, sizeof out);
      }
      case FUSE_READ: {
        const auto* ask = reinterpret_cast<const fuse_read_in*>(body);
        std::vector<char> data(ask->size);
        const ssize_t count = pread(image_, data.data(), data.size(), static_cast<off_t>(ask->offset));
        if (count < 0) return reply(in, errno);
        return reply(in, 0, data.data(), static_cast<std::size_t>(count));
      }
      case FUSE_WRITE: {
        const auto* ask = reinterpret_cast<const fuse_write_in*>(body);
        const char* data = body + sizeof *ask;
        if (pwrite(image_, data, ask->size, static_cast<off_t>(ask->offset)) !=
            static_cast<ssize_t>(ask->size))
          return reply(in, EIO);
        record(1, ask->offset, data, ask->size);
        fuse_write_out out{};
        out.size = ask->size;
        return reply(in, 0, &out, sizeof out);
      }
      case FUSE_FSYNC:
        record(2, 0, nullptr, 0);
        return reply(in, 0);
      case FUSE_FLUSH:
      case FUSE_RELEASE:
      case FUSE_RELEASEDIR:
        return reply(in, 0);
      case FUSE_STATFS: {
        fuse_statfs_out out{};
        out.st.bsize = 4096;
        out.st.namelen = 255;
        return reply(in, 0, &out, sizeof out);
      }
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT:
        return;
      default:
        return reply(in, ENOSYS);
    }
  }

  int image_;
  int log_;
  int fuse_ = -1;
  std::uint64_t* position_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  Recorder recorder(argv[2], argv[3], argv[4]);
  recorder.mount_at(argv[1]);
  std::puts("ready");
  std::fflush(stdout);
  recorder.serve();
  return 0;
}

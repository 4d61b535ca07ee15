// What is asked of the kernel: to remember everything. No flag is set in the answer that the kernel did not
// offer.
#include "fuse/init.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fuse/abi.h"
#include "fuse/service.h"

namespace lamina::fuse {

namespace {

// READDIRPLUS without READDIRPLUS_AUTO: every listing also fills the dentry cache, which is what makes the
// next stat free.
constexpr uint64_t kWanted = kAsyncRead | kExportSupport | kDoReaddirplus | kNoOpenSupport | kParallelDirops |
                             kAbortError | kMaxPages | kCacheSymlinks | kNoOpendirSupport | kInitExt;
// DONT_MASK: the umask counts only where there is no default ACL, which the upper's filesystem knows.
// HANDLE_KILLPRIV_V2: without it the kernel asks for security.capability at each write. EXPLICIT_INVAL_DATA:
// nobody else changes the data, so that a changed size says nothing about pages.
constexpr uint64_t kWantedWritable =
    kBigWrites | kDontMask | kHandleKillprivV2 | kSetxattrExt | kExplicitInvalData;
// Answering ENOSYS to OPEN and OPENDIR is an error without these two (the second came with Linux 5.1).
constexpr uint64_t kRequired = kNoOpenSupport | kNoOpendirSupport;

constexpr uint32_t kMaxReadahead = 1 << 20;
constexpr uint16_t kMaxBackground = 64;

}  // namespace

int negotiate(int fd, const Wishes& wishes, Granted& agreed) {
  alignas(8) uint8_t buffer[kMinReadBuffer + 4096];
  ssize_t length;
  do {
    length = read(fd, buffer, sizeof buffer);
  } while (length < 0 && (errno == EINTR || errno == EAGAIN));
  if (length < 0) return errno;

  const auto request = parse_request({buffer, static_cast<size_t>(length)});
  if (!request || request->opcode != kInit || request->record.size() + request->tail.size() < kInitInCompat) {
    return EPROTO;
  }
  InitIn in{};
  const auto* arguments = buffer + sizeof(InHeader);
  memcpy(&in, arguments, std::min(sizeof in, static_cast<size_t>(length) - sizeof(InHeader)));
  uint64_t offered = in.flags;
  if ((offered & kInitExt) != 0) offered |= static_cast<uint64_t>(in.flags2) << 32;
  const bool usable = in.major == kMajor && (offered & kRequired) == kRequired;

  uint64_t wanted = kWanted;
  if (wishes.uring) wanted |= kOverIoUring;
  if (wishes.posix_acl) wanted |= kPosixAcl;
  if (wishes.writable) wanted = (wanted | kWantedWritable) & ~kExportSupport;
  if (wishes.passthrough) wanted |= kPassthrough;
  const uint64_t granted = wanted & offered;

  struct {
    OutHeader header;
    InitOut init;
  } out{};
  out.header = {.len = sizeof out, .error = usable ? 0 : -EPROTO, .unique = request->unique};
  if (!usable) out.header.len = sizeof out.header;
  out.init.major = kMajor;
  out.init.minor = std::min(in.minor, kMinor);
  out.init.max_readahead = std::max(in.max_readahead, kMaxReadahead);
  out.init.flags = static_cast<uint32_t>(granted);
  out.init.flags2 = static_cast<uint32_t>(granted >> 32);
  out.init.max_background = kMaxBackground;
  out.init.congestion_threshold = kMaxBackground * 3 / 4;
  out.init.max_write = wishes.writable ? kMaxWrite : kMaxWriteReadOnly;
  out.init.time_gran = 1;
  out.init.max_pages = kMaxPagesGranted;
  // The upper's filesystem is not itself stacked on another.
  if ((granted & kPassthrough) != 0) out.init.max_stack_depth = 1;
  if (write(fd, &out, out.header.len) < 0) return errno;
  if (!usable) return EPROTONOSUPPORT;
  agreed.uring = (granted & kOverIoUring) != 0;
  agreed.passthrough = (granted & kPassthrough) != 0;
  return 0;
}

}  // namespace lamina::fuse

// The table of operations of a read-only image. ENOSYS is an answer with a meaning: the kernel remembers it
// and performs OPEN, OPENDIR, FLUSH, ACCESS and STATX without asking again.
#include "fuse/dispatch.h"

#include <cerrno>

#include "sys/log.h"

namespace lamina::fuse {

namespace {

LogOnce malformed_logged;

int malformed(const Request& request) {
  if (malformed_logged.first()) log_line("request of opcode %u is malformed; answering EIO", request.opcode);
  return EIO;
}

}  // namespace

int dispatch(Filesystem& filesystem, const Request& request, Reply& reply) {
  switch (request.opcode) {
    case kLookup: {
      const auto name = request.name();
      return name ? filesystem.lookup(request.nodeid, *name, reply) : malformed(request);
    }
    case kGetattr:
      return filesystem.getattr(request.nodeid, reply);
    case kReadlink:
      return filesystem.readlink(request.nodeid, reply);
    case kRead: {
      const auto in = request.as<ReadIn>();
      return in ? filesystem.read(request.nodeid, in->offset, in->size, reply) : malformed(request);
    }
    case kReaddir:
    case kReaddirplus: {
      const auto in = request.as<ReadIn>();
      if (!in) return malformed(request);
      return filesystem.readdir(request.nodeid, in->offset, in->size, request.opcode == kReaddirplus, reply);
    }
    case kStatfs:
      return filesystem.statfs(reply);
    case kGetxattr: {
      const auto in = request.as<GetxattrIn>();
      const auto name = request.name();
      if (!in || !name) return malformed(request);
      return filesystem.getxattr(request.nodeid, *name, in->size, reply);
    }
    case kListxattr: {
      const auto in = request.as<GetxattrIn>();
      return in ? filesystem.listxattr(request.nodeid, in->size, reply) : malformed(request);
    }
    case kLseek: {
      const auto in = request.as<LseekIn>();
      return in ? filesystem.lseek(request.nodeid, in->offset, in->whence, reply) : malformed(request);
    }
    case kRelease:
    case kReleasedir:
    case kDestroy:
      return 0;
    case kSetattr:
    case kSymlink:
    case kMknod:
    case kMkdir:
    case kUnlink:
    case kRmdir:
    case kRename:
    case kRename2:
    case kLink:
    case kWrite:
    case kSetxattr:
    case kRemovexattr:
    case kCreate:
    case kTmpfile:
    case kFallocate:
    case kCopyFileRange:
      return EROFS;
    case kIoctl:
      // Not ENOSYS: the kernel hands that on as it is, and isatty(3) expects ENOTTY.
      return ENOTTY;
    default:
      return ENOSYS;
  }
}

}  // namespace lamina::fuse

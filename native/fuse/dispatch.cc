// The table of operations. ENOSYS is an answer with a meaning: the kernel remembers it
// and performs OPEN, OPENDIR, FLUSH, ACCESS and STATX without asking again.
#include "fuse/dispatch.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sys/log.h"

namespace lamina::fuse {

namespace {

LogOnce malformed_logged;

int malformed(const Request& request) {
  if (malformed_logged.first()) log_line("request of opcode %u is malformed; answering EIO", request.opcode);
  return EIO;
}

void forget(Filesystem& filesystem, const Request& request) {
  if (request.opcode == kForget) {
    if (const auto in = request.as<ForgetIn>()) filesystem.forget(request.nodeid, in->nlookup);
    return;
  }
  const auto batch = request.as<BatchForgetIn>();
  if (!batch) return;
  const size_t count = std::min<size_t>(batch->count, request.tail.size() / sizeof(ForgetOne));
  for (size_t index = 0; index < count; ++index) {
    ForgetOne one;
    memcpy(&one, request.tail.data() + index * sizeof one, sizeof one);
    filesystem.forget(one.nodeid, one.nlookup);
  }
}

// Operations whose record is a T followed by a name.
template <typename T, typename Operation>
int named(const Request& request, Operation&& operation) {
  const auto in = request.as<T>();
  const auto name = request.name();
  return in && name ? operation(*in, *name) : malformed(request);
}

template <typename T, typename Operation>
int with_record(const Request& request, Operation&& operation) {
  const auto in = request.as<T>();
  return in ? operation(*in) : malformed(request);
}

}  // namespace

bool is_change(const Request& request) {
  switch (request.opcode) {
    case kSetattr:
    case kMknod:
    case kMkdir:
    case kSymlink:
    case kCreate:
    case kTmpfile:
    case kLink:
    case kUnlink:
    case kRmdir:
    case kRename:
    case kRename2:
    case kWrite:
    case kFallocate:
    case kCopyFileRange:
    case kSetxattr:
    case kRemovexattr:
      return true;
    case kOpen: {
      // It may be the last that is heard of what is written.
      const auto in = request.as<OpenIn>();
      return !in || (in->flags & O_ACCMODE) != O_RDONLY;
    }
    default:
      return false;
  }
}

int dispatch(Filesystem& filesystem, const Request& request, Reply& reply) {
  const uint64_t node = request.nodeid;
  const Caller& caller = request.caller;
  switch (request.opcode) {
    case kLookup: {
      const auto name = request.name();
      return name ? filesystem.lookup(node, *name, reply) : malformed(request);
    }
    case kForget:
    case kBatchForget:
      forget(filesystem, request);
      return 0;
    case kGetattr:
      return filesystem.getattr(node, reply);
    case kReadlink:
      return filesystem.readlink(node, reply);
    case kRead:
      return with_record<ReadIn>(
          request, [&](const ReadIn& in) { return filesystem.read(node, in.offset, in.size, reply); });
    case kReaddir:
    case kReaddirplus:
      return with_record<ReadIn>(request, [&](const ReadIn& in) {
        return filesystem.readdir(node, in.offset, in.size, request.opcode == kReaddirplus, reply);
      });
    case kStatfs:
      return filesystem.statfs(reply);
    case kGetxattr:
      return named<GetxattrIn>(request, [&](const GetxattrIn& in, std::string_view name) {
        return filesystem.getxattr(node, name, in.size, reply);
      });
    case kListxattr:
      return with_record<GetxattrIn>(
          request, [&](const GetxattrIn& in) { return filesystem.listxattr(node, in.size, caller, reply); });
    case kLseek:
      return with_record<LseekIn>(
          request, [&](const LseekIn& in) { return filesystem.lseek(node, in.offset, in.whence, reply); });
    case kSetattr:
      return with_record<SetattrIn>(
          request, [&](const SetattrIn& in) { return filesystem.setattr(node, in, caller, reply); });
    case kMknod:
      return named<MknodIn>(request, [&](const MknodIn& in, std::string_view name) {
        return filesystem.mknod(node, name, in, caller, reply);
      });
    case kMkdir:
      return named<MkdirIn>(request, [&](const MkdirIn& in, std::string_view name) {
        return filesystem.mkdir(node, name, in, caller, reply);
      });
    case kSymlink: {
      const auto name = request.name();
      const auto target = request.second_name();
      return name && target ? filesystem.symlink(node, *name, *target, caller, reply) : malformed(request);
    }
    case kOpen:
      return with_record<OpenIn>(request,
                                 [&](const OpenIn& in) { return filesystem.open(node, in, caller, reply); });
    case kRelease:
      filesystem.release(node);
      return 0;
    case kCreate:
      return named<CreateIn>(request, [&](const CreateIn& in, std::string_view name) {
        return filesystem.create(node, name, in, caller, reply);
      });
    case kTmpfile:
      return with_record<CreateIn>(
          request, [&](const CreateIn& in) { return filesystem.tmpfile(node, in, caller, reply); });
    case kLink:
      return named<LinkIn>(request, [&](const LinkIn& in, std::string_view name) {
        return filesystem.link(in.oldnodeid, node, name, caller, reply);
      });
    case kUnlink: {
      const auto name = request.name();
      return name ? filesystem.unlink(node, *name, caller) : malformed(request);
    }
    case kRmdir: {
      const auto name = request.name();
      return name ? filesystem.rmdir(node, *name, caller) : malformed(request);
    }
    case kRename:
    case kRename2: {
      const auto old_name = request.name();
      const auto new_name = request.second_name();
      const auto in = request.as<RenameIn>();
      const auto in2 = request.as<Rename2In>();
      if (!old_name || !new_name || !in || (request.opcode == kRename2 && !in2)) return malformed(request);
      const uint32_t flags = request.opcode == kRename2 ? in2->flags : 0;
      return filesystem.rename(node, *old_name, in->newdir, *new_name, flags, caller);
    }
    case kWrite:
      return with_record<WriteIn>(request, [&](const WriteIn& in) {
        if (in.size > request.tail.size()) return malformed(request);
        return filesystem.write(node, in, request.tail.first(in.size), reply);
      });
    case kFallocate:
      return with_record<FallocateIn>(
          request, [&](const FallocateIn& in) { return filesystem.fallocate(node, in, caller); });
    case kCopyFileRange:
      return with_record<CopyFileRangeIn>(request, [&](const CopyFileRangeIn& in) {
        return filesystem.copy_file_range(node, in, caller, reply);
      });
    case kFsync:
    case kFsyncdir:
      return with_record<FsyncIn>(request, [&](const FsyncIn& in) {
        return filesystem.fsync(node, (in.fsync_flags & kFsyncDataOnly) != 0, request.opcode == kFsyncdir);
      });
    case kSetxattr:
      return named<SetxattrIn>(request, [&](const SetxattrIn& in, std::string_view name) {
        const auto value = request.after_name();
        if (!value || in.size > value->size()) return malformed(request);
        return filesystem.setxattr(node, name, value->first(in.size), in, caller);
      });
    case kRemovexattr: {
      const auto name = request.name();
      return name ? filesystem.removexattr(node, *name, caller) : malformed(request);
    }
    case kReleasedir:
    case kDestroy:
      return 0;
    case kIoctl:
      // Not ENOSYS: the kernel hands that on as it is, and isatty(3) expects ENOTTY.
      return ENOTTY;
    default:
      return ENOSYS;
  }
}

}  // namespace lamina::fuse

// From a request to the operation that answers it. A Filesystem's operations return 0 and fill the reply, or
// a positive errno; which opcodes there are, and what the kernel must be told so that it stops asking, is
// decided here alone (kernel: fs/fuse/{dir,file,readdir,xattr}.c).
#pragma once

#include <cerrno>
#include <cstdint>
#include <span>
#include <string_view>

#include "fuse/abi.h"
#include "fuse/reply.h"
#include "fuse/request.h"

namespace lamina::fuse {

// Node ids are the kernel's handles; names are one component, without a slash. What changes something is
// refused with EROFS unless the filesystem says otherwise. The kernel holds the locks of the directories (and
// files) that an operation changes, so no two operations change one directory at a time.
class Filesystem {
 public:
  virtual ~Filesystem() = default;

  // True for a request that may take much longer than a round trip: it is then answered by another thread,
  // and what comes after it does not wait.
  virtual bool may_block(const Request&) { return false; }

  virtual int lookup(uint64_t parent, std::string_view name, Reply& reply) = 0;
  // The kernel drops `count` of the references that LOOKUP and its like gave it.
  virtual void forget(uint64_t /*node*/, uint64_t /*count*/) {}
  virtual int getattr(uint64_t node, Reply& reply) = 0;
  virtual int readlink(uint64_t node, Reply& reply) = 0;
  // Reads up to `size` bytes at `offset`; fewer only at the end of the file.
  virtual int read(uint64_t node, uint64_t offset, uint32_t size, Reply& reply) = 0;
  // Fills up to `size` bytes with entries from cookie `offset` on; `plus` adds what LOOKUP would say of each.
  virtual int readdir(uint64_t node, uint64_t offset, uint32_t size, bool plus, Reply& reply) = 0;
  virtual int statfs(Reply& reply) = 0;
  // ENOSYS here makes the kernel stop asking for the whole mount.
  virtual int getxattr(uint64_t node, std::string_view name, uint32_t size, Reply& reply) = 0;
  virtual int listxattr(uint64_t node, uint32_t size, const Caller& caller, Reply& reply) = 0;
  virtual int lseek(uint64_t node, uint64_t offset, uint32_t whence, Reply& reply) = 0;

  virtual int setattr(uint64_t, const SetattrIn&, const Caller&, Reply&) { return EROFS; }
  virtual int mknod(uint64_t, std::string_view, const MknodIn&, const Caller&, Reply&) { return EROFS; }
  virtual int mkdir(uint64_t, std::string_view, const MkdirIn&, const Caller&, Reply&) { return EROFS; }
  virtual int symlink(uint64_t, std::string_view, std::string_view, const Caller&, Reply&) { return EROFS; }
  // ENOSYS to the first of these makes the kernel do without them for the whole mount.
  virtual int open(uint64_t, const OpenIn&, const Caller&, Reply&) { return ENOSYS; }
  virtual void release(uint64_t) {}
  virtual int create(uint64_t, std::string_view, const CreateIn&, const Caller&, Reply&) { return ENOSYS; }
  virtual int tmpfile(uint64_t, const CreateIn&, const Caller&, Reply&) { return EROFS; }
  virtual int link(uint64_t, uint64_t, std::string_view, const Caller&, Reply&) { return EROFS; }
  virtual int unlink(uint64_t, std::string_view, const Caller&) { return EROFS; }
  virtual int rmdir(uint64_t, std::string_view, const Caller&) { return EROFS; }
  virtual int rename(uint64_t, std::string_view, uint64_t, std::string_view, uint32_t, const Caller&) {
    return EROFS;
  }
  virtual int write(uint64_t, const WriteIn&, std::span<const uint8_t>, Reply&) { return EROFS; }
  virtual int fallocate(uint64_t, const FallocateIn&, const Caller&) { return EROFS; }
  virtual int copy_file_range(uint64_t, const CopyFileRangeIn&, const Caller&, Reply&) { return EROFS; }
  // Nothing was ever written to what cannot be written.
  virtual int fsync(uint64_t, bool /*data_only*/, bool /*directory*/) { return 0; }
  virtual int setxattr(uint64_t, std::string_view, std::span<const uint8_t>, const SetxattrIn&,
                       const Caller&) {
    return EROFS;
  }
  virtual int removexattr(uint64_t, std::string_view, const Caller&) { return EROFS; }
};

// Performs a request; returns 0 or a positive errno, in which case the reply has no body.
int dispatch(Filesystem& filesystem, const Request& request, Reply& reply);

// True for requests that may change what the mount shows.
bool is_change(const Request& request);

// True for requests that must not be answered.
constexpr bool is_silent(uint32_t opcode) {
  return opcode == kForget || opcode == kBatchForget || opcode == kInterrupt || opcode == kNotifyReply;
}

}  // namespace lamina::fuse

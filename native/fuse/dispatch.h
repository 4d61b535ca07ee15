// From a request to the operation that answers it. A Filesystem's operations return 0 and fill the reply, or
// a positive errno; which opcodes there are, what the kernel must be told so that it stops asking, and what a
// read-only image refuses is decided here alone (kernel: fs/fuse/{dir,file,readdir,xattr}.c).
#pragma once

#include <cstdint>
#include <string_view>

#include "fuse/abi.h"
#include "fuse/reply.h"
#include "fuse/request.h"

namespace lamina::fuse {

class Filesystem {
 public:
  virtual ~Filesystem() = default;

  virtual int lookup(uint64_t parent, std::string_view name, Reply& reply) = 0;
  virtual int getattr(uint64_t node, Reply& reply) = 0;
  virtual int readlink(uint64_t node, Reply& reply) = 0;
  // Reads up to `size` bytes at `offset`; fewer only at the end of the file.
  virtual int read(uint64_t node, uint64_t offset, uint32_t size, Reply& reply) = 0;
  // Fills up to `size` bytes with entries from cookie `offset` on; `plus` adds what LOOKUP would say of each.
  virtual int readdir(uint64_t node, uint64_t offset, uint32_t size, bool plus, Reply& reply) = 0;
  virtual int statfs(Reply& reply) = 0;
  // ENOSYS here makes the kernel stop asking for the whole mount.
  virtual int getxattr(uint64_t node, std::string_view name, uint32_t size, Reply& reply) = 0;
  virtual int listxattr(uint64_t node, uint32_t size, Reply& reply) = 0;
  virtual int lseek(uint64_t node, uint64_t offset, uint32_t whence, Reply& reply) = 0;
};

// Performs a request; returns 0 or a positive errno, in which case the reply has no body.
int dispatch(Filesystem& filesystem, const Request& request, Reply& reply);

// True for requests that must not be answered.
constexpr bool is_silent(uint32_t opcode) {
  return opcode == kForget || opcode == kBatchForget || opcode == kInterrupt || opcode == kNotifyReply;
}

}  // namespace lamina::fuse

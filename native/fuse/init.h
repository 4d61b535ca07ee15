// The INIT exchange. It is done once, by the process that outlives the servers, so that a server needs to
// know nothing but what was agreed (kernel: fs/fuse/inode.c, fuse_send_init and process_init_reply).
#pragma once

#include <cstdint>

namespace lamina::fuse {

struct Wishes {
  bool uring = false;
  // Lets the kernel cache ACLs; wanted only where the image has extended attributes.
  bool posix_acl = false;
  bool writable = false;
};

// Reads INIT from `fd` and answers it; `uring` says whether requests will come by io_uring. Returns 0 or a
// positive errno (EPROTONOSUPPORT when the kernel is too old).
int negotiate(int fd, const Wishes& wishes, bool& uring);

}  // namespace lamina::fuse

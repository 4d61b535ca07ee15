// The INIT exchange. It is done once, by the process that outlives the servers, so that a server needs to
// know nothing but what was agreed (kernel: fs/fuse/inode.c, fuse_send_init and process_init_reply).
#pragma once

#include <cstdint>

namespace lamina::fuse {

struct Wishes {
  bool uring = false;
  // Lets the kernel cache ACLs; wanted only where the image has extended attributes.
  bool posix_acl = false;
};

struct Agreement {
  bool uring = false;
  // The unique of the INIT request: the first of the connection.
  uint64_t first_unique = 0;
};

// Reads INIT from `fd` and answers it; returns 0 or a positive errno (EPROTONOSUPPORT when the kernel is too
// old).
int negotiate(int fd, const Wishes& wishes, Agreement& agreement);

}  // namespace lamina::fuse

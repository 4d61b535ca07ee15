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
  // Lets the kernel read and write the upper's files itself.
  bool passthrough = false;
};

struct Granted {
  bool uring = false;
  bool passthrough = false;
};

// Reads INIT from `fd` and answers it; `granted` says what will be used. Returns 0 or a positive errno
// (EPROTONOSUPPORT when the kernel is too old).
int negotiate(int fd, const Wishes& wishes, Granted& granted);

}  // namespace lamina::fuse

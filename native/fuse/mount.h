// Attaching a /dev/fuse connection to a directory and taking it away again: mount(2) for root, fusermount3(1)
// for all others. Nothing here looks inside the mount, so nothing here can wait for the server.
#pragma once

#include <cstdint>
#include <string>

#include "sys/failure.h"
#include "sys/unique_fd.h"

namespace lamina::fuse {

struct MountOptions {
  std::string mountpoint;  // absolute
  std::string fsname;      // what mount tables show as the source
  bool suid = false;
  bool dev = false;
  bool noexec = false;
  bool noatime = false;
  bool sync = false;
  bool dirsync = false;
  bool allow_other = false;
  bool read_only = true;
  // SELinux context of everything in it; has no meaning where SELinux is off.
  std::string context;
};

struct Mounted {
  UniqueFd device;
  // True when fusermount3 made the mount, and so has to take it away.
  bool by_helper = false;
};

// For mount(2).
unsigned long mount_flags(const MountOptions& options);

// On false `failure` holds the step (fuse-device, mount or fusermount), an errno and a
// sentence.
bool mount_image(const MountOptions& options, Mounted& mounted, Failure& failure);

enum class Unmount { kPlain, kLazy, kForce };

// Unmounts without following a symlink at the end of the path. kForce also aborts the connection (root only;
// others get kLazy). Returns 0 or a positive errno; the helper's failure is EBUSY or EPERM as far as it can
// be told.
int unmount_image(const std::string& mountpoint, Unmount how, bool by_helper);

// Raises the readahead of the mount at `mountpoint` to `bytes`, which only root may and only sysfs offers.
// Silent when it cannot: reads are then slower, not wrong. Call it before INIT is answered, which caps
// readahead at what it finds.
void raise_readahead(const std::string& mountpoint, uint64_t bytes);

}  // namespace lamina::fuse

// A container without a server: the image as EROFS over the layers' own tars, and kernel overlayfs over that.
// This process mounts both, holds the lock of the upper, and clears up when the mount ends.
#pragma once

#include "options.h"

namespace lamina {

// Returns the exit status of the program when the mount has ended. Reports on options.control_fd, whatever
// happens; the step `overlay` says that the kernel, or the image, is not made for it, and nothing is mounted
// then.
int run_kernel_union(const ServeOptions& options);

}  // namespace lamina

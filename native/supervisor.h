// The process that outlives its servers: it mounts, keeps every descriptor open, forks a server, and forks
// another when that one dies; it takes the mount away when told to and clears up when the mount ends.
#pragma once

#include "options.h"

namespace lamina {

// Serves until the mount ends; returns the exit status of the program. Reports on options.control_fd,
// whatever happens.
int run_supervisor(const ServeOptions& options);

// Writes `failed step=...` to the control descriptor and to stderr.
void report_failure(int control_fd, const Failure& failure);

}  // namespace lamina

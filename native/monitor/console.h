// The console socket of an OCI runtime: it sends the master side of the container's terminal over it
// (opencontainers/runc docs/terminals.md).
#pragma once

#include "sys/unique_fd.h"

namespace lamina::monitor {

// Listens on `name` in the working directory. Invalid, with errno, when it cannot.
UniqueFd listen_for_console(const char* name);

// Takes the terminal from the runtime that has connected; waits for it. Invalid when none came.
UniqueFd receive_console(int listener);

}  // namespace lamina::monitor

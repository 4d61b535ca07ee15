// The command line of fuse-overlayfs, and of mount(8)'s helpers: a stack of directories, named by mount
// options. What podman and buildah call as their mount_program.
#pragma once

#include <string>
#include <vector>

namespace lamina {

// Whether a command line is one of these: options as mount(8) writes them, or a program name that mount(8)
// uses.
bool is_stack_command(const char* program, const std::vector<std::string>& arguments);

// Mounts, and returns 0 once the mount is there; it goes on in the background unless `-f` was given. On
// failure says why on stderr and returns 1; nothing stays mounted.
int run_stack(const char* program, const std::vector<std::string>& arguments);

}  // namespace lamina

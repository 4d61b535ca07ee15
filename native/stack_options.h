// The command line of a stack of directories: what fuse-overlayfs takes (its man page), what mount(8) gives
// to its helpers, and options of our own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "options.h"

namespace lamina {

struct StackCommand {
  ServeOptions serve;
  std::string lowerdir;
  std::string upperdir;
  std::string workdir;
  bool foreground = false;
  // mount(8)'s -f: check everything, mount nothing.
  bool fake = false;
  bool remount = false;
  // At most a source, then the mount point.
  std::vector<std::string> operands;
  // For a source that is an image: the options that `lamina mount` knows.
  std::vector<std::string> image_options;
};

// False when there is something wrong with it, which stderr then tells. `is_helper`: as mount(8) calls it.
bool parse_stack_command(bool is_helper, const std::vector<std::string>& arguments, StackCommand& command);

// The directories of a lowerdir option: separated by colons, `\:` and `\\` for the characters themselves
// (overlayfs.rst, "Multiple lower layers").
std::vector<std::string> split_layers(std::string_view list);

}  // namespace lamina

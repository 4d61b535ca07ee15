// Paths that cannot lead out of a directory, whatever links stand on the way or are put there meanwhile:
// openat2(2) with RESOLVE_IN_ROOT, under which `/` and `..` mean that directory, as in a chroot, or, for a
// directory of the host, without following any link.
#pragma once

#include <sys/types.h>

#include <string>

#include "sys/unique_fd.h"

namespace lamina::scan {

enum class Links {
  kInRoot,   // followed inside the root
  kRefused,  // ELOOP
};

// Opens `path` below `root`; "" is the root itself. An invalid descriptor means errno.
UniqueFd open_beneath(int root, const std::string& path, int flags, Links links);

// Opens the directory `path` below `root`, making what is missing of it (0755). An invalid descriptor means
// errno.
UniqueFd open_directory(int root, const std::string& path, Links links);

// "a/b" -> "a" and "b"; the parent of a single name is "".
void split_path(const std::string& path, std::string& parent, std::string& name);

// Where a name of an open directory can be reached by calls that take no descriptor of their own (the xattr
// calls): free of links on the way, and with the `l` variants of the calls at its end too.
std::string proc_path(int directory, const char* name);

// Lets this process hold a descriptor for each level of a deep tree.
void raise_descriptor_limit();

}  // namespace lamina::scan

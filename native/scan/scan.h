// `lamina-fuse scan`, `apply` and `lock`: what Node has no calls for. Each says on stderr what failed, as
// `errno=N NAME path: message`, and ends with status 1 then, 2 for wrong usage.
#pragma once

#include <string>
#include <vector>

namespace lamina::scan {

// scan [--in-root PATH] [--no-follow] [--depth N] DIR: streams every entry below DIR to stdout (format.h), or
// below PATH in DIR, whose links are followed inside DIR; with --no-follow not the last one. Reads nothing
// but names and attributes.
int scan_command(const std::vector<std::string>& arguments);

// apply [--no-links] DIR: makes what the stream on stdin says below DIR. Links on the way are followed inside
// DIR, or refused with --no-links. Prints `applied ENTRIES LOST`: LOST extended attributes the filesystem
// would not take.
int apply_command(const std::vector<std::string>& arguments);

// lock [--try] FD: takes flock(2) on an inherited descriptor. The lock belongs to the open file, so it stays
// with whoever passed it when this program ends. Status 3: --try, and another holds it.
int lock_command(const std::vector<std::string>& arguments);

// Prints the failure; returns 1.
int fail(int error, const std::string& path, const char* what);

}  // namespace lamina::scan

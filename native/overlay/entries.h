// The entries of a directory that is open.
#pragma once

#include <dirent.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace lamina::overlay {

// Calls visit(name, d_type, fd) for each entry but `.` and `..` of an open directory; closes it.
template <typename Visit>
int for_each_entry(int fd, Visit&& visit) {
  DIR* stream = fdopendir(fd);
  if (stream == nullptr) {
    const int error = errno;
    close(fd);
    return error;
  }
  errno = 0;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") visit(entry->d_name, entry->d_type, dirfd(stream));
    errno = 0;
  }
  const int error = errno;
  closedir(stream);
  return error;
}

}  // namespace lamina::overlay

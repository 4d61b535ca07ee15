// What copying up needs while it gives an object its place.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "sys/at.h"

namespace lamina::overlay {

// Takes a temporary object away again unless it was given its place.
class Temporary {
 public:
  Temporary(int dir, std::string name) : dir_(dir), name_(std::move(name)) {}
  ~Temporary() {
    if (!done_ && unlinkat(dir_, name_.c_str(), 0) != 0) unlinkat(dir_, name_.c_str(), AT_REMOVEDIR);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  void done() { done_ = true; }

 private:
  int dir_;
  std::string name_;
  bool done_ = false;
};

// Puts the times of a directory back to what they were before it got an entry that it had all along.
class KeepTimes {
 public:
  explicit KeepTimes(int dir) : dir_(dir) { known_ = at::stat(dir, at::kSelf, before_) == 0; }
  ~KeepTimes() {
    if (!known_) return;
    const timespec times[2] = {before_.st_atim, before_.st_mtim};
    utimensat(dir_, at::kSelf, times, AT_SYMLINK_NOFOLLOW);
  }
  KeepTimes(const KeepTimes&) = delete;
  KeepTimes& operator=(const KeepTimes&) = delete;

 private:
  int dir_;
  bool known_ = false;
  struct stat before_ {};
};

// Takes back the names that a file was given unless it got them all: some names that lead to it and others
// that lead to the lower file would be two files.
class GivenNames {
 public:
  GivenNames() = default;
  ~GivenNames() {
    for (const auto& [dir, name] : names_) {
      const KeepTimes keep(dir);
      unlinkat(dir, name.c_str(), 0);
    }
  }
  GivenNames(const GivenNames&) = delete;
  GivenNames& operator=(const GivenNames&) = delete;
  // The directory stays open for longer than this.
  void add(int dir, std::string name) { names_.emplace_back(dir, std::move(name)); }
  void done() { names_.clear(); }

 private:
  std::vector<std::pair<int, std::string>> names_;
};

// Refused by filesystems and namespaces that do not know an attribute; an object without it is better than
// none.
inline bool may_be_left_out(int error) { return error == EOPNOTSUPP || error == EPERM || error == EINVAL; }

}  // namespace lamina::overlay

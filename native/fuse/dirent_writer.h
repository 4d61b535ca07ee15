// Entries of a READDIR or READDIRPLUS reply, one after another (kernel: fs/fuse/readdir.c, parse_dirfile and
// parse_dirplusfile).
#pragma once

#include <algorithm>
#include <cstring>
#include <string_view>

#include "fuse/abi.h"
#include "fuse/reply.h"

namespace lamina::fuse {

class DirentWriter {
 public:
  // At most `size` bytes of the reply.
  DirentWriter(Reply& reply, uint32_t size, bool plus)
      : reply_(reply), left_(std::min<size_t>(size, reply.room())), plus_(plus) {}

  [[nodiscard]] bool fits(std::string_view name) const { return length(name) <= left_; }

  // Adds an entry that fits. `entry` is what LOOKUP would say; node 0 in it tells the kernel to look at the
  // name alone.
  void put(std::string_view name, uint64_t ino, uint64_t next_cookie, uint32_t type, const EntryOut& entry) {
    uint8_t* at = reply_.end();
    if (plus_) {
      memcpy(at, &entry, sizeof entry);
      at += sizeof entry;
    }
    const Dirent record{ino, next_cookie, static_cast<uint32_t>(name.size()), type};
    memcpy(at, &record, sizeof record);
    at += sizeof record;
    memcpy(at, name.data(), name.size());
    const size_t whole = length(name);
    memset(at + name.size(), 0, static_cast<size_t>(reply_.end() + whole - (at + name.size())));
    reply_.claim(whole);
    left_ -= whole;
  }

 private:
  // Padded to a multiple of 8.
  [[nodiscard]] size_t length(std::string_view name) const {
    const size_t header = plus_ ? sizeof(DirentPlus) : sizeof(Dirent);
    return (header + name.size() + 7) & ~static_cast<size_t>(7);
  }

  Reply& reply_;
  size_t left_;
  bool plus_;
};

}  // namespace lamina::fuse

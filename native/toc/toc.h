// A merged TOC, mapped and read in place. open() and validate() check every record once; after that the
// accessors do no bounds checks, so a Toc that did not validate must not be used. FORMAT.md is the
// specification.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "sys/mapping.h"
#include "toc/format.h"

namespace lamina::toc {

// What is wrong with a TOC: an errno (EINVAL unless the system said otherwise) and a sentence for people.
struct Error {
  int error = 0;
  char message[160] = {};

  [[gnu::format(printf, 3, 4)]] bool set(int code, const char* format, ...);
};

struct XattrView {
  std::string_view name;
  std::string_view value;
};

// Walks one validated attribute set.
class XattrCursor {
 public:
  XattrCursor(const uint8_t* set, uint32_t count) : at_(set), left_(count) {}
  std::optional<XattrView> next();

 private:
  const uint8_t* at_;
  uint32_t left_;
};

class Toc {
 public:
  // Maps `size` bytes of `fd` and checks the header, the section table and all checksums.
  bool open(int fd, Error& error);
  // The same over bytes in memory, which must outlive the Toc and be aligned to 8.
  bool attach(const uint8_t* data, size_t size, Error& error);
  // Checks every record; `source_lengths` are the lengths of the given sources, bottom to top.
  bool validate(std::span<const uint64_t> source_lengths, Error& error) const;

  // The header's checksum, which covers those of all sections: it tells this TOC from any other.
  [[nodiscard]] uint64_t checksum() const { return checksum_; }
  [[nodiscard]] uint32_t inode_count() const { return inode_count_; }
  [[nodiscard]] uint32_t dirent_count() const { return dirent_count_; }
  [[nodiscard]] bool contains(uint64_t ino) const { return ino - 1 < inode_count_; }
  [[nodiscard]] const Inode& inode(uint64_t ino) const { return inodes_[ino - 1]; }
  [[nodiscard]] std::span<const Dirent> entries(const Inode& dir) const {
    return {dirents_ + dir.first, dir.count};
  }
  // By its place in the section; FORMAT.md, Dirent record.
  [[nodiscard]] const Dirent& entry(uint32_t index) const { return dirents_[index]; }
  [[nodiscard]] std::span<const Extent> extents(const Inode& file) const {
    return {extents_ + file.first, file.count};
  }
  [[nodiscard]] std::string_view text(const Inode& symlink) const {
    return {strings_ + symlink.first, symlink.count};
  }
  [[nodiscard]] std::string_view name(const Dirent& entry) const {
    return {strings_ + entry.name_offset, entry.name_length};
  }
  [[nodiscard]] std::span<const Layer> layers() const { return {layers_, layer_count_}; }
  [[nodiscard]] XattrCursor xattrs(const Inode& inode) const;
  // True when any inode may hold an attribute.
  [[nodiscard]] bool has_xattrs() const { return xattrs_length_ > 8; }

  // The entry of `name` in directory `parent`, or null. One hash and, nearly always, one probe.
  [[nodiscard]] const Dirent* lookup(uint32_t parent, std::string_view name) const;

 private:
  friend class Validator;

  Mapping mapping_;
  uint64_t checksum_ = 0;
  uint32_t inode_count_ = 0;
  uint32_t dirent_count_ = 0;
  uint32_t slot_count_ = 0;
  uint32_t extent_count_ = 0;
  uint32_t layer_count_ = 0;
  uint64_t strings_length_ = 0;
  uint64_t xattrs_length_ = 0;
  const Inode* inodes_ = nullptr;
  const Dirent* dirents_ = nullptr;
  const char* strings_ = nullptr;
  const Slot* slots_ = nullptr;
  const Extent* extents_ = nullptr;
  const uint8_t* xattrs_ = nullptr;
  const Layer* layers_ = nullptr;
};

}  // namespace lamina::toc

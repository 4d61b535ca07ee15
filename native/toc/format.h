// The records of a TOC file, version 1, exactly as FORMAT.md draws them: little-endian, packed, read in place
// from the mapping. src/merge/toc-format.ts holds the same numbers.
#pragma once

#include <cstdint>

namespace lamina::toc {

inline constexpr char kMagic[8] = {'L', 'A', 'M', 'I', 'N', 'A', 'T', '1'};
inline constexpr uint32_t kVersion = 1;
inline constexpr uint64_t kKnownFeatures = 0;
inline constexpr uint32_t kKindMerged = 2;
inline constexpr uint32_t kNoSource = 0xFFFFFFFF;
inline constexpr uint32_t kRootIno = 1;
inline constexpr uint64_t kMaxOffset = 1ULL << 53;
inline constexpr uint32_t kMaxLayers = 4096;
inline constexpr uint32_t kMaxXattrValue = 65536;

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t header_size;
  uint64_t features;
  uint32_t kind;
  uint32_t section_count;
  uint64_t file_size;
  uint64_t checksum;
  uint32_t inode_count;
  uint32_t dirent_count;
  uint64_t reserved;
};
static_assert(sizeof(Header) == 64);

enum SectionId : uint32_t {
  kInodes = 1,
  kDirents = 2,
  kStrings = 3,
  kSlots = 4,
  kExtents = 5,
  kXattrs = 6,
  kLayers = 7,
};
inline constexpr uint32_t kSectionCount = 7;

struct Section {
  uint32_t id;
  uint32_t record_size;
  uint64_t offset;
  uint64_t length;
  uint64_t checksum;
};
static_assert(sizeof(Section) == 32);

struct Inode {
  uint32_t mode;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint64_t size;
  int64_t mtime_sec;
  uint32_t mtime_nsec;
  uint32_t rdev_major;
  uint32_t rdev_minor;
  uint32_t layer;
  uint32_t first;
  uint32_t count;
  uint32_t xattrs;
  uint32_t parent;
  uint32_t flags;
  uint32_t reserved;
};
static_assert(sizeof(Inode) == 72);

struct Dirent {
  uint32_t ino;
  uint32_t name_offset;
  uint16_t name_length;
  uint8_t type;
  uint8_t reserved;
  uint32_t name_hash;
};
static_assert(sizeof(Dirent) == 16);

struct Slot {
  uint32_t tag;
  uint32_t dirent_plus_one;
};
static_assert(sizeof(Slot) == 8);

struct Extent {
  uint64_t offset;
  uint64_t length;
  uint64_t source_offset;
  uint32_t source;
  uint32_t reserved;
};
static_assert(sizeof(Extent) == 32);

struct XattrSet {
  uint32_t count;
  uint32_t length;
};
static_assert(sizeof(XattrSet) == 8);

// Followed by the name, then the value. Not aligned: read through memcpy.
struct Xattr {
  uint16_t name_length;
  uint16_t reserved;
  uint32_t value_length;
};
static_assert(sizeof(Xattr) == 8);

struct Layer {
  uint32_t algorithm;
  uint32_t digest_length;
  uint8_t digest[64];
  uint64_t size;
};
static_assert(sizeof(Layer) == 80);

// FORMAT.md, Slots: the hash by which (parent, name) is found.
inline uint32_t table_hash(uint32_t parent, uint32_t name_hash) {
  uint32_t hash = name_hash ^ (parent * 0x9E3779B1u);
  hash ^= hash >> 15;
  hash *= 0x85EBCA6Bu;
  return hash ^ (hash >> 13);
}

}  // namespace lamina::toc

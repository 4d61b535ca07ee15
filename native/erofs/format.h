// What EROFS has on disk, as far as it is written here (kernel: fs/erofs/erofs_fs.h). Little-endian.
#pragma once

#include <cstdint>

namespace lamina::erofs {

inline constexpr uint32_t kMagic = 0xE0F5E1E2;
inline constexpr uint32_t kSuperblockOffset = 1024;
inline constexpr uint32_t kIncompatChunkedFile = 0x4;
inline constexpr uint32_t kIncompatDeviceTable = 0x8;
inline constexpr uint32_t kNoBlock = 0xFFFFFFFF;

struct Superblock {
  uint32_t magic;
  uint32_t checksum;
  uint32_t feature_compat;
  uint8_t block_bits;
  uint8_t extension_slots;
  uint16_t root_nid;
  uint64_t inodes;
  uint64_t build_time;
  uint32_t build_time_nsec;
  uint32_t blocks;
  uint32_t meta_block;
  uint32_t xattr_block;
  uint8_t uuid[16];
  uint8_t volume_name[16];
  uint32_t feature_incompat;
  uint16_t algorithms;
  uint16_t extra_devices;
  uint16_t device_table_slot;  // in units of 128 bytes
  uint8_t directory_block_bits;
  uint8_t xattr_prefixes;
  uint32_t xattr_prefix_start;
  uint64_t packed_nid;
  uint8_t reserved[24];
};
static_assert(sizeof(Superblock) == 128);

struct DeviceSlot {
  uint8_t tag[64];
  uint32_t blocks;
  uint32_t mapped_block;
  uint8_t reserved[56];
};
static_assert(sizeof(DeviceSlot) == 128);

// The extended form: 32 bits of owner, nanoseconds.
struct Inode {
  uint16_t format;  // bit 0: extended; then the layout
  uint16_t xattr_count;
  uint16_t mode;
  uint16_t reserved;
  uint64_t size;
  uint32_t where;  // block, device number, or form of the chunks
  uint32_t ino;    // for 32-bit stat only
  uint32_t uid;
  uint32_t gid;
  uint64_t mtime_sec;
  uint32_t mtime_nsec;
  uint32_t nlink;
  uint8_t reserved2[16];
};
static_assert(sizeof(Inode) == 64);

inline constexpr uint16_t kExtended = 1;
inline constexpr uint16_t kLayoutPlain = 0 << 1;
inline constexpr uint16_t kLayoutInline = 2 << 1;
inline constexpr uint16_t kLayoutChunks = 4 << 1;
inline constexpr uint32_t kChunkIndexes = 0x20;

struct ChunkIndex {
  uint16_t advise;
  uint16_t device;
  uint32_t block;
};
static_assert(sizeof(ChunkIndex) == 8);

struct Dirent {
  uint64_t nid;
  uint16_t name_offset;
  uint8_t type;
  uint8_t reserved;
} __attribute__((packed));
static_assert(sizeof(Dirent) == 12);

// Before an inode's attributes, whose numbers in the shared area follow.
struct XattrHeader {
  uint32_t name_filter;
  uint8_t shared_count;
  uint8_t reserved[7];
};
static_assert(sizeof(XattrHeader) == 12);

struct XattrEntry {
  uint8_t name_length;
  uint8_t prefix;
  uint16_t value_size;
};
static_assert(sizeof(XattrEntry) == 4);

}  // namespace lamina::erofs

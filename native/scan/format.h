// The streams of `scan` (written) and `apply` (read): little-endian, packed, no padding between records.
// src/container/scan.ts and apply.ts hold the other ends.
//
// Scan: the 8 bytes "LAMSCAN1", then one record for each name, depth first, a directory before its children
// and those in byte order; at the end four zero bytes, without which the stream is cut short.
//
//    0 4 length of the record, this field included       56 8 size
//    4 4 st_mode                                          64 8 mtime, seconds (signed)
//    8 8 st_dev                                           72 4 mtime, nanoseconds
//   16 8 st_ino                                           76 4 ctime, nanoseconds
//   24 4 st_nlink                                         80 8 ctime, seconds (signed)
//   28 4 uid                                              88 8 st_blocks
//   32 4 gid                                              96 4 name length
//   36 4 rdev major                                      100 4 link text length
//   40 4 rdev minor                                      104 4 number of extended attributes
//   44 4 depth: 0 for where the scan began               108 4 zero
//   48 8 zero
//
// then the name (empty at depth 0), a symbolic link's text, and the attributes, sorted by name: each 4 bytes
// name length, 4 bytes value length, name, value.
//
// Apply: the 8 bytes "LAMAPPL1", then records of which each may be followed by a file's content; at the end
// four zero bytes.
//
//    0 4 length of the record without content             32 8 mtime, seconds (signed)
//    4 4 what to do (ApplyKind)                           40 4 mtime, nanoseconds
//    8 4 st_mode                                          44 4 flags (ApplyFlags)
//   12 4 uid                                              48 8 content length
//   16 4 gid                                              56 4 path length
//   20 4 rdev major                                       60 4 link text length
//   24 4 rdev minor                                       64 4 number of extended attributes
//   28 4 zero                                             68 4 zero
//
// then path (relative; "" is the root itself), link text, attributes as above, content.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

namespace lamina::scan {

constexpr char kScanMagic[] = "LAMSCAN1";
constexpr char kApplyMagic[] = "LAMAPPL1";
constexpr size_t kMagicBytes = 8;
constexpr size_t kScanRecordBytes = 112;
constexpr size_t kApplyRecordBytes = 72;
// Path, link text and attributes of one record together; far more than any filesystem holds.
constexpr uint32_t kMaxRecordBytes = 64u << 20;

enum ApplyKind : uint32_t {
  kPut = 1,          // make or replace what the mode says; a directory that exists is kept and described
  kLink = 2,         // a hard link to the path that the link text names
  kRemoveXattr = 3,  // the attribute that the link text names
};

enum ApplyFlags : uint32_t {
  kChown = 1,
  kKeepExisting = 2,  // a directory that exists is left as it is
};

template <typename T>
void store(std::string& out, T value) {
  char bytes[sizeof value];
  memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

template <typename T>
T load(const char* at) {
  T value;
  memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace lamina::scan

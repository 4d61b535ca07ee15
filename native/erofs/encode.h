// An image as EROFS metadata: a small file system whose files' contents lie in the layers' own tars, as the
// blocks of further devices (kernel: Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h). Blocks have
// 512 bytes, as those of tar have, so that no byte of a layer is copied. The kernel mounts it without a
// server.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "toc/toc.h"

namespace lamina::erofs {

// Where the uncompressed tar of a layer lies.
struct Source {
  uint32_t device;  // place in the list of devices
  uint64_t offset;
};

// The node number that the kernel gives an inode of the TOC, and shows as st_ino, unless it is a file in many
// pieces or with a long list of attributes, which have numbers above those of all others.
inline constexpr uint32_t kNodesPerInode = 4;

// Encodes `toc`, which must have been validated against `sources` (bottom to top). `device_bytes` are the
// sizes of the devices. False, with a sentence, for an image that EROFS cannot hold or that kernel overlayfs
// would not show as it is.
bool encode(const toc::Toc& toc, const std::vector<Source>& sources,
            const std::vector<uint64_t>& device_bytes, std::vector<uint8_t>& image, std::string& why_not);

}  // namespace lamina::erofs

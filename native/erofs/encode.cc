// Order in the file: superblock, table of devices, a slot of 128 bytes for each inode, inodes that need more,
// shared attributes, and blocks with directories and long link texts. An inode's number follows from its
// place, so equal TOCs give equal numbers.
#include "erofs/encode.h"

#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <map>
#include <string_view>

#include "erofs/format.h"

namespace lamina::erofs {

namespace {

constexpr uint32_t kBlockBits = 9;
constexpr uint32_t kBlock = 1 << kBlockBits;
constexpr uint32_t kNode = 32;
constexpr uint32_t kSlot = kNode * kNodesPerInode;
constexpr uint64_t kMaxChunks = 1 << 20;
constexpr uint32_t kMaxChunkBits = kBlockBits + 31;
constexpr uint64_t kMaxImage = uint64_t{1} << 31;

uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

uint8_t file_type(uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return 1;
    case S_IFDIR:
      return 2;
    case S_IFCHR:
      return 3;
    case S_IFBLK:
      return 4;
    case S_IFIFO:
      return 5;
    case S_IFSOCK:
      return 6;
    default:
      return 7;
  }
}

// Attribute names are kept without their beginning, which is a number.
constexpr struct {
  std::string_view text;
  uint8_t number;
  bool whole;
} kPrefixes[] = {{"user.", 1, false},
                 {"system.posix_acl_access", 2, true},
                 {"system.posix_acl_default", 3, true},
                 {"trusted.", 4, false},
                 {"security.", 6, false}};

// The kernel's encoding of device numbers (include/linux/kdev_t.h, new_encode_dev).
uint32_t encode_device(uint32_t major, uint32_t minor) {
  return (minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12);
}

class Encoder {
 public:
  Encoder(const toc::Toc& toc, const std::vector<Source>& sources, std::vector<uint8_t>& image,
          std::string& why_not)
      : toc_(toc), sources_(sources), image_(image), why_not_(why_not) {}

  bool encode(const std::vector<uint64_t>& device_bytes) {
    const uint64_t table = kSuperblockOffset + sizeof(Superblock);
    meta_ = round_up(table + device_bytes.size() * sizeof(DeviceSlot), kBlock);
    image_.assign(meta_ + (uint64_t{toc_.inode_count()} + 1) * kSlot, 0);
    // Numbers first: a directory's entries need those of all that is in it.
    nids_.assign(toc_.inode_count() + 1, 0);
    for (uint32_t ino = 1; ino <= toc_.inode_count(); ++ino) {
      if (!plan(ino)) return false;
    }
    image_.resize(round_up(image_.size(), kBlock));
    const uint64_t xattrs = image_.size();
    image_.insert(image_.end(), shared_.begin(), shared_.end());
    image_.resize(round_up(image_.size(), kBlock));
    for (uint32_t ino = 1; ino <= toc_.inode_count(); ++ino) {
      if (!put(ino)) return false;
    }
    for (size_t index = 0; index < device_bytes.size(); ++index) {
      DeviceSlot slot{};
      snprintf(reinterpret_cast<char*>(slot.tag), sizeof slot.tag, "%zu", index + 1);
      slot.blocks = static_cast<uint32_t>(round_up(device_bytes[index], kBlock) / kBlock);
      at<DeviceSlot>(table + index * sizeof slot) = slot;
    }
    Superblock super{};
    super.magic = kMagic;
    super.block_bits = kBlockBits;
    super.root_nid = static_cast<uint16_t>(nids_[toc::kRootIno]);
    super.inodes = toc_.inode_count();
    super.blocks = static_cast<uint32_t>(image_.size() / kBlock);
    super.meta_block = static_cast<uint32_t>(meta_ / kBlock);
    super.xattr_block = static_cast<uint32_t>(xattrs / kBlock);
    // Whoever keeps a handle of one of these files can tell another image's from it.
    const uint64_t key = toc_.checksum();
    memcpy(super.uuid, &key, sizeof key);
    memcpy(super.uuid + sizeof key, "laminafs", 8);
    super.feature_incompat = kIncompatChunkedFile | kIncompatDeviceTable;
    super.extra_devices = static_cast<uint16_t>(device_bytes.size());
    super.device_table_slot = static_cast<uint16_t>(table / sizeof(DeviceSlot));
    at<Superblock>(kSuperblockOffset) = super;
    return true;
  }

 private:
  struct Chunks {
    uint32_t bits = kBlockBits;
    uint64_t count = 0;
  };

  template <typename T>
  T& at(uint64_t offset) {
    return *reinterpret_cast<T*>(image_.data() + offset);
  }

  bool refuse(uint32_t ino, const char* why) {
    why_not_ = "inode " + std::to_string(ino) + " of the image " + why;
    return false;
  }

  // Finds the number of an inode, makes room for it where a slot does not do, and shares its attributes.
  bool plan(uint32_t ino) {
    const toc::Inode& inode = toc_.inode(ino);
    if (S_ISCHR(inode.mode) && inode.rdev_major == 0 && inode.rdev_minor == 0)
      return refuse(ino, "would be a whiteout to overlayfs");
    uint64_t bytes = sizeof(Inode);
    if (inode.xattrs != 0) {
      uint32_t count = 0;
      if (!share(ino, inode, count)) return false;
      bytes += sizeof(XattrHeader) + count * sizeof(uint32_t);
    }
    if (S_ISREG(inode.mode) && inode.size > 0) {
      Chunks chunks;
      if (!cut(ino, inode, chunks)) return false;
      bytes = round_up(bytes, sizeof(ChunkIndex)) + chunks.count * sizeof(ChunkIndex);
    }
    if (bytes <= kSlot) {
      nids_[ino] = uint64_t{ino} * kNodesPerInode;
      return true;
    }
    nids_[ino] = (image_.size() - meta_) / kNode;
    image_.resize(round_up(image_.size() + bytes, kNode));
    return image_.size() < kMaxImage || refuse(ino, "is in too many pieces");
  }

  bool share(uint32_t ino, const toc::Inode& inode, uint32_t& count) {
    if (sets_.contains(inode.xattrs)) {
      count = static_cast<uint32_t>(sets_[inode.xattrs].size());
      return true;
    }
    std::vector<uint32_t> ids;
    toc::XattrCursor cursor = toc_.xattrs(inode);
    while (const auto xattr = cursor.next()) {
      if (xattr->name.starts_with("trusted.overlay.")) return refuse(ino, "has an attribute of overlayfs");
      const auto prefix = std::find_if(std::begin(kPrefixes), std::end(kPrefixes), [&](const auto& known) {
        return known.whole ? xattr->name == known.text : xattr->name.starts_with(known.text);
      });
      if (prefix == std::end(kPrefixes) || xattr->value.size() > UINT16_MAX)
        return refuse(ino, "has an attribute that EROFS cannot hold");
      const std::string_view name = xattr->name.substr(prefix->text.size());
      ids.push_back(static_cast<uint32_t>(shared_.size() / sizeof(uint32_t)));
      const XattrEntry entry{static_cast<uint8_t>(name.size()), prefix->number,
                             static_cast<uint16_t>(xattr->value.size())};
      const auto* bytes = reinterpret_cast<const uint8_t*>(&entry);
      shared_.insert(shared_.end(), bytes, bytes + sizeof entry);
      shared_.insert(shared_.end(), name.begin(), name.end());
      shared_.insert(shared_.end(), xattr->value.begin(), xattr->value.end());
      shared_.resize(round_up(shared_.size(), sizeof(uint32_t)));
    }
    if (ids.size() > UINT8_MAX || shared_.size() > kMaxImage) return refuse(ino, "has too many attributes");
    count = static_cast<uint32_t>(ids.size());
    sets_[inode.xattrs] = std::move(ids);
    return true;
  }

  // The largest chunks of which each lies in one piece, or is a hole.
  bool cut(uint32_t ino, const toc::Inode& inode, Chunks& chunks) {
    const auto extents = toc_.extents(inode);
    uint64_t edges = 0;
    for (const toc::Extent& extent : extents) {
      edges |= extent.offset;
      if (extent.source == toc::kNoSource) continue;
      if (((sources_[extent.source].offset + extent.source_offset) & (kBlock - 1)) != 0)
        return refuse(ino, "lies between two blocks");
    }
    const auto whole = static_cast<uint32_t>(std::bit_width(inode.size - 1));
    chunks.bits = std::max(kBlockBits, whole);
    if (edges != 0) chunks.bits = std::min(chunks.bits, static_cast<uint32_t>(std::countr_zero(edges)));
    if (chunks.bits < kBlockBits || chunks.bits > kMaxChunkBits)
      return refuse(ino, "is cut between two blocks");
    chunks.count = ((inode.size - 1) >> chunks.bits) + 1;
    return chunks.count <= kMaxChunks || refuse(ino, "is in too many pieces");
  }

  bool put(uint32_t ino) {
    const toc::Inode& source = toc_.inode(ino);
    const uint64_t place = meta_ + nids_[ino] * kNode;
    Inode inode{};
    inode.format = kExtended | kLayoutPlain;
    inode.mode = static_cast<uint16_t>(source.mode);
    inode.size = source.size;
    inode.where = kNoBlock;
    inode.ino = ino;
    inode.uid = source.uid;
    inode.gid = source.gid;
    inode.mtime_sec = static_cast<uint64_t>(source.mtime_sec);
    inode.mtime_nsec = source.mtime_nsec;
    inode.nlink = source.nlink;
    uint64_t end = place + sizeof inode;
    if (source.xattrs != 0) {
      const std::vector<uint32_t>& ids = sets_[source.xattrs];
      at<XattrHeader>(end).shared_count = static_cast<uint8_t>(ids.size());
      end += sizeof(XattrHeader);
      for (const uint32_t id : ids) {
        at<uint32_t>(end) = id;
        end += sizeof id;
      }
      // In words after the header, which itself counts as one (erofs_xattr_ibody_size).
      inode.xattr_count = static_cast<uint16_t>(ids.size() + 1);
    }
    if (S_ISDIR(source.mode)) {
      put_directory(ino, source, inode);
    } else if (S_ISLNK(source.mode)) {
      put_link(ino, source, end, inode);
    } else if (S_ISREG(source.mode)) {
      if (source.size > 0 && !put_chunks(ino, source, end, inode)) return false;
    } else {
      inode.where = encode_device(source.rdev_major, source.rdev_minor);
    }
    at<Inode>(place) = inode;
    return image_.size() < kMaxImage || refuse(ino, "makes the image too large");
  }

  // In the slot if it fits there, which lies in one block.
  void put_link(uint32_t ino, const toc::Inode& source, uint64_t end, Inode& inode) {
    const std::string_view text = toc_.text(source);
    inode.size = text.size();
    if (end + text.size() <= meta_ + (uint64_t{ino} + 1) * kSlot) {
      inode.format = kExtended | kLayoutInline;
      memcpy(&image_[end], text.data(), text.size());
      return;
    }
    inode.where = static_cast<uint32_t>(image_.size() / kBlock);
    image_.insert(image_.end(), text.begin(), text.end());
    image_.resize(round_up(image_.size(), kBlock));
  }

  bool put_chunks(uint32_t ino, const toc::Inode& source, uint64_t end, Inode& inode) {
    Chunks chunks;
    if (!cut(ino, source, chunks)) return false;
    inode.format = kExtended | kLayoutChunks;
    inode.where = (chunks.bits - kBlockBits) | kChunkIndexes;
    end = round_up(end, sizeof(ChunkIndex));
    for (const toc::Extent& extent : toc_.extents(source)) {
      for (uint64_t done = 0; done < extent.length; done += uint64_t{1} << chunks.bits) {
        ChunkIndex index{0, 0, kNoBlock};
        if (extent.source != toc::kNoSource) {
          const Source& lies = sources_[extent.source];
          index.device = static_cast<uint16_t>(lies.device + 1);
          index.block = static_cast<uint32_t>((lies.offset + extent.source_offset + done) / kBlock);
        }
        at<ChunkIndex>(end) = index;
        end += sizeof index;
      }
    }
    return true;
  }

  // Blocks of entries in byte order, `.` and `..` among them, each block with its names after its entries.
  void put_directory(uint32_t ino, const toc::Inode& source, Inode& inode) {
    struct Entry {
      std::string_view name;
      uint64_t nid;
      uint8_t type;
    };
    std::vector<Entry> entries{{".", nids_[ino], 2}, {"..", nids_[source.parent], 2}};
    for (const toc::Dirent& entry : toc_.entries(source)) {
      entries.push_back({toc_.name(entry), nids_[entry.ino], file_type(toc_.inode(entry.ino).mode)});
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
    const uint64_t start = image_.size();
    inode.where = static_cast<uint32_t>(start / kBlock);
    for (size_t first = 0; first < entries.size();) {
      size_t last = first;
      uint64_t names = 0;
      while (last < entries.size() &&
             (last - first + 1) * sizeof(Dirent) + names + entries[last].name.size() <= kBlock) {
        names += entries[last++].name.size();
      }
      const uint64_t block = round_up(image_.size(), kBlock);
      uint64_t name_at = (last - first) * sizeof(Dirent);
      image_.resize(block + name_at + names);
      for (size_t index = first; index < last; ++index) {
        const Entry& entry = entries[index];
        at<Dirent>(block + (index - first) * sizeof(Dirent)) = {entry.nid, static_cast<uint16_t>(name_at),
                                                                entry.type, 0};
        memcpy(&image_[block + name_at], entry.name.data(), entry.name.size());
        name_at += entry.name.size();
      }
      first = last;
    }
    inode.size = image_.size() - start;
    image_.resize(round_up(image_.size(), kBlock));
  }

  const toc::Toc& toc_;
  const std::vector<Source>& sources_;
  std::vector<uint8_t>& image_;
  std::string& why_not_;
  uint64_t meta_ = 0;
  std::vector<uint64_t> nids_;
  // Attribute set of the TOC -> its attributes in the shared area.
  std::map<uint32_t, std::vector<uint32_t>> sets_;
  std::vector<uint8_t> shared_;
};

}  // namespace

bool encode(const toc::Toc& toc, const std::vector<Source>& sources,
            const std::vector<uint64_t>& device_bytes, std::vector<uint8_t>& image, std::string& why_not) {
  return Encoder(toc, sources, image, why_not).encode(device_bytes);
}

}  // namespace lamina::erofs

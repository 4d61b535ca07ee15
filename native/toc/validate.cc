// Every record of a TOC, checked once when it is mapped (FORMAT.md, the sections): after this, no accessor
// can leave the mapping and no walk can loop. Linear in the size of the file; scratch memory is given back
// before serving starts.
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "toc/toc.h"
#include "toc/xxh64.h"

namespace lamina::toc {

class Validator {
 public:
  Validator(const Toc& toc, std::span<const uint64_t> source_lengths, Error& error)
      : toc_(toc), source_lengths_(source_lengths), error_(error) {}

  bool run() { return check_layers() && prepare() && check_inodes() && check_directories() && check_slots(); }

 private:
  // Where a dirent belongs: its directory, and the tag its slot must have.
  struct Place {
    uint32_t owner;
    uint32_t tag;
  };

  bool check_layers() {
    if (toc_.layer_count_ == 0 || toc_.layer_count_ > kMaxLayers)
      return fail("the TOC has no layers or too many");
    if (toc_.layer_count_ != source_lengths_.size()) {
      return error_.set(EINVAL, "the TOC has %u layers and %zu sources were given", toc_.layer_count_,
                        source_lengths_.size());
    }
    return true;
  }

  bool prepare() {
    if (toc_.inode_count_ == 0) return fail("the TOC has no root");
    if (!std::has_single_bit(toc_.slot_count_) ||
        toc_.slot_count_ < 2 * static_cast<uint64_t>(toc_.dirent_count_)) {
      return fail("the slot table has a wrong size");
    }
    if (toc_.xattrs_length_ < 8 || toc_.xattrs_length_ > UINT32_MAX || toc_.strings_length_ > UINT32_MAX) {
      return fail("the xattrs or strings section has a wrong size");
    }
    const size_t places = sizeof(Place) * (static_cast<size_t>(toc_.dirent_count_) + 1);
    places_memory_ = Mapping::scratch(places);
    // One byte an inode (reached), one bit for every four bytes of xattrs (set checked).
    reached_memory_ = Mapping::scratch(static_cast<size_t>(toc_.inode_count_) + 1);
    sets_memory_ = Mapping::scratch(toc_.xattrs_length_ / 32 + 1);
    if (!places_memory_.valid() || !reached_memory_.valid() || !sets_memory_.valid()) {
      return error_.set(ENOMEM, "no memory to check the TOC");
    }
    return true;
  }

  bool check_inodes() {
    for (uint32_t ino = 1; ino <= toc_.inode_count_; ++ino) {
      const Inode& inode = toc_.inode(ino);
      const uint32_t type = inode.mode & S_IFMT;
      if ((inode.mode & ~static_cast<uint32_t>(S_IFMT | 07777)) != 0) return bad_inode(ino, "mode");
      if (inode.nlink == 0) return bad_inode(ino, "link count");
      if (inode.mtime_nsec >= 1000000000) return bad_inode(ino, "time");
      if (inode.size >= kMaxOffset) return bad_inode(ino, "size");
      if (inode.layer != kNoSource && inode.layer >= toc_.layer_count_) return bad_inode(ino, "layer");
      if (type != S_IFDIR && inode.parent != 0) return bad_inode(ino, "parent");
      if (!check_xattrs(inode.xattrs)) return bad_inode(ino, "set of extended attributes");
      switch (type) {
        case S_IFDIR:
          if (!check_directory(ino, inode)) return false;
          break;
        case S_IFREG:
          if (!check_extents(inode)) return bad_inode(ino, "extent");
          break;
        case S_IFLNK:
          if (inode.first > toc_.strings_length_ || inode.count > toc_.strings_length_ - inode.first ||
              inode.size != inode.count) {
            return bad_inode(ino, "link text");
          }
          break;
        case S_IFCHR:
        case S_IFBLK:
        case S_IFIFO:
        case S_IFSOCK:
          if (inode.size != 0) return bad_inode(ino, "size");
          break;
        default:
          return bad_inode(ino, "type");
      }
    }
    if (!S_ISDIR(toc_.inode(kRootIno).mode)) return fail("the root is not a directory");
    if (owned_ != toc_.dirent_count_) return fail("a dirent belongs to no directory");
    return true;
  }

  // Ranges of dirents, each dirent in one directory; parents have smaller numbers (FORMAT.md, Order of
  // inodes), which rules out loops.
  bool check_directory(uint32_t ino, const Inode& dir) {
    if (dir.size != 0) return bad_inode(ino, "size");
    if (dir.first > toc_.dirent_count_ || dir.count > toc_.dirent_count_ - dir.first) {
      return bad_inode(ino, "range of dirents");
    }
    if (dir.parent == 0 || (ino == kRootIno ? dir.parent != kRootIno : dir.parent >= ino)) {
      return bad_inode(ino, "parent");
    }
    for (uint32_t index = dir.first; index < dir.first + dir.count; ++index) {
      if (place(index).owner != 0) return bad_inode(ino, "range of dirents");
      place(index).owner = ino;
    }
    owned_ += dir.count;
    return true;
  }

  bool check_extents(const Inode& file) {
    if (file.count == 0) return file.size == 0;
    if (file.first > toc_.extent_count_ || file.count > toc_.extent_count_ - file.first) return false;
    extents_seen_ += file.count;
    if (extents_seen_ > toc_.extent_count_) return false;
    uint64_t at = 0;
    for (const Extent& extent : toc_.extents(file)) {
      if (extent.offset != at || extent.length == 0 || extent.length > file.size - at) return false;
      at += extent.length;
      if (extent.source == kNoSource) continue;
      if (extent.source >= toc_.layer_count_) return false;
      const uint64_t limit = std::min(toc_.layers_[extent.source].size, source_lengths_[extent.source]);
      if (extent.source_offset > limit || extent.length > limit - extent.source_offset) return false;
    }
    return at == file.size;
  }

  // Sets are shared: each is walked once and remembered.
  bool check_xattrs(uint32_t offset) {
    if (offset == 0) return true;
    if (offset < 8 || offset % 4 != 0 || offset > toc_.xattrs_length_ - sizeof(XattrSet)) return false;
    uint8_t& seen = sets_memory_.data()[offset / 32];
    const auto bit = static_cast<uint8_t>(1u << (offset / 4 % 8));
    if ((seen & bit) != 0) return true;
    XattrSet set;
    memcpy(&set, toc_.xattrs_ + offset, sizeof set);
    if (set.count == 0 || set.length < sizeof set || set.length > toc_.xattrs_length_ - offset) return false;
    set_bytes_seen_ += set.length;
    if (set_bytes_seen_ > toc_.xattrs_length_) return false;
    const uint8_t* at = toc_.xattrs_ + offset + sizeof set;
    uint64_t left = set.length - sizeof set;
    std::string_view previous;
    for (uint32_t index = 0; index < set.count; ++index) {
      Xattr record;
      if (left < sizeof record) return false;
      memcpy(&record, at, sizeof record);
      left -= sizeof record;
      if (record.name_length == 0 || record.name_length > 255 || record.value_length > kMaxXattrValue ||
          static_cast<uint64_t>(record.name_length) + record.value_length > left) {
        return false;
      }
      const std::string_view name(reinterpret_cast<const char*>(at + sizeof record), record.name_length);
      if (name.find('\0') != std::string_view::npos || (index > 0 && name <= previous)) return false;
      previous = name;
      at += sizeof record + record.name_length + record.value_length;
      left -= record.name_length + record.value_length;
    }
    if (left != 0) return false;
    seen |= bit;
    return true;
  }

  bool check_directories() {
    std::string_view previous;
    for (uint32_t index = 0; index < toc_.dirent_count_; ++index) {
      const Dirent& entry = toc_.dirents_[index];
      const uint32_t owner = place(index).owner;
      if (!toc_.contains(entry.ino)) return bad_dirent(index, "inode");
      const Inode& inode = toc_.inode(entry.ino);
      if (entry.type != (inode.mode & S_IFMT) >> 12) return bad_dirent(index, "type");
      if (S_ISDIR(inode.mode)) {
        uint8_t& reached = reached_memory_.data()[entry.ino];
        if (entry.ino == kRootIno || inode.parent != owner || reached != 0)
          return bad_dirent(index, "directory");
        reached = 1;
      }
      if (entry.name_length == 0 || entry.name_length > 255 || entry.name_offset > toc_.strings_length_ ||
          entry.name_length > toc_.strings_length_ - entry.name_offset) {
        return bad_dirent(index, "name");
      }
      const std::string_view name = toc_.name(entry);
      if (memchr(name.data(), '/', name.size()) != nullptr ||
          memchr(name.data(), 0, name.size()) != nullptr || name == "." || name == "..") {
        return bad_dirent(index, "name");
      }
      if (index > 0 && place(index - 1).owner == owner && name <= previous) return bad_dirent(index, "order");
      previous = name;
      if (static_cast<uint32_t>(xxh64(name.data(), name.size())) != entry.name_hash) {
        return bad_dirent(index, "hash");
      }
      place(index).tag = table_hash(owner, entry.name_hash);
    }
    for (uint32_t ino = 2; ino <= toc_.inode_count_; ++ino) {
      if (S_ISDIR(toc_.inode(ino).mode) && reached_memory_.data()[ino] == 0) {
        return bad_inode(ino, "place: no name leads to it");
      }
    }
    return true;
  }

  // Each dirent is in the table once, and no free slot lies between where its probe starts and where it is.
  // Walking from behind a free slot makes every run of used slots whole, also the one that wraps round.
  bool check_slots() {
    const uint32_t mask = toc_.slot_count_ - 1;
    uint32_t start = 0;
    while (start < toc_.slot_count_ && toc_.slots_[start].dirent_plus_one != 0) ++start;
    if (start == toc_.slot_count_) return fail("the slot table is full");
    uint32_t run = 0;
    uint32_t used = 0;
    for (uint32_t step = 1; step <= toc_.slot_count_; ++step) {
      const uint32_t at = (start + step) & mask;
      const Slot& slot = toc_.slots_[at];
      if (slot.dirent_plus_one == 0) {
        run = 0;
        continue;
      }
      const Slot& later = toc_.slots_[(at + kPrefetch) & mask];
      if (later.dirent_plus_one - 1 < toc_.dirent_count_)
        __builtin_prefetch(&place(later.dirent_plus_one - 1));
      const uint32_t index = slot.dirent_plus_one - 1;
      if (index >= toc_.dirent_count_ || place(index).owner == kTaken) return fail("a slot leads nowhere");
      if (slot.tag != place(index).tag || ((at - slot.tag) & mask) > run)
        return fail("a slot is out of its place");
      place(index).owner = kTaken;
      ++run;
      ++used;
    }
    if (used != toc_.dirent_count_) return fail("a name is missing from the slot table");
    return true;
  }

  [[nodiscard]] Place& place(uint32_t index) const {
    return reinterpret_cast<Place*>(places_memory_.data())[index];
  }

  bool fail(const char* what) { return error_.set(EINVAL, "%s", what); }
  bool bad_inode(uint32_t ino, const char* what) {
    return error_.set(EINVAL, "inode %u has a wrong %s", ino, what);
  }
  bool bad_dirent(uint32_t index, const char* what) {
    return error_.set(EINVAL, "dirent %u has a wrong %s", index, what);
  }

  // Slots lead to dirents in no order: each is fetched this many slots ahead.
  static constexpr uint32_t kPrefetch = 16;

  // An ino is below this, so it can mark a dirent that was seen in the slot table.
  static constexpr uint32_t kTaken = UINT32_MAX;

  const Toc& toc_;
  std::span<const uint64_t> source_lengths_;
  Error& error_;
  Mapping places_memory_;
  Mapping reached_memory_;
  Mapping sets_memory_;
  uint64_t owned_ = 0;
  // Records may not be shared between inodes (but whole xattr sets may): this is also what keeps the check
  // linear.
  uint64_t extents_seen_ = 0;
  uint64_t set_bytes_seen_ = 0;
};

bool Toc::validate(std::span<const uint64_t> source_lengths, Error& error) const {
  return Validator(*this, source_lengths, error).run();
}

}  // namespace lamina::toc

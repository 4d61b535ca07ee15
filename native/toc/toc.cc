// Opening a TOC file and finding names in it. Nothing here trusts a byte before it was checked: lengths come
// from the section table, which must lie inside the file (FORMAT.md, "Reading it in ten steps").
#include "toc/toc.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "toc/xxh64.h"

namespace lamina::toc {

namespace {

struct Expected {
  SectionId id;
  uint32_t record_size;
  const char* name;
};

constexpr Expected kExpected[kSectionCount] = {
    {kInodes, sizeof(Inode), "inodes"}, {kDirents, sizeof(Dirent), "dirents"}, {kStrings, 0, "strings"},
    {kSlots, sizeof(Slot), "slots"},    {kExtents, sizeof(Extent), "extents"}, {kXattrs, 0, "xattrs"},
    {kLayers, sizeof(Layer), "layers"},
};

// A Section table holds few entries; the bound keeps header_size arithmetic small.
constexpr uint32_t kMaxSections = 64;

}  // namespace

bool Error::set(int code, const char* format, ...) {
  error = code;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return false;
}

bool Toc::open(int fd, Error& error) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return error.set(errno, "the TOC cannot be examined");
  if (!S_ISREG(status.st_mode)) return error.set(EINVAL, "the TOC is not a regular file");
  const auto size = static_cast<size_t>(status.st_size);
  if (size < sizeof(Header)) return error.set(EINVAL, "the TOC has %zu bytes, less than a header", size);
  mapping_ = Mapping::map(size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (!mapping_.valid()) return error.set(errno, "the TOC cannot be mapped");
  return attach(mapping_.data(), size, error);
}

bool Toc::attach(const uint8_t* data, size_t size, Error& error) {
  Header header;
  if (size < sizeof header) return error.set(EINVAL, "the TOC has %zu bytes, less than a header", size);
  memcpy(&header, data, sizeof header);
  if (memcmp(header.magic, kMagic, sizeof kMagic) != 0) return error.set(EINVAL, "not a TOC: wrong magic");
  if (header.version != kVersion) {
    return error.set(EPROTONOSUPPORT, "TOC version %u; this server reads version %u", header.version,
                     kVersion);
  }
  if ((header.features & ~kKnownFeatures) != 0) {
    return error.set(EPROTONOSUPPORT, "the TOC needs features this server does not know");
  }
  if (header.section_count < kSectionCount || header.section_count > kMaxSections ||
      header.header_size != sizeof(Header) + header.section_count * sizeof(Section) ||
      header.header_size > size) {
    return error.set(EINVAL, "the TOC's header has a wrong size");
  }
  if (header.file_size != size) return error.set(EINVAL, "the TOC is truncated or has bytes at its end");

  uint8_t copy[sizeof(Header) + kMaxSections * sizeof(Section)];
  memcpy(copy, data, header.header_size);
  memset(copy + offsetof(Header, checksum), 0, sizeof header.checksum);
  if (xxh64(copy, header.header_size) != header.checksum) {
    return error.set(EINVAL, "the checksum of the TOC's header is wrong");
  }
  checksum_ = header.checksum;
  if (header.kind != kKindMerged) return error.set(EINVAL, "only a merged TOC can be served");

  const uint8_t* sections[kSectionCount] = {};
  uint64_t lengths[kSectionCount] = {};
  uint32_t found = 0;
  for (uint32_t index = 0; index < header.section_count; ++index) {
    Section section;
    memcpy(&section, copy + sizeof(Header) + index * sizeof(Section), sizeof section);
    if (section.offset % 8 != 0 || section.offset > size || section.length > size - section.offset) {
      return error.set(EINVAL, "section %u lies outside the TOC", section.id);
    }
    if (xxh64(data + section.offset, section.length) != section.checksum) {
      return error.set(EINVAL, "the checksum of section %u is wrong", section.id);
    }
    if (section.id < kInodes || section.id > kLayers) continue;
    if (found == kSectionCount || section.id != kExpected[found].id) {
      return error.set(EINVAL, "the TOC's sections are repeated or out of order");
    }
    const Expected& expected = kExpected[found];
    if (section.record_size != expected.record_size ||
        (expected.record_size != 0 && section.length % expected.record_size != 0)) {
      return error.set(EINVAL, "the %s section is not a whole number of records", expected.name);
    }
    sections[found] = data + section.offset;
    lengths[found] = section.length;
    ++found;
  }
  if (found != kSectionCount) return error.set(EINVAL, "the TOC lacks a section");

  const auto records = [&](SectionId id) { return lengths[id - 1] / kExpected[id - 1].record_size; };
  for (const SectionId id : {kInodes, kDirents, kSlots, kExtents}) {
    if (records(id) >= UINT32_MAX)
      return error.set(EINVAL, "the %s section is too long", kExpected[id - 1].name);
  }
  if (records(kInodes) != header.inode_count || records(kDirents) != header.dirent_count) {
    return error.set(EINVAL, "the TOC's counts and sections differ");
  }
  inode_count_ = header.inode_count;
  dirent_count_ = header.dirent_count;
  slot_count_ = static_cast<uint32_t>(records(kSlots));
  extent_count_ = static_cast<uint32_t>(records(kExtents));
  layer_count_ = static_cast<uint32_t>(records(kLayers));
  strings_length_ = lengths[kStrings - 1];
  xattrs_length_ = lengths[kXattrs - 1];
  inodes_ = reinterpret_cast<const Inode*>(sections[kInodes - 1]);
  dirents_ = reinterpret_cast<const Dirent*>(sections[kDirents - 1]);
  strings_ = reinterpret_cast<const char*>(sections[kStrings - 1]);
  slots_ = reinterpret_cast<const Slot*>(sections[kSlots - 1]);
  extents_ = reinterpret_cast<const Extent*>(sections[kExtents - 1]);
  xattrs_ = sections[kXattrs - 1];
  layers_ = reinterpret_cast<const Layer*>(sections[kLayers - 1]);
  return true;
}

const Dirent* Toc::lookup(uint32_t parent, std::string_view name) const {
  const Inode& dir = inode(parent);
  const auto name_hash = static_cast<uint32_t>(xxh64(name.data(), name.size()));
  const uint32_t tag = table_hash(parent, name_hash);
  const uint32_t mask = slot_count_ - 1;
  for (uint32_t at = tag & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.dirent_plus_one == 0) return nullptr;
    if (slot.tag != tag) continue;
    const uint32_t index = slot.dirent_plus_one - 1;
    if (index - dir.first >= dir.count) continue;
    const Dirent& entry = dirents_[index];
    if (entry.name_length == name.size() &&
        memcmp(strings_ + entry.name_offset, name.data(), name.size()) == 0) {
      return &entry;
    }
  }
}

XattrCursor Toc::xattrs(const Inode& inode) const {
  if (inode.xattrs == 0) return {nullptr, 0};
  const auto* set = reinterpret_cast<const XattrSet*>(xattrs_ + inode.xattrs);
  return {xattrs_ + inode.xattrs + sizeof(XattrSet), set->count};
}

std::optional<XattrView> XattrCursor::next() {
  if (left_ == 0) return std::nullopt;
  --left_;
  Xattr record;
  memcpy(&record, at_, sizeof record);
  const auto* name = reinterpret_cast<const char*>(at_ + sizeof record);
  at_ += sizeof record + record.name_length + record.value_length;
  return XattrView{{name, record.name_length}, {name + record.name_length, record.value_length}};
}

}  // namespace lamina::toc

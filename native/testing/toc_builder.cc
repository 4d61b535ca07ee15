// Numbers inodes as FORMAT.md, "Order of inodes", says and lays the sections out one after the other.
#include "testing/toc_builder.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "toc/xxh64.h"

namespace lamina::testing {

namespace {

using Bytes = std::vector<uint8_t>;

template <typename T>
void append(Bytes& bytes, const T& record) {
  const auto* data = reinterpret_cast<const uint8_t*>(&record);
  bytes.insert(bytes.end(), data, data + sizeof record);
}

void append_text(Bytes& bytes, const std::string& text) {
  bytes.insert(bytes.end(), text.begin(), text.end());
}

void pad(Bytes& bytes, size_t to) {
  while (bytes.size() % to != 0) bytes.push_back(0);
}

class Encoder {
 public:
  Encoder(const std::vector<Node>& nodes, const std::vector<uint64_t>& layers)
      : nodes_(nodes), layers_(layers) {}

  Bytes run() {
    ino_of_[0] = 1;
    order_.push_back(0);
    inodes_.resize(nodes_.size());
    inodes_[0].parent = 1;
    inodes_[0].nlink = 2;
    xattrs_.resize(8);
    number(0);
    for (const size_t node : order_) describe(node);
    make_slots();
    return assemble();
  }

 private:
  void number(size_t dir) {
    const uint32_t ino = ino_of_[dir];
    toc::Inode& record = inodes_[ino - 1];
    record.first = static_cast<uint32_t>(dirents_.size());
    record.count = static_cast<uint32_t>(nodes_[dir].children.size());
    for (const auto& [name, child] : nodes_[dir].children) {
      if (!ino_of_.contains(child)) {
        order_.push_back(child);
        const auto fresh = static_cast<uint32_t>(order_.size());
        ino_of_[child] = fresh;
        const bool is_dir = S_ISDIR(nodes_[child].mode);
        inodes_[fresh - 1].parent = is_dir ? ino : 0;
        inodes_[fresh - 1].nlink = is_dir ? 2 : 1;
        if (is_dir) ++record.nlink;
      } else {
        ++inodes_[ino_of_[child] - 1].nlink;
      }
      dirents_.push_back({.ino = ino_of_[child],
                          .name_offset = static_cast<uint32_t>(strings_.size()),
                          .name_length = static_cast<uint16_t>(name.size()),
                          .type = static_cast<uint8_t>((nodes_[child].mode & S_IFMT) >> 12),
                          .reserved = 0,
                          .name_hash = static_cast<uint32_t>(xxh64(name.data(), name.size()))});
      parents_.push_back(ino);
      append_text(strings_, name);
    }
    for (const auto& [name, child] : nodes_[dir].children) {
      if (S_ISDIR(nodes_[child].mode)) number(child);
    }
  }

  void describe(size_t index) {
    const Node& node = nodes_[index];
    toc::Inode& record = inodes_[ino_of_[index] - 1];
    record.mode = node.mode;
    record.uid = node.uid;
    record.gid = node.gid;
    record.mtime_sec = node.mtime_sec;
    record.mtime_nsec = node.mtime_nsec;
    record.rdev_major = node.rdev_major;
    record.rdev_minor = node.rdev_minor;
    if (S_ISLNK(node.mode)) {
      record.first = static_cast<uint32_t>(strings_.size());
      record.count = static_cast<uint32_t>(node.target.size());
      record.size = node.target.size();
      append_text(strings_, node.target);
    }
    if (!node.extents.empty()) {
      record.first = static_cast<uint32_t>(extents_.size() / sizeof(toc::Extent));
      record.count = static_cast<uint32_t>(node.extents.size());
      for (toc::Extent extent : node.extents) {
        extent.offset = record.size;
        record.size += extent.length;
        append(extents_, extent);
      }
    }
    if (node.xattrs.empty()) return;
    record.xattrs = static_cast<uint32_t>(xattrs_.size());
    uint32_t length = 8;
    for (const auto& [name, value] : node.xattrs)
      length += static_cast<uint32_t>(8 + name.size() + value.size());
    append(xattrs_, toc::XattrSet{static_cast<uint32_t>(node.xattrs.size()), length});
    for (const auto& [name, value] : node.xattrs) {
      append(xattrs_, toc::Xattr{static_cast<uint16_t>(name.size()), 0, static_cast<uint32_t>(value.size())});
      append_text(xattrs_, name);
      append_text(xattrs_, value);
    }
    pad(xattrs_, 4);
  }

  void make_slots() {
    size_t count = 2;
    while (count < 2 * dirents_.size()) count *= 2;
    slots_.resize(count);
    for (size_t index = 0; index < dirents_.size(); ++index) {
      const uint32_t tag = toc::table_hash(parents_[index], dirents_[index].name_hash);
      size_t at = tag & (count - 1);
      while (slots_[at].dirent_plus_one != 0) at = (at + 1) & (count - 1);
      slots_[at] = {tag, static_cast<uint32_t>(index + 1)};
    }
  }

  Bytes assemble() {
    std::vector<Bytes> sections(toc::kSectionCount);
    for (const toc::Inode& inode : inodes_) append(sections[0], inode);
    for (const toc::Dirent& entry : dirents_) append(sections[1], entry);
    sections[2] = strings_;
    for (const toc::Slot& slot : slots_) append(sections[3], slot);
    sections[4] = extents_;
    sections[5] = xattrs_;
    for (const uint64_t size : layers_) append(sections[6], toc::Layer{1, 32, {}, size});
    constexpr uint32_t kRecordSizes[] = {72, 16, 0, 8, 32, 0, 80};

    toc::Header header{};
    memcpy(header.magic, toc::kMagic, sizeof header.magic);
    header.version = toc::kVersion;
    header.section_count = toc::kSectionCount;
    header.header_size = sizeof(toc::Header) + toc::kSectionCount * sizeof(toc::Section);
    header.kind = toc::kKindMerged;
    header.inode_count = static_cast<uint32_t>(inodes_.size());
    header.dirent_count = static_cast<uint32_t>(dirents_.size());
    Bytes body;
    Bytes table;
    for (uint32_t index = 0; index < toc::kSectionCount; ++index) {
      pad(body, 8);
      append(table, toc::Section{index + 1, kRecordSizes[index], header.header_size + body.size(),
                                 sections[index].size(), 0});
      body.insert(body.end(), sections[index].begin(), sections[index].end());
    }
    header.file_size = header.header_size + body.size();
    Bytes file;
    append(file, header);
    file.insert(file.end(), table.begin(), table.end());
    file.insert(file.end(), body.begin(), body.end());
    fix_checksums(file);
    return file;
  }

  const std::vector<Node>& nodes_;
  const std::vector<uint64_t>& layers_;
  std::map<size_t, uint32_t> ino_of_;
  std::vector<size_t> order_;
  std::vector<toc::Inode> inodes_;
  std::vector<toc::Dirent> dirents_;
  std::vector<uint32_t> parents_;
  std::vector<toc::Slot> slots_;
  Bytes strings_;
  Bytes extents_;
  Bytes xattrs_;
};

}  // namespace

TocBuilder::TocBuilder() { nodes_.push_back({.mode = 0040755}); }

size_t TocBuilder::add(size_t parent, const std::string& name, Node node) {
  nodes_.push_back(std::move(node));
  link(parent, name, nodes_.size() - 1);
  return nodes_.size() - 1;
}

void TocBuilder::link(size_t parent, const std::string& name, size_t node) {
  nodes_[parent].children[name] = node;
}

std::vector<uint8_t> TocBuilder::build() const { return Encoder(nodes_, layers).run(); }

void fix_checksums(std::vector<uint8_t>& bytes) {
  toc::Header header;
  if (bytes.size() < sizeof header) return;
  memcpy(&header, bytes.data(), sizeof header);
  uint64_t table_end = sizeof header;
  for (uint32_t index = 0; index < header.section_count && table_end + sizeof(toc::Section) <= bytes.size();
       ++index) {
    toc::Section section;
    memcpy(&section, bytes.data() + table_end, sizeof section);
    if (section.offset <= bytes.size() && section.length <= bytes.size() - section.offset) {
      section.checksum = xxh64(bytes.data() + section.offset, section.length);
      memcpy(bytes.data() + table_end, &section, sizeof section);
    }
    table_end += sizeof section;
  }
  header.checksum = 0;
  memcpy(bytes.data(), &header, sizeof header);
  if (header.header_size > bytes.size()) return;
  header.checksum = xxh64(bytes.data(), header.header_size);
  memcpy(bytes.data(), &header, sizeof header);
}

TocBuilder sample_tree() {
  TocBuilder tree;
  tree.layers = {kSourceSize};
  const toc::Extent hole{0, 5000, 0, toc::kNoSource, 0};
  const size_t etc = tree.add(0, "etc", {.mode = 0040755, .mtime_sec = -2, .mtime_nsec = 500000000});
  const size_t deep = tree.add(etc, "deep", {.mode = 0041777});
  tree.add(deep, std::string(255, 'n'), {.mode = 0100600, .extents = {{0, 1, 0, 0, 0}}});
  const size_t hosts = tree.add(etc, "hosts", {.uid = 1000, .gid = 5, .extents = {{0, 700, 512, 0, 0}}});
  tree.link(0, "hosts-again", hosts);
  tree.add(0, "sparse", {.extents = {hole, {0, 3000, 2048, 0, 0}, hole, {0, 100, 19900, 0, 0}}});
  tree.add(0, "empty", {});
  tree.add(0, "link", {.mode = 0120777, .target = "etc/hosts"});
  tree.add(0, "null", {.mode = 0020666, .rdev_major = 1, .rdev_minor = 300});
  tree.add(0, "disk", {.mode = 0060660, .rdev_major = 259, .rdev_minor = 70000});
  tree.add(0, "fifo", {.mode = 0010644});
  tree.add(0, "socket", {.mode = 0140755});
  tree.add(0, "caps",
           {.mode = 0100755,
            .extents = {{0, 10, 0, 0, 0}},
            .xattrs = {{"security.capability", std::string("\1\0\0\2", 4)},
                       {"user.empty", ""},
                       {"user.long", std::string(4000, 'v')}}});
  const size_t many = tree.add(0, "many", {.mode = 0040755});
  for (int index = 0; index < 30; ++index) tree.add(many, "file-" + std::to_string(index), {});
  return tree;
}

int make_source() {
  const int fd = memfd_create("source", MFD_CLOEXEC);
  std::vector<uint8_t> bytes(kSourceSize);
  for (uint64_t at = 0; at < kSourceSize; ++at) bytes[at] = source_byte(at);
  if (fd < 0 || write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) return -1;
  return fd;
}

}  // namespace lamina::testing

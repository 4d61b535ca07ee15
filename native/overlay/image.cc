// Answers about names, attributes and bytes of a read-only image. Every answer is given to the kernel for
// ever, because an image cannot change: entries, attributes, and that a name is not there.
#include "overlay/image.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "fuse/dirent_writer.h"

namespace lamina::overlay {

namespace {

using fuse::Reply;
using toc::Inode;

// Seconds; the kernel caps what it cannot hold (fs/fuse/dir.c, fuse_time_to_jiffies).
constexpr uint64_t kForever = UINT32_MAX;
constexpr uint32_t kBlockSize = 4096;
constexpr uint32_t kNameMax = 255;
// Cookies: 1 and 2 follow `.` and `..`, position + 3 follows the directory's entry at that position.
constexpr uint64_t kFirstEntryCookie = 2;

// Linux's 32-bit device number (include/linux/kdev_t.h, new_encode_dev).
uint32_t encode_device(uint32_t major, uint32_t minor) {
  return (minor & 0xFF) | (major << 8) | ((minor & ~0xFFu) << 12);
}

}  // namespace

Image::Image(const toc::Toc& toc, std::vector<Source> sources, std::unique_ptr<Arrivals> arrivals)
    : toc_(toc), sources_(std::move(sources)), arrivals_(std::move(arrivals)) {
  for (const toc::Layer& layer : toc_.layers()) total_blocks_ += (layer.size + kBlockSize - 1) / kBlockSize;
}

fuse::Attr Image::attributes(uint32_t ino) const {
  const Inode& inode = toc_.inode(ino);
  const auto seconds = static_cast<uint64_t>(inode.mtime_sec);
  fuse::Attr attr{};
  attr.ino = ino;
  attr.size = inode.size;
  attr.atime = attr.mtime = attr.ctime = seconds;
  attr.atimensec = attr.mtimensec = attr.ctimensec = inode.mtime_nsec;
  attr.mode = inode.mode;
  attr.nlink = inode.nlink;
  attr.uid = inode.uid;
  attr.gid = inode.gid;
  attr.blksize = kBlockSize;
  if (S_ISREG(inode.mode)) {
    uint64_t data = 0;
    for (const toc::Extent& extent : toc_.extents(inode)) {
      if (extent.source != toc::kNoSource) data += extent.length;
    }
    attr.blocks = (data + 511) / 512;
  } else if (S_ISCHR(inode.mode) || S_ISBLK(inode.mode)) {
    attr.rdev = encode_device(inode.rdev_major, inode.rdev_minor);
  }
  return attr;
}

fuse::EntryOut Image::entry(uint32_t ino) const {
  return {.nodeid = ino,
          .generation = 0,
          .entry_valid = kForever,
          .attr_valid = kForever,
          .entry_valid_nsec = 0,
          .attr_valid_nsec = 0,
          .attr = attributes(ino)};
}

int Image::lookup(uint64_t parent, std::string_view name, Reply& reply) {
  if (!toc_.contains(parent)) return ESTALE;
  const auto ino = static_cast<uint32_t>(parent);
  const Inode& dir = toc_.inode(ino);
  // The kernel looks up `.` (of any node) and `..` when a file handle is opened (EXPORT_SUPPORT).
  if (name == ".") return reply.put(entry(ino)) ? 0 : EIO;
  if (!S_ISDIR(dir.mode)) return ENOTDIR;
  if (name == "..") return reply.put(entry(dir.parent)) ? 0 : EIO;
  // The kernel asks for names of up to FUSE_NAME_MAX (1024) bytes.
  if (name.size() > kNameMax) return ENAMETOOLONG;
  const toc::Dirent* found = toc_.lookup(ino, name);
  if (found != nullptr) return reply.put(entry(found->ino)) ? 0 : EIO;
  // Node 0 with a validity is a negative entry that the kernel keeps; ENOENT would be asked again.
  return reply.put(fuse::EntryOut{.entry_valid = kForever}) ? 0 : EIO;
}

int Image::getattr(uint64_t node, Reply& reply) {
  if (!toc_.contains(node)) return ESTALE;
  const fuse::AttrOut out{.attr_valid = kForever, .attr = attributes(static_cast<uint32_t>(node))};
  return reply.put(out) ? 0 : EIO;
}

int Image::readlink(uint64_t node, Reply& reply) {
  if (!toc_.contains(node)) return ESTALE;
  const Inode& inode = toc_.inode(node);
  if (!S_ISLNK(inode.mode)) return EINVAL;
  // The kernel's buffer is one page and it adds a zero (fs/fuse/dir.c, fuse_readlink_folio).
  if (inode.count >= kBlockSize) return ENAMETOOLONG;
  return reply.put_text(toc_.text(inode)) ? 0 : EIO;
}

bool Image::may_block(const fuse::Request& request) {
  if (arrivals_ == nullptr || request.opcode != fuse::kRead) return false;
  const auto in = request.as<fuse::ReadIn>();
  return in && !has(request.nodeid, in->offset, in->size);
}

bool Image::has(uint64_t node, uint64_t offset, uint64_t size) const {
  if (arrivals_ == nullptr || !toc_.contains(node) || !S_ISREG(toc_.inode(node).mode)) return true;
  const Inode& inode = toc_.inode(node);
  if (offset >= inode.size) return true;
  const uint64_t end = offset + std::min(size, inode.size - offset);
  for (const toc::Extent& extent : toc_.extents(inode)) {
    if (extent.offset >= end) break;
    if (extent.source == toc::kNoSource || extent.offset + extent.length <= offset) continue;
    const uint64_t from = std::max(offset, extent.offset);
    const uint64_t to = std::min(end, extent.offset + extent.length);
    if (!arrivals_->has(extent.source, extent.source_offset + (from - extent.offset), to - from))
      return false;
  }
  return true;
}

int Image::await(const toc::Extent& extent, uint64_t skip, uint64_t size) {
  return arrivals_ == nullptr ? 0 : arrivals_->await(extent.source, extent.source_offset + skip, size);
}

int Image::read_source(const toc::Extent& extent, uint64_t skip, uint64_t size, uint8_t* to) {
  if (const int error = await(extent, skip, size); error != 0) return error;
  const Source& source = sources_[extent.source];
  auto at = static_cast<off_t>(source.offset + extent.source_offset + skip);
  while (size > 0) {
    const ssize_t got = pread(source.fd, to, size, at);
    if (got > 0) {
      to += got;
      at += got;
      size -= static_cast<uint64_t>(got);
    } else if (got == 0 || errno != EINTR) {
      if (read_error_logged_.first()) {
        log_line("layer %u cannot be read at byte %lld: %s; answering EIO", extent.source,
                 static_cast<long long>(at), got == 0 ? "the file is shorter than it was" : strerror(errno));
      }
      return EIO;
    }
  }
  return 0;
}

int Image::read(uint64_t node, uint64_t offset, uint32_t size, Reply& reply) {
  if (!toc_.contains(node)) return ESTALE;
  const Inode& inode = toc_.inode(node);
  if (!S_ISREG(inode.mode)) return S_ISDIR(inode.mode) ? EISDIR : EINVAL;
  if (offset >= inode.size) return 0;
  uint64_t left = std::min<uint64_t>({size, inode.size - offset, reply.room()});

  const auto extents = toc_.extents(inode);
  auto extent = std::upper_bound(extents.begin(), extents.end(), offset,
                                 [](uint64_t at, const toc::Extent& e) { return at < e.offset; }) -
                1;
  for (; left > 0; ++extent) {
    const uint64_t skip = offset - extent->offset;
    const uint64_t part = std::min(left, extent->length - skip);
    if (extent->source == toc::kNoSource) {
      memset(reply.end(), 0, part);
    } else if (const int error = read_source(*extent, skip, part, reply.end()); error != 0) {
      return error;
    }
    reply.claim(part);
    offset += part;
    left -= part;
  }
  return 0;
}

int Image::copy_to(uint32_t ino, int fd, uint64_t size) {
  constexpr uint64_t kPiece = 1 << 20;
  const Inode& inode = toc_.inode(ino);
  std::unique_ptr<uint8_t[]> buffer;
  for (const toc::Extent& extent : toc_.extents(inode)) {
    if (extent.offset >= size) break;
    if (extent.source == toc::kNoSource) continue;
    const uint64_t length = std::min(extent.length, size - extent.offset);
    if (const int error = await(extent, 0, length); error != 0) return error;
    uint64_t done = 0;
    const Source& source = sources_[extent.source];
    while (done < length) {
      auto from = static_cast<off_t>(source.offset + extent.source_offset + done);
      auto to = static_cast<off_t>(extent.offset + done);
      // In the kernel where the filesystems allow it (copy_file_range(2)).
      ssize_t copied =
          buffer == nullptr ? ::copy_file_range(source.fd, &from, fd, &to, length - done, 0) : -1;
      if (copied <= 0) {
        if (buffer == nullptr && copied < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
          return errno;
        }
        if (buffer == nullptr) buffer = std::make_unique<uint8_t[]>(kPiece);
        const uint64_t piece = std::min(kPiece, length - done);
        if (const int error = read_source(extent, done, piece, buffer.get()); error != 0) return error;
        copied = pwrite(fd, buffer.get(), piece, static_cast<off_t>(extent.offset + done));
        if (copied < 0 && errno == EINTR) continue;
        if (copied < 0) return errno;
      }
      done += static_cast<uint64_t>(copied);
    }
  }
  return ftruncate(fd, static_cast<off_t>(std::min(size, inode.size))) == 0 ? 0 : errno;
}

int Image::readdir(uint64_t node, uint64_t offset, uint32_t size, bool plus, Reply& reply) {
  if (!toc_.contains(node)) return ESTALE;
  const auto ino = static_cast<uint32_t>(node);
  const Inode& dir = toc_.inode(ino);
  if (!S_ISDIR(dir.mode)) return ENOTDIR;
  const auto entries = toc_.entries(dir);
  fuse::DirentWriter writer(reply, size, plus);
  // Node 0 tells the kernel not to look at the rest; it ignores the rest of `.` and `..` in any case.
  const auto put = [&](uint32_t child, uint64_t next, uint32_t type, std::string_view name, bool known) {
    if (!writer.fits(name)) return false;
    writer.put(name, child, next, type, plus && known ? entry(child) : fuse::EntryOut{});
    return true;
  };

  bool more = true;
  if (offset == 0) more = put(ino, 1, S_IFDIR >> 12, ".", false);
  if (more && offset <= 1) more = put(dir.parent, 2, S_IFDIR >> 12, "..", false);
  for (uint64_t index = std::max(offset, kFirstEntryCookie) - kFirstEntryCookie;
       more && index < entries.size(); ++index) {
    const toc::Dirent& child = entries[index];
    more = put(child.ino, index + kFirstEntryCookie + 1, child.type, toc_.name(child), true);
  }
  return 0;
}

int Image::statfs(Reply& reply) {
  const fuse::Kstatfs out{.blocks = total_blocks_,
                          .files = toc_.inode_count(),
                          .bsize = kBlockSize,
                          .namelen = kNameMax,
                          .frsize = kBlockSize};
  return reply.put(out) ? 0 : EIO;
}

int Image::getxattr(uint64_t node, std::string_view name, uint32_t size, Reply& reply) {
  if (!toc_.has_xattrs()) return ENOSYS;
  if (!toc_.contains(node)) return ESTALE;
  toc::XattrCursor cursor = toc_.xattrs(toc_.inode(node));
  while (const auto attribute = cursor.next()) {
    if (attribute->name != name) continue;
    if (size == 0) {
      const fuse::GetxattrOut out{static_cast<uint32_t>(attribute->value.size()), 0};
      return reply.put(out) ? 0 : EIO;
    }
    if (attribute->value.size() > size) return ERANGE;
    return reply.put_text(attribute->value) ? 0 : EIO;
  }
  return ENODATA;
}

int Image::listxattr(uint64_t node, uint32_t size, const fuse::Caller& caller, Reply& reply) {
  if (!toc_.has_xattrs()) return ENOSYS;
  if (!toc_.contains(node)) return ESTALE;
  size_t length = 0;
  toc::XattrCursor names = toc_.xattrs(toc_.inode(node));
  while (const auto attribute = names.next()) {
    if (caller.lists(attribute->name)) length += attribute->name.size() + 1;
  }
  if (size == 0) {
    const fuse::GetxattrOut out{static_cast<uint32_t>(length), 0};
    return reply.put(out) ? 0 : EIO;
  }
  if (length > size) return ERANGE;
  toc::XattrCursor cursor = toc_.xattrs(toc_.inode(node));
  while (const auto attribute = cursor.next()) {
    if (!caller.lists(attribute->name)) continue;
    if (!reply.put_text(attribute->name) || !reply.put('\0')) return EIO;
  }
  return 0;
}

int Image::lseek(uint64_t node, uint64_t offset, uint32_t whence, Reply& reply) {
  if (!toc_.contains(node)) return ESTALE;
  const Inode& inode = toc_.inode(node);
  if (!S_ISREG(inode.mode) || (whence != SEEK_DATA && whence != SEEK_HOLE)) return EINVAL;
  if (offset >= inode.size) return ENXIO;
  const bool want_hole = whence == SEEK_HOLE;
  for (const toc::Extent& extent : toc_.extents(inode)) {
    if (extent.offset + extent.length <= offset) continue;
    if ((extent.source == toc::kNoSource) == want_hole) {
      return reply.put(fuse::LseekOut{std::max(offset, extent.offset)}) ? 0 : EIO;
    }
  }
  // The end of a file counts as a hole (lseek(2)).
  if (!want_hole) return ENXIO;
  return reply.put(fuse::LseekOut{inode.size}) ? 0 : EIO;
}

}  // namespace lamina::overlay

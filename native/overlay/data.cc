// The content of files: READ, WRITE, LSEEK, FALLOCATE, COPY_FILE_RANGE, FSYNC. The kernel names files by
// node, not by an open handle; descriptors are kept for a while after they were used.
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "overlay/union.h"
#include "sys/at.h"

namespace lamina::overlay {

namespace {

// To copy more than this at once takes longer than to hand the request to a helper.
constexpr off_t kLarge = 1 << 20;

}  // namespace

int Union::open_lower(const Lower& lower, FileRef& file) {
  const LayerPath& top = lower.layers->front();
  const int layer = options_.lower_fds[top.layer];
  int fd = at::open_beneath(layer, top.path.c_str(), O_RDONLY | O_NOATIME | O_NONBLOCK);
  // Only the owner may leave the access time alone.
  if (fd == -EPERM) fd = at::open_beneath(layer, top.path.c_str(), O_RDONLY | O_NONBLOCK);
  if (fd < 0) return -fd;
  file = std::make_shared<OpenFile>(OpenFile{UniqueFd(fd), false});
  return 0;
}

// The descriptor that a node's data is read from or written to; not for data that lies in the TOC's sources.
int Union::data_file(uint64_t node, bool writable, FileRef& file) {
  file = files_->get(node);
  if (file != nullptr && (file->writable || !writable)) return 0;
  NodeRecord* record = table_.find(node);
  if (record == nullptr) return ESTALE;
  if (!record->has(kUpper) || record->has(kMetacopy)) {
    if (writable) return EROFS;
    if (const int error = open_lower(lower_of(node), file); error != 0) return error;
    files_->put(node, file);
    return 0;
  }
  for (int tries = 0; tries < kMaxMoves; ++tries) {
    At at;
    if (const int error = locate(*record, at); error != 0) return error;
    int fd = at::open(at.fd(), at.c_str(), O_RDWR | O_NOATIME | O_NONBLOCK);
    // Only the owner may leave the access time alone.
    if (fd == -EPERM) fd = at::open(at.fd(), at.c_str(), O_RDWR | O_NONBLOCK);
    const bool can_write = fd >= 0;
    if (fd == -EISDIR) return EISDIR;
    if (fd < 0 && fd != -ENOENT && !writable) fd = at::open(at.fd(), at.c_str(), O_RDONLY | O_NONBLOCK);
    if (fd < 0 && fd != -ENOENT) return -fd;
    if (fd >= 0) {
      auto opened = std::make_shared<OpenFile>(OpenFile{UniqueFd(fd), can_write});
      struct stat status {};
      if (fstat(fd, &status) != 0) return errno;
      // A rename may be under way; then the name leads to another file.
      if (status.st_ino == record->object.load(std::memory_order_acquire)) {
        if (!S_ISREG(status.st_mode)) return EINVAL;
        files_->put(node, opened);
        file = std::move(opened);
        return 0;
      }
    }
    sched_yield();
  }
  return ESTALE;
}

int Union::read(uint64_t node, uint64_t offset, uint32_t size, fuse::Reply& reply) {
  NodeRecord* record = table_.find(node);
  if (record == nullptr || !record->has(kUpper) || record->has(kMetacopy)) {
    const Lower lower = lower_of(node);
    if (!lower.has_layers()) {
      if (image_ == nullptr || lower.toc == 0) return ESTALE;
      return image_->read(lower.toc, offset, size, reply);
    }
  }
  FileRef file;
  if (const int error = data_file(node, false, file); error != 0) return error;
  uint64_t left = std::min<uint64_t>(size, reply.room());
  auto at = static_cast<off_t>(offset);
  while (left > 0) {
    const ssize_t got = pread(file->get(), reply.end(), left, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) break;
    reply.claim(static_cast<size_t>(got));
    at += got;
    left -= static_cast<uint64_t>(got);
  }
  return 0;
}

// What waits for a disk, or copies much.
bool Union::may_block(const fuse::Request& request) {
  switch (request.opcode) {
    case fuse::kRead: {
      // Of the image, what has not come yet.
      const auto in = request.as<fuse::ReadIn>();
      return image_ != nullptr && image_->is_lazy() && in &&
             !image_->has(toc_data_of(request.nodeid), in->offset, in->size);
    }
    case fuse::kFsync:
    case fuse::kFsyncdir:
    case fuse::kFallocate:
      return true;
    case fuse::kCopyFileRange: {
      // The kernel asks for no more than the source has.
      const auto in = request.as<fuse::CopyFileRangeIn>();
      return !in || in->len > kLarge || is_large_below(in->nodeid_out);
    }
    case fuse::kOpen:
    case fuse::kWrite:
    case fuse::kSetattr: {
      // The first write to a large lower file.
      const auto open = request.as<fuse::OpenIn>();
      if (request.opcode == fuse::kOpen && open && (open->flags & O_ACCMODE) == O_RDONLY) return false;
      // A change of attributes alone copies no data.
      const auto attributes = request.as<fuse::SetattrIn>();
      if (request.opcode == fuse::kSetattr && attributes && (attributes->valid & fuse::kFattrSize) == 0) {
        return false;
      }
      return is_large_below(request.nodeid);
    }
    default:
      return false;
  }
}

// The inode of the TOC whose data a node shows, or 0.
uint64_t Union::toc_data_of(uint64_t node) {
  const NodeRecord* record = table_.find(node);
  if (record != nullptr && record->has(kUpper) && !record->has(kMetacopy)) return 0;
  const Lower lower = lower_of(node);
  return lower.has_layers() ? 0 : lower.toc;
}

// Whether data that is large, or has not come yet, would have to be copied up before it is changed.
bool Union::is_large_below(uint64_t node) {
  if (image_ != nullptr && image_->is_lazy() && !image_->has(toc_data_of(node), 0, UINT64_MAX)) return true;
  const NodeRecord* record = table_.find(node);
  if (record != nullptr && record->has(kUpper) && !record->has(kMetacopy)) return false;
  struct stat status {};
  return lower_status(lower_of(node), status) == 0 && S_ISREG(status.st_mode) && status.st_size > kLarge;
}

// Setuid and setgid go when somebody writes who may not keep them (kernel: fs/inode.c, should_remove_suid).
int Union::strip_privileges(NodeRecord& record) {
  return with_object(record, [&](const At& at, const struct stat& status) {
    mode_t mode = status.st_mode & ~static_cast<mode_t>(S_ISUID);
    if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) mode &= ~static_cast<mode_t>(S_ISGID);
    if (mode == status.st_mode) return 0;
    const int error = upper_.chmod(at.fd(), at.c_str(), mode);
    // The kernel goes by the mode that it knows when it runs the file.
    if (error == 0) notify_attributes(record.node);
    return error;
  });
}

int Union::write(uint64_t node, const fuse::WriteIn& in, std::span<const uint8_t> data, fuse::Reply& reply) {
  if (!has_upper_) return EROFS;
  if (const int error = copy_up(node, Copy::kData); error != 0) return error;
  FileRef file;
  if (const int error = data_file(node, true, file); error != 0) return error;
  if ((in.write_flags & fuse::kWriteKillSuidgid) != 0) {
    NodeRecord* record = table_.find(node);
    if (record == nullptr) return ESTALE;
    if (const int error = strip_privileges(*record); error != 0) return error;
  }
  size_t done = 0;
  while (done < data.size()) {
    const ssize_t written =
        pwrite(file->get(), data.data() + done, data.size() - done, static_cast<off_t>(in.offset + done));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && done == 0) return errno;
    if (written <= 0) break;
    done += static_cast<size_t>(written);
  }
  return reply.put(fuse::WriteOut{static_cast<uint32_t>(done), 0}) ? 0 : EIO;
}

int Union::lseek(uint64_t node, uint64_t offset, uint32_t whence, fuse::Reply& reply) {
  NodeRecord* record = table_.find(node);
  if (record == nullptr || !record->has(kUpper) || record->has(kMetacopy)) {
    const Lower lower = lower_of(node);
    if (!lower.has_layers())
      return image_ != nullptr ? image_->lseek(lower.toc, offset, whence, reply) : ESTALE;
  }
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return EINVAL;
  FileRef file;
  if (const int error = data_file(node, false, file); error != 0) return error;
  const off_t at = ::lseek(file->get(), static_cast<off_t>(offset), static_cast<int>(whence));
  if (at < 0) return errno;
  return reply.put(fuse::LseekOut{static_cast<uint64_t>(at)}) ? 0 : EIO;
}

// For requests that do not say whether the caller may keep them; only root can be taken to have CAP_FSETID.
int Union::strip_privileges_for(const fuse::Caller& caller, uint64_t node) {
  NodeRecord* record = table_.find(node);
  return caller.uid == 0 || record == nullptr ? 0 : strip_privileges(*record);
}

int Union::fallocate(uint64_t node, const fuse::FallocateIn& in, const fuse::Caller& caller) {
  if (!has_upper_) return EROFS;
  if (const int error = copy_up(node, Copy::kData); error != 0) return error;
  FileRef file;
  if (const int error = data_file(node, true, file); error != 0) return error;
  if (const int error = strip_privileges_for(caller, node); error != 0) return error;
  return ::fallocate(file->get(), static_cast<int>(in.mode), static_cast<off_t>(in.offset),
                     static_cast<off_t>(in.length)) == 0
             ? 0
             : errno;
}

int Union::copy_file_range(uint64_t node, const fuse::CopyFileRangeIn& in, const fuse::Caller& caller,
                           fuse::Reply& reply) {
  if (!has_upper_) return EROFS;
  NodeRecord* source = table_.find(node);
  const bool in_toc =
      (source == nullptr || !source->has(kUpper) || source->has(kMetacopy)) && !lower_of(node).has_layers();
  // The kernel copies by reading and writing then.
  if (in_toc) return EOPNOTSUPP;
  if (const int error = copy_up(in.nodeid_out, Copy::kData); error != 0) return error;
  FileRef from;
  FileRef to;
  if (const int error = data_file(node, false, from); error != 0) return error;
  if (const int error = data_file(in.nodeid_out, true, to); error != 0) return error;
  if (const int error = strip_privileges_for(caller, in.nodeid_out); error != 0) return error;
  auto off_in = static_cast<off_t>(in.off_in);
  auto off_out = static_cast<off_t>(in.off_out);
  // The reply's size has 32 bits.
  const uint64_t length = std::min<uint64_t>(in.len, 0x7FFFF000);
  const ssize_t copied = ::copy_file_range(from->get(), &off_in, to->get(), &off_out, length, 0);
  if (copied < 0) return errno == EXDEV ? EOPNOTSUPP : errno;
  return reply.put(fuse::WriteOut{static_cast<uint32_t>(copied), 0}) ? 0 : EIO;
}

int Union::fsync(uint64_t node, bool data_only, bool directory) {
  NodeRecord* record = table_.find(node);
  if (!has_upper_ || record == nullptr || !record->has(kUpper) || record->has(kRemoved)) return 0;
  if (!upper_.must_sync()) return 0;
  if (!directory && !record->has(kMetacopy)) {
    FileRef file;
    if (const int error = data_file(node, false, file); error != 0) return error;
    return upper_.sync(file->get(), data_only);
  }
  return with_object(*record, [&](const At& at, const struct stat&) {
    const int fd = at::open(at.fd(), at.c_str(), O_RDONLY | O_NONBLOCK);
    if (fd < 0) return -fd;
    const UniqueFd file(fd);
    return upper_.sync(fd, data_only);
  });
}

}  // namespace lamina::overlay

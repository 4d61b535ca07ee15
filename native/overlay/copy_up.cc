// Bringing an object of a lower layer into the upper before it is changed (kernel: fs/overlayfs/copy_up.c).
// It is made whole in the work directory and gets its place by one call. Of a file whose data is not about to
// change only the attributes are copied (metacopy). A file of the image that has several names takes all of
// them along, so that they stay one inode.
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <shared_mutex>

#include "overlay/placing.h"
#include "overlay/union.h"
#include "sys/at.h"

namespace lamina::overlay {

int Union::lower_status(const Lower& lower, struct stat& status) {
  if (lower.has_layers()) {
    const LayerPath& top = lower.layers->front();
    return layer_stat(top.layer, top.path.c_str(), status);
  }
  if (lower.toc == 0) return ENOENT;
  const toc::Inode& inode = image_->toc().inode(lower.toc);
  const fuse::Attr attr = image_->attributes(lower.toc);
  status = {};
  status.st_ino = lower.toc;
  status.st_mode = inode.mode;
  status.st_nlink = inode.nlink;
  status.st_uid = inode.uid;
  status.st_gid = inode.gid;
  status.st_size = static_cast<off_t>(attr.size);
  status.st_blocks = static_cast<blkcnt_t>(attr.blocks);
  status.st_rdev = makedev(inode.rdev_major, inode.rdev_minor);
  status.st_atim =
      status.st_mtim = {static_cast<time_t>(inode.mtime_sec), static_cast<long>(inode.mtime_nsec)};
  return 0;
}

// `set` gives the copy one attribute, by what it is called on disk: 0 or a positive errno.
int Union::copy_xattrs(const Lower& lower, const SetXattr& set) {
  const auto give = [&](const std::string& attribute, std::string_view value) {
    const int error = set(attribute.c_str(), value);
    return may_be_left_out(error) ? 0 : error;
  };
  if (!lower.has_layers()) {
    if (!image_->has_xattrs()) return 0;
    toc::XattrCursor cursor = image_->toc().xattrs(image_->toc().inode(lower.toc));
    while (const auto attribute = cursor.next()) {
      if (is_private(attribute->name)) continue;
      const int error = give(upper_.names().on_disk(attribute->name), attribute->value);
      if (error != 0) return error;
    }
    return 0;
  }
  const LayerPath& top = lower.layers->front();
  const int layer = options_.lower_fds[top.layer];
  thread_local std::vector<char> list;
  const int error = at::list_xattrs(layer, top.path.c_str(), list);
  if (error == -EOPNOTSUPP) return 0;
  if (error < 0) return -error;
  for (size_t start = 0; start < list.size();) {
    std::string attribute(list.data() + start);
    start += attribute.size() + 1;
    std::string shown = attribute;
    if (is_private(attribute) || !layer_names_->shown(shown)) continue;
    std::string value;
    if (at::read_xattr(layer, top.path.c_str(), attribute.c_str(), value) < 0) continue;
    if (const int failed = give(attribute, value); failed != 0) return failed;
  }
  return 0;
}

int Union::copy_attributes(const Lower& lower, int dir, const char* name, const struct stat& status) {
  const ObjectAttributes attributes{status.st_mode, status.st_uid,  status.st_gid,
                                    status.st_rdev, status.st_atim, status.st_mtim};
  // Owner before attributes: chown(2) takes capabilities away.
  if (const int error = upper_.set_attributes(dir, name, attributes); error != 0) return error;
  return copy_xattrs(lower, [&](const char* attribute, std::string_view value) {
    return -at::set_xattr(dir, name, attribute, value.data(), value.size(), 0);
  });
}

int Union::copy_data(const Lower& lower, int to, uint64_t size) {
  if (!lower.has_layers()) return image_->copy_to(lower.toc, to, size);
  FileRef from;
  if (const int error = open_lower(lower, from); error != 0) return error;
  struct stat status {};
  if (fstat(from->get(), &status) != 0) return errno;
  const auto end = static_cast<off_t>(std::min<uint64_t>(size, static_cast<uint64_t>(status.st_size)));
  std::unique_ptr<uint8_t[]> buffer;
  constexpr size_t kPiece = 1 << 20;
  for (off_t at = 0; at < end;) {
    // Holes stay holes; a filesystem that knows none says that all is data (lseek(2)).
    const off_t data = ::lseek(from->get(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    if (data > at) at = data;
    if (at >= end) break;
    off_t hole = ::lseek(from->get(), at, SEEK_HOLE);
    if (hole < 0 || hole > end) hole = end;
    while (at < hole) {
      off_t in = at;
      off_t out = at;
      ssize_t copied = buffer != nullptr
                           ? -1
                           : ::copy_file_range(from->get(), &in, to, &out, static_cast<size_t>(hole - at), 0);
      if (copied <= 0) {
        if (buffer == nullptr && copied < 0 && (errno == ENOSPC || errno == EDQUOT)) return errno;
        if (buffer == nullptr) buffer = std::make_unique<uint8_t[]>(kPiece);
        const ssize_t got =
            pread(from->get(), buffer.get(), std::min<size_t>(kPiece, static_cast<size_t>(hole - at)), at);
        if (got < 0) return errno;
        if (got == 0) return EIO;
        copied = pwrite(to, buffer.get(), static_cast<size_t>(got), at);
        if (copied < 0) return errno;
      }
      at += copied;
    }
  }
  return ftruncate(to, end) == 0 ? 0 : errno;
}

std::string Union::origin_text(uint64_t node, const Lower& lower, const struct stat& status) const {
  char text[64];
  if (!lower.has_layers()) {
    snprintf(text, sizeof text, "toc:%llx:%llx", static_cast<unsigned long long>(toc_key_),
             static_cast<unsigned long long>(node));
    return text;
  }
  return "ino:" + lower_identity(status);
}

bool Union::prepare_root(Failure& failure) {
  Marks marks;
  if (read_marks(upper_.names(), upper_.root(), at::kSelf, marks) == 0 && !marks.origin.empty()) return true;
  const Lower lower{nullptr, toc::kRootIno};
  struct stat status {};
  int error = lower_status(lower, status);
  if (error == 0) error = copy_attributes(lower, upper_.root(), at::kSelf, status);
  const std::string origin = origin_text(toc::kRootIno, lower, status);
  if (error == 0) {
    error = -at::set_xattr(upper_.root(), at::kSelf, upper_.names().origin.c_str(), origin.data(),
                           origin.size(), 0);
  }
  if (error == 0) return true;
  return failure.set("upper", error, std::string("the upper cannot be prepared: ") + strerror(error));
}

int Union::copy_up(uint64_t node, Copy what, uint64_t data_size, Change* change) {
  NodeRecord* record = table_.find(node);
  if (record == nullptr && !(image_ != nullptr && table_.is_toc(node))) return ESTALE;
  if (record != nullptr && record->has(kUpper)) {
    if (what == Copy::kAttributes || !record->has(kMetacopy)) return 0;
    return copy_up_data(*record, data_size);
  }
  const Lower lower = lower_of(node);
  struct stat status {};
  if (const int error = lower_status(lower, status); error != 0) return error;
  if (S_ISDIR(status.st_mode)) {
    FileRef unused;
    return copy_up_dir(node, unused);
  }
  return copy_up_file(node, lower, status, what, data_size, change);
}

int Union::copy_up_dir(uint64_t node, FileRef& file) {
  if (!has_upper_) return EROFS;
  NodeRecord* record = table_.find(node);
  if (record != nullptr && record->has(kRemoved)) return ENOENT;
  if (node == fuse::kRootId || (record != nullptr && record->has(kUpper))) return dir_file(node, file);
  Place place;
  if (record != nullptr) {
    place = table_.place(*record);
  } else {
    if (image_ == nullptr || !table_.is_toc(node)) return ESTALE;
    const std::vector<Home> home = homes(static_cast<uint32_t>(node));
    place = {home[0].parent, std::string(home[0].name)};
  }
  // The parents first, so that no two locks are held at a time.
  FileRef parent;
  if (const int error = copy_up_dir(place.parent, parent); error != 0) return error;
  {
    const std::lock_guard guard(copy_lock(node));
    record = table_.find(node);
    if (record == nullptr || !record->has(kUpper)) {
      struct stat status {};
      const int known = upper_.stat(parent->get(), place.name.c_str(), status);
      if (known == 0) {
        // Copied up in an earlier mount, and reached now by another way than its name.
        if (!S_ISDIR(status.st_mode)) return ENOENT;
      } else {
        const Lower lower = lower_of(node);
        if (const int error = lower_status(lower, status); error != 0) return error;
        const std::string temporary = upper_.temporary_name();
        const ObjectAttributes attributes{status.st_mode, 0, 0, 0, {}, {}};
        if (const int error = upper_.make_exactly(temporary.c_str(), attributes, nullptr); error != 0)
          return error;
        Temporary guard_temporary(upper_.work(), temporary);
        if (const int error = copy_attributes(lower, upper_.work(), temporary.c_str(), status); error != 0) {
          return error;
        }
        const KeepTimes keep(parent->get());
        if (renameat2(upper_.work(), temporary.c_str(), parent->get(), place.name.c_str(),
                      RENAME_NOREPLACE) != 0) {
          return errno;
        }
        guard_temporary.done();
        if (at::stat(parent->get(), place.name.c_str(), status) != 0) return EIO;
      }
      if (record != nullptr) {
        record->object.store(status.st_ino, std::memory_order_release);
        record->set(kUpper);
      } else if (table_.attach(node, place.parent, place.name, kUpper, status.st_ino) == nullptr) {
        return ENOMEM;
      }
    }
  }
  return dir_file(node, file);
}

// The data of a file of which only the attributes were copied. The mark stays until the data is whole and
// safe.
int Union::copy_up_data(NodeRecord& record, uint64_t data_size) {
  const std::lock_guard guard(copy_lock(record.node));
  if (!record.has(kMetacopy)) return 0;
  const Lower lower = lower_of(record.node);
  return with_object(record, [&](const At& at, const struct stat& before) {
    const int fd = at::open(at.fd(), at.c_str(), O_WRONLY);
    if (fd < 0) return -fd;
    const UniqueFd file(fd);
    // Writing takes capabilities away, which this is not meant to.
    std::string capability;
    const bool has_capability = at::read_xattr(at.fd(), at.c_str(), "security.capability", capability) == 0;
    const uint64_t size = std::min<uint64_t>(data_size, static_cast<uint64_t>(before.st_size));
    if (const int error = copy_data(lower, fd, size); error != 0) return error;
    timespec times[2] = {before.st_atim, before.st_mtim};
    if (size < static_cast<uint64_t>(before.st_size)) times[1].tv_nsec = UTIME_NOW;
    if (futimens(fd, times) != 0) return errno;
    if (has_capability) {
      at::set_xattr(at.fd(), at.c_str(), "security.capability", capability.data(), capability.size(), 0);
    }
    if (const int error = upper_.sync(fd, false); error != 0) return error;
    const int error = at::remove_xattr(at.fd(), at.c_str(), upper_.names().metacopy.c_str());
    if (error < 0 && error != -ENODATA) return -error;
    record.clear(kMetacopy);
    files_->drop(record.node);
    return 0;
  });
}

}  // namespace lamina::overlay

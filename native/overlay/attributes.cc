// Attributes, symbolic links and extended attributes of nodes, read and changed.
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "overlay/union.h"
#include "sys/at.h"
#include "sys/credentials.h"

namespace lamina::overlay {

namespace {

constexpr const char* kAclAccess = "system.posix_acl_access";
constexpr const char* kAclDefault = "system.posix_acl_default";

uint32_t encode_device(dev_t device) {
  const uint32_t low = minor(device);
  const uint32_t high = major(device);
  return (low & 0xFF) | (high << 8) | ((low & ~0xFFu) << 12);
}

constexpr const char* kCapability = "security.capability";

bool is_acl(std::string_view name) { return name == kAclAccess || name == kAclDefault; }

// The answer to LISTXATTR: the names, or how long they are.
int put_list(const std::string& names, uint32_t size, fuse::Reply& reply) {
  if (size == 0) return reply.put(fuse::GetxattrOut{static_cast<uint32_t>(names.size()), 0}) ? 0 : EIO;
  if (names.size() > size) return ERANGE;
  return reply.put_text(names) ? 0 : EIO;
}

// The times that a SETATTR sets, as utimensat(2) takes them; false when it sets none.
bool times_of(const fuse::SetattrIn& in, timespec (&times)[2]) {
  if ((in.valid & (fuse::kFattrAtime | fuse::kFattrMtime)) == 0) return false;
  times[0] = times[1] = {0, UTIME_OMIT};
  if ((in.valid & fuse::kFattrAtimeNow) != 0) {
    times[0].tv_nsec = UTIME_NOW;
  } else if ((in.valid & fuse::kFattrAtime) != 0) {
    times[0] = {static_cast<time_t>(in.atime), static_cast<long>(in.atimensec)};
  }
  if ((in.valid & fuse::kFattrMtimeNow) != 0) {
    times[1].tv_nsec = UTIME_NOW;
  } else if ((in.valid & fuse::kFattrMtime) != 0) {
    times[1] = {static_cast<time_t>(in.mtime), static_cast<long>(in.mtimensec)};
  }
  return true;
}

}  // namespace

void Union::fill_owner(fuse::Attr& attr) const {
  attr.uid = options_.owners.uids.shown(attr.uid);
  attr.gid = options_.owners.gids.shown(attr.gid);
}

void Union::fill(const struct stat& status, fuse::Attr& attr) const {
  attr.size = static_cast<uint64_t>(status.st_size);
  attr.blocks = static_cast<uint64_t>(status.st_blocks);
  attr.atime = static_cast<uint64_t>(status.st_atim.tv_sec);
  attr.mtime = static_cast<uint64_t>(status.st_mtim.tv_sec);
  attr.ctime = static_cast<uint64_t>(status.st_ctim.tv_sec);
  attr.atimensec = static_cast<uint32_t>(status.st_atim.tv_nsec);
  attr.mtimensec = static_cast<uint32_t>(status.st_mtim.tv_nsec);
  attr.ctimensec = static_cast<uint32_t>(status.st_ctim.tv_nsec);
  attr.mode = status.st_mode;
  attr.nlink = static_cast<uint32_t>(status.st_nlink);
  attr.uid = status.st_uid;
  attr.gid = status.st_gid;
  attr.rdev = S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode) ? encode_device(status.st_rdev) : 0;
  attr.blksize = static_cast<uint32_t>(status.st_blksize);
  fill_owner(attr);
}

int Union::upper_attributes(NodeRecord& record, fuse::Attr& attr) {
  // A directory whose descriptor is there, which is the one that is asked for most: each name that is made in
  // it makes the kernel ask.
  if (const FileRef dir = dirs_->get(record.node); dir != nullptr) {
    struct stat status {};
    if (const int error = upper_.stat(dir->get(), at::kSelf, status); error != 0) return error;
    attr = fuse::Attr{};
    fill(status, attr);
    attr.ino = record.ino;
    if (!record.has(kOpaque)) attr.nlink = 1;
    return 0;
  }
  return with_object(record, [&](const At& at, const struct stat& status) {
    attr = fuse::Attr{};
    fill(status, attr);
    attr.ino = record.ino;
    if (S_ISDIR(status.st_mode)) {
      // How many subdirectories a merged directory has would have to be counted; 1 means that it is not
      // known.
      if (!record.has(kOpaque)) attr.nlink = 1;
    } else {
      if (record.has(kOrphan) && attr.nlink > 0) --attr.nlink;
      if (record.has(kNamesBelow)) {
        Marks marks;
        if (read_marks(upper_.names(), at.fd(), at.c_str(), marks) == 0 && marks.names_below > 0) {
          // One link is the one by which its other names find it.
          attr.nlink += marks.names_below - 1;
        } else {
          record.clear(kNamesBelow);
        }
      }
    }
    if (record.has(kMetacopy)) {
      struct stat lower {};
      if (lower_status(lower_of(record.node), lower) == 0)
        attr.blocks = static_cast<uint64_t>(lower.st_blocks);
    }
    return 0;
  });
}

int Union::attributes(uint64_t node, fuse::Attr& attr) {
  NodeRecord* record = table_.find(node);
  if (record == nullptr) {
    if (image_ == nullptr || !table_.is_toc(node)) return ESTALE;
    attr = image_->attributes(static_cast<uint32_t>(node));
    fill_owner(attr);
    return 0;
  }
  if (record->has(kUpper) && !record->has(kRemoved)) return upper_attributes(*record, attr);
  {
    const std::lock_guard guard(removed_mutex_);
    if (const auto removed = removed_.find(node); removed != removed_.end()) {
      attr = removed->second;
      return 0;
    }
  }
  const Lower lower = lower_of(node);
  if (lower.empty()) {
    // A directory that was removed before another server took over.
    attr = fuse::Attr{.ino = record->ino, .mode = S_IFDIR | 0700, .blksize = 4096};
    return 0;
  }
  if (lower.has_layers()) {
    struct stat status {};
    if (const int error = lower_status(lower, status); error != 0) return error;
    attr = fuse::Attr{};
    fill(status, attr);
    attr.ino = record->ino;
    if (S_ISDIR(status.st_mode)) attr.nlink = 1;
  } else {
    attr = image_->attributes(lower.toc);
    fill_owner(attr);
  }
  if (record->has(kRemoved)) attr.nlink = 0;
  return 0;
}

int Union::getattr(uint64_t node, fuse::Reply& reply) {
  fuse::AttrOut out{.attr_valid = attr_valid(table_.find(node))};
  if (const int error = attributes(node, out.attr); error != 0) return error;
  return reply.put(out) ? 0 : EIO;
}

int Union::readlink(uint64_t node, fuse::Reply& reply) {
  NodeRecord* record = table_.find(node);
  if (record == nullptr) return image_ != nullptr ? image_->readlink(node, reply) : ESTALE;
  if (record->has(kUpper)) {
    return with_object(*record, [&](const At& at, const struct stat&) {
      const ssize_t length =
          readlinkat(at.fd(), at.c_str(), reinterpret_cast<char*>(reply.end()), reply.room());
      if (length < 0) return errno;
      reply.claim(static_cast<size_t>(length));
      return 0;
    });
  }
  const Lower lower = lower_of(node);
  if (!lower.has_layers()) return image_ != nullptr ? image_->readlink(lower.toc, reply) : ESTALE;
  const LayerPath& top = lower.layers->front();
  const ssize_t length = at::read_link(options_.lower_fds[top.layer], top.path.c_str(),
                                       reinterpret_cast<char*>(reply.end()), reply.room());
  if (length < 0) return static_cast<int>(-length);
  reply.claim(static_cast<size_t>(length));
  return 0;
}

int Union::setattr(uint64_t node, const fuse::SetattrIn& in, const fuse::Caller&, fuse::Reply& reply) {
  const bool resize = (in.valid & fuse::kFattrSize) != 0;
  if (!has_upper_) return EROFS;
  Change on_the_way{in};
  if (const int error = copy_up(node, resize ? Copy::kData : Copy::kAttributes, resize ? in.size : UINT64_MAX,
                                resize ? nullptr : &on_the_way);
      error != 0) {
    return error;
  }
  NodeRecord* record = table_.find(node);
  if (record == nullptr) return ESTALE;
  if (on_the_way.done) {
    return reply.put(fuse::AttrOut{.attr_valid = attr_valid(record), .attr = on_the_way.attr}) ? 0 : EIO;
  }
  if (record->has(kRemoved)) return ENOENT;
  if (resize) {
    FileRef file;
    if (const int error = data_file(node, true, file); error != 0) return error;
    if (ftruncate(file->get(), static_cast<off_t>(in.size)) != 0) return errno;
    if ((in.valid & fuse::kFattrKillSuidgid) != 0) {
      if (const int error = strip_privileges(*record); error != 0) return error;
    }
  }
  std::unique_lock<std::mutex> guard;
  if ((in.valid & fuse::kFattrMode) != 0 && (in.mode & (S_ISUID | S_ISGID)) != 0 && !S_ISDIR(in.mode)) {
    guard = std::unique_lock(copy_lock(node));
    if (!expect_setuid(*record)) return ETXTBSY;
  }
  // Through a descriptor where there is one: it leads to the node whatever its name is by now.
  const FileRef file = upper_.overrides() ? nullptr : files_->get(node);
  if (file != nullptr && file->writable) {
    if (const int error = change_open(file->get(), in); error != 0) return error;
    if (!record->has(kOrphan | kMetacopy | kNamesBelow)) {
      struct stat status {};
      if (fstat(file->get(), &status) != 0) return errno;
      fuse::AttrOut out{.attr_valid = attr_valid(record)};
      fill(status, out.attr);
      out.attr.ino = record->ino;
      return reply.put(out) ? 0 : EIO;
    }
  } else {
    const int error = with_object(*record, [&](const At& at, const struct stat&) { return change(at, in); });
    if (error != 0) return error;
  }
  return getattr(node, reply);
}

int Union::change(const At& at, const fuse::SetattrIn& in) {
  if ((in.valid & (fuse::kFattrUid | fuse::kFattrGid)) != 0) {
    const int error = upper_.chown(at.fd(), at.c_str(), on_disk_uid(in), on_disk_gid(in));
    if (error != 0) return error;
  }
  if ((in.valid & fuse::kFattrMode) != 0) {
    if (const int error = upper_.chmod(at.fd(), at.c_str(), in.mode); error != 0) return error;
  }
  timespec times[2];
  if (!times_of(in, times)) return 0;
  return utimensat(at.fd(), at.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
}

int Union::change_open(int fd, const fuse::SetattrIn& in) {
  if ((in.valid & (fuse::kFattrUid | fuse::kFattrGid)) != 0 &&
      fchown(fd, on_disk_uid(in), on_disk_gid(in)) != 0) {
    return errno;
  }
  if ((in.valid & fuse::kFattrMode) != 0 && fchmod(fd, in.mode & 07777) != 0) return errno;
  timespec times[2];
  return !times_of(in, times) || futimens(fd, times) == 0 ? 0 : errno;
}

uid_t Union::on_disk_uid(const fuse::SetattrIn& in) const {
  return (in.valid & fuse::kFattrUid) != 0 ? options_.owners.uids.on_disk(in.uid) : -1U;
}

gid_t Union::on_disk_gid(const fuse::SetattrIn& in) const {
  return (in.valid & fuse::kFattrGid) != 0 ? options_.owners.gids.on_disk(in.gid) : -1U;
}

int Union::getxattr(uint64_t node, std::string_view name, uint32_t size, fuse::Reply& reply) {
  if (!options_.xattrs) return EOPNOTSUPP;
  if (is_private(name)) return ENODATA;
  NodeRecord* record = table_.find(node);
  if (record == nullptr || (!record->has(kUpper) && !lower_of(node).has_layers())) {
    if (image_ == nullptr) return ESTALE;
    if (!image_->has_xattrs()) return ENODATA;
    return image_->getxattr(record == nullptr ? node : lower_of(node).toc, name, size, reply);
  }
  if (!acl_ && is_acl(name)) return EOPNOTSUPP;
  if (record->has(kNoCapability) && name == kCapability) return ENODATA;
  // Of other namespaces the upper's filesystem may know nothing.
  if (record->has(kNoXattrs) && (is_acl(name) || name.starts_with("user.") || name.starts_with("trusted."))) {
    return ENODATA;
  }
  const auto answer = [&](int dir, const char* object, const std::string& attribute) {
    if (size == 0) {
      const ssize_t length = at::get_xattr(dir, object, attribute.c_str(), nullptr, 0);
      if (length < 0) return static_cast<int>(-length);
      const fuse::GetxattrOut out{static_cast<uint32_t>(length), 0};
      return reply.put(out) ? 0 : EIO;
    }
    const ssize_t length =
        at::get_xattr(dir, object, attribute.c_str(), reply.end(), std::min<size_t>(size, reply.room()));
    if (length < 0) return static_cast<int>(-length);
    reply.claim(static_cast<size_t>(length));
    return 0;
  };
  if (record->has(kUpper)) {
    const std::string attribute = upper_.names().on_disk(name);
    return with_object(
        *record, [&](const At& at, const struct stat&) { return answer(at.fd(), at.c_str(), attribute); });
  }
  const LayerPath top = lower_of(node).layers->front();
  return answer(options_.lower_fds[top.layer], top.path.c_str(), layer_names_->on_disk(name));
}

int Union::listxattr(uint64_t node, uint32_t size, const fuse::Caller& caller, fuse::Reply& reply) {
  if (!options_.xattrs) return EOPNOTSUPP;
  NodeRecord* record = table_.find(node);
  const Lower lower = record == nullptr || record->has(kUpper) ? Lower{} : lower_of(node);
  if (record == nullptr || (!record->has(kUpper) && !lower.has_layers())) {
    if (image_ == nullptr) return ESTALE;
    // Here names are the users' own.
    std::string shown;
    toc::XattrCursor cursor = image_->toc().xattrs(image_->toc().inode(record == nullptr ? node : lower.toc));
    while (const auto attribute = cursor.next()) {
      if (!is_private(attribute->name) && caller.lists(attribute->name))
        shown.append(attribute->name).push_back('\0');
    }
    return put_list(shown, size, reply);
  }
  if (record->has(kNoXattrs)) return put_list({}, size, reply);
  std::vector<char> list;
  int error = 0;
  if (record->has(kUpper)) {
    // With the lock, so that none is set between the look and the note that there is none.
    const std::lock_guard guard(copy_lock(node));
    error = with_object(*record, [&](const At& at, const struct stat&) {
      return -at::list_xattrs(at.fd(), at.c_str(), list);
    });
    if (error == 0 && list.empty()) record->set(kNoXattrs);
  } else {
    const LayerPath& top = lower.layers->front();
    error = -at::list_xattrs(options_.lower_fds[top.layer], top.path.c_str(), list);
  }
  if (error == EOPNOTSUPP) error = 0;
  if (error != 0) return error;
  std::string shown;
  for (size_t start = 0; start < list.size();) {
    std::string name(list.data() + start);
    start += name.size() + 1;
    if (is_private(name) || !caller.lists(name)) continue;
    if (!acl_ && is_acl(name)) continue;
    if (!layer_names_->shown(name)) continue;
    shown.append(name).push_back('\0');
  }
  return put_list(shown, size, reply);
}

int Union::setxattr(uint64_t node, std::string_view name, std::span<const uint8_t> value,
                    const fuse::SetxattrIn& in, const fuse::Caller& caller) {
  if (!has_upper_) return EROFS;
  if (is_acl(name) && !acl_) return EOPNOTSUPP;
  if (!options_.xattrs) return EOPNOTSUPP;
  if (is_private(name)) return EPERM;
  if (const int error = copy_up(node, Copy::kAttributes); error != 0) return error;
  NodeRecord* record = table_.find(node);
  if (record == nullptr) return ESTALE;
  const std::string attribute = upper_.names().on_disk(name);
  if (attribute.size() > XATTR_NAME_MAX) return ERANGE;
  if (name == kCapability) record->clear(kNoCapability);
  const std::lock_guard guard(copy_lock(node));
  record->clear(kNoXattrs);
  return with_object(*record, [&](const At& at, const struct stat& status) {
    const int error = -at::set_xattr(at.fd(), at.c_str(), attribute.c_str(), value.data(), value.size(),
                                     static_cast<int>(in.flags));
    if (error == EEXIST && caller.replayed) return 0;
    if (error != 0) return error;
    if ((in.setxattr_flags & fuse::kSetxattrAclKillSgid) != 0 && (status.st_mode & S_ISGID) != 0) {
      struct stat now {};
      if (const int failed = upper_.stat(at.fd(), at.c_str(), now); failed != 0) return failed;
      return upper_.chmod(at.fd(), at.c_str(), now.st_mode & ~static_cast<mode_t>(S_ISGID));
    }
    return 0;
  });
}

int Union::removexattr(uint64_t node, std::string_view name, const fuse::Caller& caller) {
  if (!has_upper_) return EROFS;
  if (is_acl(name) && !acl_) return EOPNOTSUPP;
  const std::string attribute = upper_.names().on_disk(name);
  // Copied up only when there is something to remove.
  uint8_t scratch[64];
  fuse::Reply none(scratch, sizeof scratch);
  if (const int error = getxattr(node, name, 0, none); error != 0) {
    return error == ENODATA && caller.replayed ? 0 : error;
  }
  if (const int error = copy_up(node, Copy::kAttributes); error != 0) return error;
  NodeRecord* record = table_.find(node);
  if (record == nullptr) return ESTALE;
  return with_object(*record, [&](const At& at, const struct stat&) {
    const int error = -at::remove_xattr(at.fd(), at.c_str(), attribute.c_str());
    return error == ENODATA && caller.replayed ? 0 : error;
  });
}

}  // namespace lamina::overlay

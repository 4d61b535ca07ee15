// Making new names: MKNOD, MKDIR, SYMLINK, LINK, TMPFILE (kernel: fs/overlayfs/dir.c). Where a whiteout is in
// the way the object is made in the work directory and takes its place by one rename.
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "overlay/union.h"
#include "sys/at.h"
#include "sys/credentials.h"

namespace lamina::overlay {

namespace {

dev_t decode_device(uint32_t device) {
  return makedev((device & 0xFFF00) >> 8, (device & 0xFF) | ((device >> 12) & 0xFFF00));
}

constexpr const char* kAclDefault = "system.posix_acl_default";

}  // namespace

int Union::make_name(uint64_t parent, std::string_view name, mode_t type, const fuse::Caller& caller,
                     const Maker& maker, fuse::EntryOut& out, UniqueFd* opened) {
  if (!has_upper_) return EROFS;
  if (name.size() > NAME_MAX) return ENAMETOOLONG;
  if (is_reserved(name)) return EINVAL;
  FileRef dir;
  if (const int error = copy_up_dir(parent, dir); error != 0) return error;
  const std::string text(name);
  int error = maker(dir->get(), text.c_str());
  if (error == EEXIST) {
    struct stat status {};
    if (upper_.stat(dir->get(), text.c_str(), status) != 0) return EEXIST;
    if (upper_.is_whiteout(dir->get(), text.c_str(), status)) {
      error = create_over_whiteout(dir->get(), text.c_str(), type, maker);
    } else if (caller.replayed && (status.st_mode & S_IFMT) == type) {
      // The kernel asks to make only what it knows is not there: the server before this one made it.
      error = 0;
    }
  }
  if (error != 0) return error;
  Found found;
  found.in_upper = true;
  const bool open = opened != nullptr && opened->valid();
  if (open) {
    if (fstat(opened->get(), &found.status) != 0) return errno;
  } else if (const int failed = upper_.stat(dir->get(), text.c_str(), found.status); failed != 0) {
    return failed;
  }
  found.type = found.status.st_mode & S_IFMT;
  if (const int failed = entry(parent, name, found, out); failed != 0) return failed;
  // Whoever makes a file is about to write to it.
  if (open) files_->put(out.nodeid, std::make_shared<OpenFile>(OpenFile{std::move(*opened), true}));
  NodeRecord* record = table_.find(out.nodeid);
  if (record != nullptr) record->set(kNoCapability);
  return 0;
}

int Union::create_over_whiteout(int dir, const char* name, mode_t type, const Maker& maker) {
  // What new objects inherit (group, default ACL) they inherit from a directory like the one they go to.
  struct stat parent {};
  if (const int error = upper_.stat(dir, at::kSelf, parent); error != 0) return error;
  std::string acl;
  const bool has_acl = at::read_xattr(dir, at::kSelf, kAclDefault, acl) == 0;
  const bool inherits = has_acl || (parent.st_mode & S_ISGID) != 0;
  const std::string nest = upper_.temporary_name();
  UniqueFd nest_fd;
  int work = upper_.work();
  if (inherits) {
    if (mkdirat(work, nest.c_str(), 0700) != 0) return errno;
    const int fd = at::open(work, nest.c_str(), O_RDONLY | O_DIRECTORY);
    if (fd < 0) return -fd;
    nest_fd.reset(fd);
    if (fchown(fd, parent.st_uid, parent.st_gid) != 0 && !upper_.overrides()) return errno;
    fchmod(fd, 0700 | (parent.st_mode & S_ISGID));
    if (has_acl) at::set_xattr(work, nest.c_str(), kAclDefault, acl.data(), acl.size(), 0);
    work = fd;
  }
  const std::string temporary = upper_.temporary_name();
  int error = maker(work, temporary.c_str());
  if (error == 0) {
    if (S_ISDIR(type)) {
      // A directory cannot be renamed over a file. Opaque, because something is hidden there.
      error = upper_.set_opaque(work, temporary.c_str());
      if (error == 0 && renameat2(work, temporary.c_str(), dir, name, RENAME_EXCHANGE) != 0) error = errno;
      if (error == 0) {
        unlinkat(work, temporary.c_str(), 0);
      } else {
        unlinkat(work, temporary.c_str(), AT_REMOVEDIR);
      }
    } else {
      if (renameat(work, temporary.c_str(), dir, name) != 0) error = errno;
      // Also where both were links to one inode and rename(2) did nothing.
      if (error != 0) unlinkat(work, temporary.c_str(), 0);
    }
  }
  if (inherits) unlinkat(upper_.work(), nest.c_str(), AT_REMOVEDIR);
  return error;
}

int Union::mknod(uint64_t parent, std::string_view name, const fuse::MknodIn& in, const fuse::Caller& caller,
                 fuse::Reply& reply) {
  const mode_t type = (in.mode & S_IFMT) == 0 ? static_cast<mode_t>(S_IFREG) : in.mode & S_IFMT;
  const dev_t device = decode_device(in.rdev);
  // It would be a whiteout (kernel: ovl_mknod).
  if (type == S_IFCHR && device == 0) return EPERM;
  fuse::Caller owner = caller;
  owner.uid = options_.owners.uids.on_disk(caller.uid);
  owner.gid = options_.owners.gids.on_disk(caller.gid);
  UniqueFd opened;
  fuse::EntryOut out;
  const int error = make_name(
      parent, name, type, caller,
      [&](int dir, const char* text) {
        return upper_.make(dir, text, type | (in.mode & 07777), device, nullptr, owner, in.umask, &opened);
      },
      out, &opened);
  return error != 0 ? error : reply.put(out) ? 0 : EIO;
}

int Union::create(uint64_t parent, std::string_view name, const fuse::CreateIn& in,
                  const fuse::Caller& caller, fuse::Reply& reply) {
  if (backing_device_ < 0) return ENOSYS;
  fuse::Caller owner = caller;
  owner.uid = options_.owners.uids.on_disk(caller.uid);
  owner.gid = options_.owners.gids.on_disk(caller.gid);
  UniqueFd opened;
  fuse::EntryOut out;
  const int error = make_name(
      parent, name, S_IFREG, caller,
      [&](int dir, const char* text) {
        return upper_.make(dir, text, S_IFREG | (in.mode & 07777), 0, nullptr, owner, in.umask, &opened);
      },
      out, &opened);
  if (error != 0) return error;
  NodeRecord* record = table_.find(out.nodeid);
  const fuse::OpenOut open = open_file(record, out.nodeid, in.flags, caller);
  out.attr_valid = attr_valid(record);
  return reply.put(out) && reply.put(open) ? 0 : EIO;
}

int Union::mkdir(uint64_t parent, std::string_view name, const fuse::MkdirIn& in, const fuse::Caller& caller,
                 fuse::Reply& reply) {
  fuse::Caller owner = caller;
  owner.uid = options_.owners.uids.on_disk(caller.uid);
  owner.gid = options_.owners.gids.on_disk(caller.gid);
  fuse::EntryOut out;
  const int error = make_name(
      parent, name, S_IFDIR, caller,
      [&](int dir, const char* text) {
        return upper_.make(dir, text, S_IFDIR | (in.mode & 07777), 0, nullptr, owner, in.umask);
      },
      out);
  return error != 0 ? error : reply.put(out) ? 0 : EIO;
}

int Union::symlink(uint64_t parent, std::string_view name, std::string_view target,
                   const fuse::Caller& caller, fuse::Reply& reply) {
  fuse::Caller owner = caller;
  owner.uid = options_.owners.uids.on_disk(caller.uid);
  owner.gid = options_.owners.gids.on_disk(caller.gid);
  const std::string text(target);
  fuse::EntryOut out;
  const int error = make_name(
      parent, name, S_IFLNK, caller,
      [&](int dir, const char* at) {
        return upper_.make(dir, at, S_IFLNK | 0777, 0, text.c_str(), owner, 0);
      },
      out);
  return error != 0 ? error : reply.put(out) ? 0 : EIO;
}

// An open file without a name: an orphan from the start, which LINK may give a name.
int Union::tmpfile(uint64_t parent, const fuse::CreateIn& in, const fuse::Caller& caller,
                   fuse::Reply& reply) {
  if (!has_upper_) return EROFS;
  FileRef dir;
  if (const int error = copy_up_dir(parent, dir); error != 0) return error;
  fuse::Caller owner = caller;
  owner.uid = options_.owners.uids.on_disk(caller.uid);
  owner.gid = options_.owners.gids.on_disk(caller.gid);
  const std::string temporary = upper_.temporary_name();
  int error = upper_.make_unnamed(dir->get(), temporary.c_str(), in.mode & 07777, owner, in.umask);
  if (error != 0) return error;
  struct stat status {};
  if (error = upper_.stat(upper_.work(), temporary.c_str(), status); error != 0) return error;
  const uint64_t ino = ino_of(status);
  // At once an orphan: a server that is killed now leaves a node that gets its place if the number is used
  // again.
  NodeRecord* record = table_.intern(ino, 0, fuse::kRootId, temporary, kUpper | kOrphan, status.st_ino);
  if (record == nullptr) {
    unlinkat(upper_.work(), temporary.c_str(), 0);
    return ENOMEM;
  }
  const std::string name = Upper::orphan_name(record->node);
  if (renameat(upper_.work(), temporary.c_str(), upper_.work(), name.c_str()) != 0) return errno;
  fuse::EntryOut out{
      .nodeid = record->node, .generation = record->generation, .entry_valid = kForever, .attr_valid = 0};
  if (error = attributes(record->node, out.attr); error != 0) return error;
  return reply.put(out) && reply.put(open_file(record, record->node, in.flags, caller)) ? 0 : EIO;
}

int Union::link_in(NodeRecord& record, int dir, const char* name) {
  return with_object(record, [&](const At& at, const struct stat&) {
    return linkat(at.fd(), at.c_str(), dir, name, 0) == 0 ? 0 : errno;
  });
}

int Union::link(uint64_t node, uint64_t parent, std::string_view name, const fuse::Caller& caller,
                fuse::Reply& reply) {
  if (!has_upper_) return EROFS;
  if (name.size() > NAME_MAX) return ENAMETOOLONG;
  if (is_reserved(name)) return EINVAL;
  if (const int error = copy_up(node, Copy::kAttributes); error != 0) return error;
  NodeRecord* record = table_.find(node);
  if (record == nullptr) return ESTALE;
  // Under its new name a metacopy would look for its data at another place.
  if (record->has(kMetacopy)) {
    if (const int error = set_redirect(node); error != 0) return error;
  }
  FileRef dir;
  if (const int error = copy_up_dir(parent, dir); error != 0) return error;
  const std::string text(name);
  int error = link_in(*record, dir->get(), text.c_str());
  if (error == EEXIST) {
    struct stat status {};
    if (upper_.stat(dir->get(), text.c_str(), status) != 0) return EEXIST;
    if (upper_.is_whiteout(dir->get(), text.c_str(), status)) {
      const std::string temporary = upper_.temporary_name();
      error = link_in(*record, upper_.work(), temporary.c_str());
      if (error != 0) return error;
      if (renameat(upper_.work(), temporary.c_str(), dir->get(), text.c_str()) != 0) {
        error = errno;
        unlinkat(upper_.work(), temporary.c_str(), 0);
      }
    } else if (caller.replayed && status.st_ino == record->object.load()) {
      error = 0;
    }
  }
  if (error != 0) return error;
  if (record->has(kOrphan)) rehome(*record, parent, name);
  fuse::EntryOut out{.nodeid = node,
                     .generation = table_.is_toc(node) ? 0 : record->generation,
                     .entry_valid = kForever,
                     .attr_valid = attr_valid(record)};
  if (error = attributes(node, out.attr); error != 0) return error;
  // The kernel counts this as a lookup.
  table_.count_lookup(*record);
  return reply.put(out) ? 0 : EIO;
}

}  // namespace lamina::overlay

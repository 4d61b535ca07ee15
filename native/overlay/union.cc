// Setting up, and what concerns names: LOOKUP, FORGET, and which node and inode number a found object has.
#include "overlay/union.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "sys/at.h"
#include "sys/credentials.h"

namespace lamina::overlay {

namespace {

constexpr uint32_t kNameMax = 255;
// Bits of a device's inode number that are kept; above them is the device's place in the list.
constexpr uint32_t kDeviceShift = 48;

// A part of what the process may have open, which may be as little as 1024.
size_t descriptors_for_cache() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return std::clamp<size_t>(limit.rlim_cur / 4, 64, 4096);
}

}  // namespace

bool Union::open(const UnionOptions& options, Failure& failure) {
  options_ = options;
  has_upper_ = options.upper.upper_fd >= 0;
  if (has_upper_ && !upper_.open(options.upper, failure)) return false;
  layer_names_ = std::make_unique<XattrNames>(has_upper_ ? upper_.names().prefix.starts_with("user.")
                                                         : options.upper.user_xattr || geteuid() != 0);
  acl_ = options.acl && (!has_upper_ || upper_.has_acl());

  for (const int fd : options.lower_fds) {
    layer_overrides_.push_back(find_override(fd));
  }

  std::vector<LayerPath> roots;
  std::vector<int> directories = options.lower_fds;
  if (has_upper_) directories.insert(directories.begin(), options.upper.upper_fd);
  for (const int fd : directories) {
    struct stat status {};
    if (fstat(fd, &status) != 0 || !S_ISDIR(status.st_mode)) {
      return failure.set("lower", errno != 0 ? errno : ENOTDIR, "a lower layer is not a directory");
    }
    // The device gets its place.
    static_cast<void>(ino_of(status));
  }
  for (uint32_t layer = 0; layer < options.lower_fds.size(); ++layer) {
    roots.push_back({layer, at::kSelf});
    if (is_opaque_by_file(options.lower_fds[layer], at::kSelf)) break;
  }
  if (!roots.empty()) root_lower_.layers = std::make_shared<const std::vector<LayerPath>>(std::move(roots));

  const uint32_t toc_count = image_ != nullptr ? image_->toc().inode_count() : 1;
  if (image_ != nullptr) {
    root_lower_.toc = toc::kRootIno;
    const toc::Toc& toc = image_->toc();
    home_parent_.assign(toc_count + 1, 0);
    home_dirent_.assign(toc_count + 1, 0);
    for (uint32_t ino = 1; ino <= toc_count; ++ino) {
      const toc::Inode& dir = toc.inode(ino);
      if (!S_ISDIR(dir.mode)) continue;
      for (uint32_t index = dir.first; index < dir.first + dir.count; ++index) {
        const uint32_t child = toc.entry(index).ino;
        if (home_parent_[child] == 0) {
          home_parent_[child] = ino;
          home_dirent_[child] = index;
        } else {
          more_homes_[child].emplace_back(ino, index);
        }
      }
    }
  }
  if (!table_.create(toc_count)) return failure.set("upper", errno, "no memory for the table of nodes");
  table_.recover();
  if (!has_upper_) {
    // The root of an image alone needs no record.
    if (root_lower_.layers == nullptr ||
        table_.attach(fuse::kRootId, fuse::kRootId, at::kSelf, 0, 0) != nullptr) {
      return true;
    }
    return failure.set("lower", ENOMEM, "no memory for the table of nodes");
  }
  const int upper_copy = fcntl(upper_.root(), F_DUPFD_CLOEXEC, 0);
  const int work_copy = fcntl(upper_.work(), F_DUPFD_CLOEXEC, 0);
  if (upper_copy < 0 || work_copy < 0) return failure.set("upper", errno, "too many open files");
  upper_root_ = std::make_shared<OpenFile>(OpenFile{UniqueFd(upper_copy), false});
  work_dir_ = std::make_shared<OpenFile>(OpenFile{UniqueFd(work_copy), false});
  struct stat root {};
  if (fstat(upper_.root(), &root) != 0) return failure.set("upper", errno, "the upper cannot be examined");
  if (image_ != nullptr && !prepare_root(failure)) return false;
  if (table_.attach(fuse::kRootId, fuse::kRootId, at::kSelf, kUpper, root.st_ino) == nullptr) {
    return failure.set("upper", ENOMEM, "no memory for the table of nodes");
  }
  return true;
}

bool Union::start() {
  const size_t descriptors = descriptors_for_cache();
  dirs_ = std::make_unique<FdCache>(descriptors);
  files_ = std::make_unique<FdCache>(descriptors);
  table_.recover();
  if (has_upper_) {
    restore_names(upper_.work(), upper_.kept(), upper_.names());
    if (image_ != nullptr) {
      finish_names();
      take_over_index();
    }
    remove_unfinished();
  }
  return true;
}

void Union::stop() const {
  if (has_upper_) upper_.tidy();
}

uint64_t Union::ino_of(const struct stat& status) {
  size_t place = 0;
  {
    const std::shared_lock guard(devices_mutex_);
    place =
        static_cast<size_t>(std::find(devices_.begin(), devices_.end(), status.st_dev) - devices_.begin());
    if (place == devices_.size()) place = SIZE_MAX;
  }
  if (place == SIZE_MAX) {
    const std::lock_guard guard(devices_mutex_);
    place =
        static_cast<size_t>(std::find(devices_.begin(), devices_.end(), status.st_dev) - devices_.begin());
    if (place == devices_.size()) devices_.push_back(status.st_dev);
  }
  const uint64_t base = image_ != nullptr ? image_->toc().inode_count() : 1;
  return (static_cast<uint64_t>(place) << kDeviceShift) + base + status.st_ino;
}

uint32_t Union::toc_of_origin(const std::string& origin) const {
  // "toc:KEY:INO", both hexadecimal.
  if (image_ == nullptr || !origin.starts_with("toc:")) return 0;
  const size_t colon = origin.find(':', 4);
  if (colon == std::string::npos) return 0;
  uint64_t key = 0;
  uint32_t ino = 0;
  const char* end = origin.data() + origin.size();
  std::from_chars(origin.data() + 4, origin.data() + colon, key, 16);
  const auto [rest, error] = std::from_chars(origin.data() + colon + 1, end, ino, 16);
  if (error != std::errc() || rest != end || key != toc_key_ || !image_->toc().contains(ino)) return 0;
  return ino;
}

uint64_t Union::ino_of_found(const Found& found) {
  const bool is_dir = S_ISDIR(found.type);
  if (is_dir && found.lower.toc != 0) return found.lower.toc;
  if (!found.in_upper) return found.lower.has_layers() ? ino_of(found.status) : found.lower.toc;
  if (is_dir) {
    if (!found.lower.has_layers()) return ino_of(found.status);
    const LayerPath& top = found.lower.layers->front();
    struct stat status {};
    if (at::stat(options_.lower_fds[top.layer], top.path.c_str(), status) == 0) return ino_of(status);
    return ino_of(found.status);
  }
  if (found.lower.toc != 0) return found.lower.toc;
  if (const uint32_t toc = toc_of_origin(found.marks.origin); toc != 0) return toc;
  // "ino:DEVICE:INO": a file of a lower directory.
  unsigned device = 0;
  unsigned long long ino = 0;
  if (sscanf(found.marks.origin.c_str(), "ino:%x:%llx", &device, &ino) == 2) {
    const uint64_t base = image_ != nullptr ? image_->toc().inode_count() : 1;
    return (static_cast<uint64_t>(device) << kDeviceShift) + base + ino;
  }
  return ino_of(found.status);
}

// The kernel's entry for what was found; one more reference to its node.
int Union::entry(uint64_t parent, std::string_view name, const Found& found, fuse::EntryOut& out) {
  const auto valid = [&] {
    out.entry_valid = kForever;
    out.attr_valid = kForever;
  };
  out = fuse::EntryOut{};
  valid();
  // Node 0 with a validity is a negative entry that the kernel keeps.
  if (found.type == 0) return 0;
  NodeRecord* record = nullptr;
  if (!found.in_upper && !found.lower.has_layers()) {
    record = table_.count_toc_lookup(found.lower.toc);
    if (record == nullptr) {
      out.nodeid = found.lower.toc;
      out.attr = image_->attributes(found.lower.toc);
      fill_owner(out.attr);
      return 0;
    }
  }
  const uint64_t ino = ino_of_found(found);
  uint64_t toc = table_.is_toc(ino) && image_ != nullptr ? ino : 0;
  uint32_t flags = 0;
  if (found.in_upper) flags |= kUpper;
  if (found.marks.metacopy) flags |= kMetacopy;
  if (found.marks.names_below > 0) flags |= kNamesBelow;
  if (found.in_upper && !found.marks.capability) flags |= kNoCapability;
  if (found.in_upper && found.marks.bare) flags |= kNoXattrs;
  if (found.in_upper && S_ISDIR(found.type) && found.lower.empty()) flags |= kOpaque;
  const uint64_t object = found.in_upper ? found.status.st_ino : 0;
  if (record == nullptr) record = table_.intern(ino, toc, parent, name, flags, object);
  if (record == nullptr) return ENOMEM;
  const uint64_t known = record->object.load(std::memory_order_acquire);
  if (known != object && found.in_upper && known != 0) {
    // Two objects say that they stand for one lower file (somebody copied the upper's files): the second one
    // is a file of its own.
    forget(record->node, 1);
    record = table_.intern(ino_of(found.status), 0, parent, name, flags, object);
    if (record == nullptr) return ENOMEM;
  }
  if (known == 0 && found.in_upper && !record->has(kUpper | kRemoved)) {
    // Copied up, by a server that was killed before it wrote that down, or by one of this one's threads,
    // which is about to.
    record->object.store(object, std::memory_order_release);
    record->set(flags);
  }
  out.attr_valid = attr_valid(record);
  const bool one_less = found.in_upper && record->has(kOrphan) && rehome(*record, parent, name);
  remember_lower(record->node, found.lower);
  out.nodeid = record->node;
  out.generation = table_.is_toc(record->node) ? 0 : record->generation;
  if (found.in_upper && !record->has(kOrphan | kMetacopy | kNamesBelow)) {
    out.attr = fuse::Attr{};
    fill(found.status, out.attr);
    out.attr.ino = record->ino;
    if (S_ISDIR(found.type) && !record->has(kOpaque)) out.attr.nlink = 1;
    // The link by which it was kept is gone since.
    if (one_less) --out.attr.nlink;
    return 0;
  }
  const int error = attributes(record->node, out.attr);
  if (error != 0) forget(record->node, 1);
  return error;
}

int Union::entry_reply(uint64_t parent, std::string_view name, const Found& found, fuse::Reply& reply) {
  fuse::EntryOut out;
  if (const int error = entry(parent, name, found, out); error != 0) return error;
  return reply.put(out) ? 0 : EIO;
}

// A file whose known name was removed is found by another: that is its place from now on.
bool Union::rehome(NodeRecord& record, uint64_t parent, std::string_view name) {
  const std::lock_guard guard(copy_lock(record.node));
  if (!record.has(kOrphan)) return false;
  table_.move(record, parent, name);
  record.clear(kOrphan);
  unlinkat(upper_.work(), Upper::orphan_name(record.node).c_str(), 0);
  return true;
}

int Union::lookup(uint64_t parent, std::string_view name, fuse::Reply& reply) {
  if (name.size() > kNameMax) return ENAMETOOLONG;
  Found found;
  if (const int error = find_child(parent, name, found); error != 0) return error;
  return entry_reply(parent, name, found, reply);
}

void Union::forget(uint64_t node, uint64_t count) {
  if (node == fuse::kRootId) return;
  table_.forget(node, count, [&](const NodeRecord& record) {
    if (files_ != nullptr) files_->drop(node);
    if (dirs_ != nullptr) dirs_->drop(node);
    forget_lower(node);
    forget_listing(node);
    if (const uint32_t backing = record.backing.load(); backing != 0) close_backing_number(backing);
    if (record.has(kOrphan)) unlinkat(upper_.work(), Upper::orphan_name(node).c_str(), 0);
    if (record.has(kRemoved)) {
      const std::lock_guard guard(removed_mutex_);
      removed_.erase(node);
    }
  });
}

int Union::statfs(fuse::Reply& reply) {
  if (!has_upper_ && options_.lower_fds.empty()) return image_->statfs(reply);
  struct statvfs status {};
  if (fstatvfs(has_upper_ ? upper_.root() : options_.lower_fds[0], &status) != 0) return errno;
  const fuse::Kstatfs out{.blocks = status.f_blocks,
                          .bfree = has_upper_ ? status.f_bfree : 0,
                          .bavail = has_upper_ ? status.f_bavail : 0,
                          .files = status.f_files,
                          .ffree = has_upper_ ? status.f_ffree : 0,
                          .bsize = static_cast<uint32_t>(status.f_bsize),
                          .namelen = kNameMax,
                          .frsize = static_cast<uint32_t>(status.f_frsize)};
  return reply.put(out) ? 0 : EIO;
}

}  // namespace lamina::overlay

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

#include "overlay/entries.h"
#include "overlay/union.h"
#include "sys/at.h"

namespace lamina::overlay {

namespace {

// Takes a temporary object away again unless it was given its place.
class Temporary {
 public:
  Temporary(int dir, std::string name) : dir_(dir), name_(std::move(name)) {}
  ~Temporary() {
    if (!done_ && unlinkat(dir_, name_.c_str(), 0) != 0) unlinkat(dir_, name_.c_str(), AT_REMOVEDIR);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  void done() { done_ = true; }

 private:
  int dir_;
  std::string name_;
  bool done_ = false;
};

// Puts the times of a directory back to what they were before it got an entry that it had all along.
class KeepTimes {
 public:
  explicit KeepTimes(int dir) : dir_(dir) { known_ = at::stat(dir, at::kSelf, before_) == 0; }
  ~KeepTimes() {
    if (!known_) return;
    const timespec times[2] = {before_.st_atim, before_.st_mtim};
    utimensat(dir_, at::kSelf, times, AT_SYMLINK_NOFOLLOW);
  }
  KeepTimes(const KeepTimes&) = delete;
  KeepTimes& operator=(const KeepTimes&) = delete;

 private:
  int dir_;
  bool known_ = false;
  struct stat before_ {};
};

// Takes back the names that a file was given unless it got them all: some names that lead to it and others
// that lead to the lower file would be two files.
class GivenNames {
 public:
  GivenNames() = default;
  ~GivenNames() {
    for (const auto& [dir, name] : names_) {
      const KeepTimes keep(dir);
      unlinkat(dir, name.c_str(), 0);
    }
  }
  GivenNames(const GivenNames&) = delete;
  GivenNames& operator=(const GivenNames&) = delete;
  // The directory stays open for longer than this.
  void add(int dir, std::string name) { names_.emplace_back(dir, std::move(name)); }
  void done() { names_.clear(); }

 private:
  std::vector<std::pair<int, std::string>> names_;
};

// Refused by filesystems and namespaces that do not know an attribute; an object without it is better than
// none.
bool may_be_left_out(int error) { return error == EOPNOTSUPP || error == EPERM || error == EINVAL; }

}  // namespace

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

int Union::copy_xattrs(const Lower& lower, int dir, const char* name) {
  const auto set = [&](const std::string& attribute, std::string_view value) {
    const int error = -at::set_xattr(dir, name, attribute.c_str(), value.data(), value.size(), 0);
    return may_be_left_out(error) ? 0 : error;
  };
  if (!lower.has_layers()) {
    if (!image_->has_xattrs()) return 0;
    toc::XattrCursor cursor = image_->toc().xattrs(image_->toc().inode(lower.toc));
    while (const auto attribute = cursor.next()) {
      if (is_private(attribute->name)) continue;
      const int error = set(upper_.names().on_disk(attribute->name), attribute->value);
      if (error != 0) return error;
    }
    return 0;
  }
  const LayerPath& top = lower.layers->front();
  const int layer = options_.lower_fds[top.layer];
  std::vector<char> list;
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
    if (const int failed = set(attribute, value); failed != 0) return failed;
  }
  return 0;
}

int Union::copy_attributes(const Lower& lower, int dir, const char* name, const struct stat& status) {
  const ObjectAttributes attributes{status.st_mode, status.st_uid,  status.st_gid,
                                    status.st_rdev, status.st_atim, status.st_mtim};
  // Owner before attributes: chown(2) takes capabilities away.
  if (const int error = upper_.set_attributes(dir, name, attributes); error != 0) return error;
  return copy_xattrs(lower, dir, name);
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
  return "ino:" + links_name(status);
}

// The lower file as a text: the place of its device in the list, its inode number, and what tells it from a
// later file of that number (another stack may be mounted over the same upper).
std::string Union::links_name(const struct stat& lower) const {
  char text[96];
  const std::shared_lock guard(devices_mutex_);
  const auto place =
      static_cast<unsigned>(std::find(devices_.begin(), devices_.end(), lower.st_dev) - devices_.begin());
  const auto number = [](auto value) { return static_cast<unsigned long long>(value); };
  snprintf(text, sizeof text, "%x:%llx:%llx.%llx:%llx", place, number(lower.st_ino),
           number(lower.st_ctim.tv_sec), number(lower.st_ctim.tv_nsec), number(lower.st_size));
  return text;
}

// Gives a lower name whose file was copied up by another name its link in the upper. True when it has one
// now.
bool Union::heal_link(uint64_t parent, std::string_view name, const Found& found) {
  const std::string kept = links_name(found.status);
  struct stat status {};
  if (at::stat(upper_.links(), kept.c_str(), status) < 0) return false;
  FileRef dir;
  if (copy_up_dir(parent, dir) != 0) return false;
  const std::string text(name);
  const std::lock_guard guard(copy_lock(status.st_ino));
  const KeepTimes keep(dir->get());
  if (linkat(upper_.links(), kept.c_str(), dir->get(), text.c_str(), 0) != 0) return errno == EEXIST;
  Marks marks;
  read_marks(upper_.names(), dir->get(), text.c_str(), marks);
  if (marks.links > 1) {
    const std::string left = std::to_string(marks.links - 1);
    at::set_xattr(dir->get(), text.c_str(), upper_.names().links.c_str(), left.data(), left.size(), 0);
  } else {
    at::remove_xattr(dir->get(), text.c_str(), upper_.names().links.c_str());
    unlinkat(upper_.links(), kept.c_str(), 0);
  }
  return true;
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

int Union::copy_up(uint64_t node, Copy what, uint64_t data_size) {
  NodeRecord* record = table_.find(node);
  if (record == nullptr && !(image_ != nullptr && table_.is_toc(node))) return ESTALE;
  if (record != nullptr && record->has(kUpper)) {
    if (what == Copy::kAttributes || !record->has(kMetacopy)) return 0;
    return copy_up_data(*record, data_size);
  }
  struct stat status {};
  if (const int error = lower_status(lower_of(node), status); error != 0) return error;
  if (S_ISDIR(status.st_mode)) {
    FileRef unused;
    return copy_up_dir(node, unused);
  }
  return copy_up_file(node, what, data_size);
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

int Union::copy_up_file(uint64_t node, Copy what, uint64_t data_size) {
  if (!has_upper_) return EROFS;
  const Lower lower = lower_of(node);
  NodeRecord* record = table_.find(node);
  // The directories first, without a lock of their own.
  std::vector<Place> places;
  const bool removed = record != nullptr && record->has(kRemoved);
  if (record != nullptr && !removed) {
    places.push_back(table_.place(*record));
  } else if (record == nullptr) {
    for (const Home& home : homes(static_cast<uint32_t>(node))) {
      places.push_back({home.parent, std::string(home.name)});
    }
  }
  std::vector<FileRef> dirs(places.size());
  for (size_t at = 0; at < places.size(); ++at) {
    const int error = copy_up_dir(places[at].parent, dirs[at]);
    // One of several names may be hidden, or moved to where it cannot be told from here.
    if (error != 0 && (places.size() == 1 || error != ENOENT)) return error;
  }
  const std::lock_guard guard(copy_lock(node));
  record = table_.find(node);
  if (record != nullptr && record->has(kUpper)) return 0;

  struct stat status {};
  if (const int error = lower_status(lower, status); error != 0) return error;
  const std::string origin = origin_text(node, lower, status);
  for (size_t at = 0; at < places.size(); ++at) {
    if (dirs[at] != nullptr && adopt(node, origin, places[at], dirs[at]->get())) return 0;
  }
  const bool regular = S_ISREG(status.st_mode);
  const uint64_t size = std::min<uint64_t>(data_size, static_cast<uint64_t>(status.st_size));
  const bool metacopy = regular && what == Copy::kAttributes && status.st_size > 0;
  // Files of directories: their other names are found when they are looked up.
  const bool links_below = !removed && lower.has_layers() && status.st_nlink > 1;
  const std::string temporary = upper_.temporary_name();
  std::string target;
  if (S_ISLNK(status.st_mode)) {
    target.resize(PATH_MAX);
    fuse::Reply text(reinterpret_cast<uint8_t*>(target.data()), target.size());
    if (const int error = readlink(node, text); error != 0) return error;
    target.resize(text.size());
  }
  const ObjectAttributes attributes{status.st_mode, 0, 0, status.st_rdev, {}, {}};
  if (const int error = upper_.make_exactly(temporary.c_str(), attributes, target.c_str()); error != 0)
    return error;
  Temporary guard_temporary(upper_.work(), temporary);
  UniqueFd file;
  if (regular && status.st_size > 0) {
    const int fd = at::open(upper_.work(), temporary.c_str(), O_WRONLY);
    if (fd < 0) return -fd;
    file.reset(fd);
    const int error =
        metacopy ? (ftruncate(fd, status.st_size) == 0 ? 0 : errno) : copy_data(lower, fd, size);
    if (error != 0) return error;
  }
  if (const int error = copy_attributes(lower, upper_.work(), temporary.c_str(), status); error != 0)
    return error;
  const auto mark = [&](const std::string& attribute, std::string_view value) {
    return -at::set_xattr(upper_.work(), temporary.c_str(), attribute.c_str(), value.data(), value.size(), 0);
  };
  if (metacopy) {
    // By name where it lies at the same place as the lower file; else by path.
    int error = mark(upper_.names().metacopy, {});
    if (error == 0 && (places.size() != 1 || removed || links_below))
      error = mark(upper_.names().redirect, lower_path(lower));
    if (error != 0) return error;
  }
  if (const int error = mark(upper_.names().origin, origin); error != 0 && !may_be_left_out(error))
    return error;
  if (file.valid() && !metacopy) {
    if (const int error = upper_.sync(file.get(), false); error != 0) return error;
  }
  struct stat made {};
  if (const int error = at::stat(upper_.work(), temporary.c_str(), made); error < 0) return -error;
  const uint32_t flags = kUpper | (metacopy ? kMetacopy : 0U) | (links_below ? kLinksBelow : 0U);
  GivenNames given;
  if (links_below) {
    // Before it has a name: whatever happens after this, all names lead to it.
    const std::string left = std::to_string(status.st_nlink - 1);
    if (const int error = mark(upper_.names().links, left); error != 0) return error;
    const std::string kept = links_name(status);
    unlinkat(upper_.links(), kept.c_str(), 0);
    if (linkat(upper_.work(), temporary.c_str(), upper_.links(), kept.c_str(), 0) != 0) return errno;
    given.add(upper_.links(), kept);
  }

  if (removed) {
    const std::string name = Upper::orphan_name(node);
    if (renameat(upper_.work(), temporary.c_str(), upper_.work(), name.c_str()) != 0) return errno;
    given.done();
    guard_temporary.done();
    record->object.store(made.st_ino, std::memory_order_release);
    record->set(flags | kOrphan);
    record->clear(kRemoved);
    return 0;
  }
  // Several names are not given in one step: until all are, the file is kept where the next mount finds it.
  const bool several = places.size() > 1;
  if (several) {
    unlinkat(upper_.links(), origin.c_str(), 0);
    if (linkat(upper_.work(), temporary.c_str(), upper_.links(), origin.c_str(), 0) != 0) return errno;
    given.add(upper_.links(), origin);
  }
  size_t placed = SIZE_MAX;
  for (size_t at = 0; at < places.size(); ++at) {
    if (dirs[at] == nullptr) continue;
    const KeepTimes keep(dirs[at]->get());
    const int result = places.size() == 1 ? renameat2(upper_.work(), temporary.c_str(), dirs[at]->get(),
                                                      places[at].name.c_str(), RENAME_NOREPLACE)
                                          : linkat(upper_.work(), temporary.c_str(), dirs[at]->get(),
                                                   places[at].name.c_str(), 0);
    if (result != 0) {
      // A name that is hidden is not one of the file any more.
      if (errno == EEXIST && places.size() > 1) continue;
      return errno;
    }
    if (several) given.add(dirs[at]->get(), places[at].name);
    if (placed == SIZE_MAX) placed = at;
  }
  if (several) unlinkat(upper_.links(), origin.c_str(), 0);
  if (placed == SIZE_MAX) return ENOENT;
  given.done();
  if (places.size() == 1) guard_temporary.done();
  if (record != nullptr) {
    record->object.store(made.st_ino, std::memory_order_release);
    record->set(flags);
  } else if (table_.attach(node, places[placed].parent, places[placed].name, flags, made.st_ino) == nullptr) {
    return ENOMEM;
  }
  files_->drop(node);
  return 0;
}

// A server that was killed may have copied the file up, and not have lived to write down that it did.
bool Union::adopt(uint64_t node, const std::string& origin, const Place& place, int dir) {
  struct stat status {};
  Marks marks;
  if (upper_.stat(dir, place.name.c_str(), status) != 0 ||
      read_marks(upper_.names(), dir, place.name.c_str(), marks) < 0 || marks.origin != origin) {
    return false;
  }
  const uint32_t flags = kUpper | (marks.metacopy ? kMetacopy : 0U) | (marks.links > 0 ? kLinksBelow : 0U);
  NodeRecord* record = table_.find(node);
  if (record == nullptr)
    return table_.attach(node, place.parent, place.name, flags, status.st_ino) != nullptr;
  record->object.store(status.st_ino, std::memory_order_release);
  record->set(flags);
  return true;
}

// Names that a server was about to give when the machine stopped.
void Union::finish_links() {
  std::vector<std::string> unfinished;
  const int fd = at::open(upper_.links(), at::kSelf, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return;
  for_each_entry(fd, [&](const char* name, uint8_t, int) {
    if (strncmp(name, "toc:", 4) == 0) unfinished.emplace_back(name);
  });
  for (const std::string& kept : unfinished) {
    if (const uint32_t ino = toc_of_origin(kept); ino != 0) {
      for (const Home& home : homes(ino)) {
        FileRef dir;
        if (copy_up_dir(home.parent, dir) != 0) continue;
        const KeepTimes keep(dir->get());
        // What has come to the name since then stays.
        linkat(upper_.links(), kept.c_str(), dir->get(), std::string(home.name).c_str(), 0);
      }
    }
    unlinkat(upper_.links(), kept.c_str(), 0);
  }
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
    const timespec times[2] = {before.st_atim, before.st_mtim};
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

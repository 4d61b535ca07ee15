// Copying up what is not a directory.
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "overlay/placing.h"
#include "overlay/union.h"
#include "sys/at.h"

namespace lamina::overlay {

namespace {

// Whether it is copied for being cut short: the copy is a changed file from the moment that it has its place.
bool is_cut(const struct stat& lower, bool with_data, uint64_t data_size) {
  return with_data && S_ISREG(lower.st_mode) && data_size < static_cast<uint64_t>(lower.st_size);
}

}  // namespace

int Union::copy_up_file(uint64_t node, const Lower& lower, const struct stat& status, Copy what,
                        uint64_t data_size, Change* change) {
  if (!has_upper_) return EROFS;
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

  const std::string origin = origin_text(node, lower, status);
  // Files of directories: their other names are found when they are looked up.
  bool names_below = !removed && lower.has_layers() && status.st_nlink > 1;
  const bool regular = S_ISREG(status.st_mode);
  if (regular && places.size() == 1 && !names_below && upper_.makes_unnamed()) {
    return copy_up_unnamed(node, lower, status, origin, places[0], dirs[0]->get(), what, data_size, change);
  }
  for (size_t at = 0; at < places.size(); ++at) {
    if (dirs[at] != nullptr && adopt(node, origin, places[at], dirs[at]->get())) return 0;
  }
  const uint64_t size = std::min<uint64_t>(data_size, static_cast<uint64_t>(status.st_size));
  const bool metacopy = regular && what == Copy::kAttributes && status.st_size > 0;
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
  struct stat to_be = status;
  if (is_cut(status, what == Copy::kData, size)) to_be.st_mtim.tv_nsec = UTIME_NOW;
  if (const int error = copy_attributes(lower, upper_.work(), temporary.c_str(), to_be); error != 0)
    return error;
  const auto mark = [&](const std::string& attribute, std::string_view value) {
    return -at::set_xattr(upper_.work(), temporary.c_str(), attribute.c_str(), value.data(), value.size(), 0);
  };
  if (metacopy) {
    // By name where it lies at the same place as the lower file; else by path.
    int error = mark(upper_.names().metacopy, {});
    if (error == 0 && (places.size() != 1 || removed || names_below))
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
  if (names_below) {
    const std::string left = std::to_string(status.st_nlink - 1);
    const int error = mark(upper_.names().names_below, left);
    if (error != 0 && !may_be_left_out(error)) return error;
    // What cannot say how many names are left goes its own way.
    names_below = error == 0;
  }
  const uint32_t flags = kUpper | (metacopy ? kMetacopy : 0U) | (names_below ? kNamesBelow : 0U);
  GivenNames given;
  if (names_below) {
    // Before it has its name: from that moment on all names lead to it (restore_names, for what stops here).
    const std::string kept = lower_identity(status);
    unlinkat(upper_.kept(), kept.c_str(), 0);
    if (linkat(upper_.work(), temporary.c_str(), upper_.kept(), kept.c_str(), 0) != 0) return errno;
    given.add(upper_.kept(), kept);
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
    unlinkat(upper_.kept(), origin.c_str(), 0);
    if (linkat(upper_.work(), temporary.c_str(), upper_.kept(), origin.c_str(), 0) != 0) return errno;
    given.add(upper_.kept(), origin);
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
  if (several) unlinkat(upper_.kept(), origin.c_str(), 0);
  if (placed == SIZE_MAX) return ENOENT;
  given.done();
  if (places.size() == 1) guard_temporary.done();
  if (record != nullptr) {
    copied_up(*record, made, flags);
  } else if (table_.attach(node, places[placed].parent, places[placed].name, flags, made.st_ino) == nullptr) {
    return ENOMEM;
  }
  files_->drop(node);
  return 0;
}

void Union::copied_up(NodeRecord& record, const struct stat& made, uint32_t flags) {
  record.object.store(made.st_ino, std::memory_order_release);
  record.set(flags);
}

// The way of almost all files: made without a name, by its descriptor, and given its place by one link. What
// the caller is about to change is changed on the way, so that it costs no more look-ups.
int Union::copy_up_unnamed(uint64_t node, const Lower& lower, const struct stat& status,
                           const std::string& origin, const Place& place, int dir, Copy what,
                           uint64_t data_size, Change* change) {
  const bool metacopy = what == Copy::kAttributes && status.st_size > 0;
  UniqueFd file(openat(upper_.work(), at::kSelf, O_TMPFILE | O_RDWR | O_CLOEXEC, status.st_mode & 07777));
  if (!file.valid()) return errno;
  const int fd = file.get();
  if (metacopy) {
    if (ftruncate(fd, status.st_size) != 0) return errno;
  } else if (status.st_size > 0) {
    const uint64_t size = std::min<uint64_t>(data_size, static_cast<uint64_t>(status.st_size));
    if (const int error = copy_data(lower, fd, size); error != 0) return error;
  }
  struct stat made {};
  if (fstat(fd, &made) != 0) return errno;
  if (made.st_uid != status.st_uid || made.st_gid != status.st_gid) {
    if (fchown(fd, status.st_uid, status.st_gid) != 0) return errno;
    // It takes setuid bits away.
    made.st_mode &= ~static_cast<mode_t>(S_ISUID | S_ISGID);
  }
  if (made.st_mode != status.st_mode && fchmod(fd, status.st_mode & 07777) != 0) return errno;
  uint32_t flags = kUpper | kNoCapability | kNoXattrs | (metacopy ? kMetacopy : 0U);
  const auto mark = [&](const std::string& attribute, std::string_view value) {
    return fsetxattr(fd, attribute.c_str(), value.data(), value.size(), 0) == 0 ? 0 : errno;
  };
  // Owner before attributes: chown(2) takes capabilities away.
  const int copied = copy_xattrs(lower, [&](const char* attribute, std::string_view value) {
    flags &= ~(kNoCapability | kNoXattrs);
    return mark(attribute, value);
  });
  if (copied != 0) return copied;
  // Its data is found by name where it lies at the same place as the lower file.
  if (metacopy) {
    if (const int error = mark(upper_.names().metacopy, {}); error != 0) return error;
  }
  if (const int error = mark(upper_.names().origin, origin); error != 0 && !may_be_left_out(error)) {
    return error;
  }
  timespec times[2] = {status.st_atim, status.st_mtim};
  if (is_cut(status, what == Copy::kData, data_size)) times[1].tv_nsec = UTIME_NOW;
  if (futimens(fd, times) != 0) return errno;
  if (!metacopy && status.st_size > 0) {
    if (const int error = upper_.sync(fd, false); error != 0) return error;
  }
  if (change != nullptr) {
    if (const int error = change_open(fd, change->in); error != 0) return error;
  }
  {
    const KeepTimes keep(dir);
    if (const int error = Upper::give_place(fd, dir, place.name.c_str()); error != 0) {
      return error == EEXIST && adopt(node, origin, place, dir) ? 0 : error;
    }
  }
  NodeRecord* record = table_.find(node);
  if (record != nullptr) {
    copied_up(*record, made, flags);
  } else {
    record = table_.attach(node, place.parent, place.name, flags, made.st_ino);
    if (record == nullptr) return ENOMEM;
  }
  if (change != nullptr) {
    if (fstat(fd, &made) != 0) return errno;
    fill(made, change->attr);
    change->attr.ino = record->ino;
    if (metacopy) change->attr.blocks = static_cast<uint64_t>(status.st_blocks);
    change->done = true;
  }
  files_->drop(node);
  // Whoever wanted the data is about to write it.
  if (what == Copy::kData) {
    files_->put(node, std::make_shared<OpenFile>(OpenFile{std::move(file), true}));
  }
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
  const uint32_t flags =
      kUpper | (marks.metacopy ? kMetacopy : 0U) | (marks.names_below > 0 ? kNamesBelow : 0U);
  NodeRecord* record = table_.find(node);
  if (record == nullptr)
    return table_.attach(node, place.parent, place.name, flags, status.st_ino) != nullptr;
  record->object.store(status.st_ino, std::memory_order_release);
  record->set(flags);
  return true;
}

}  // namespace lamina::overlay

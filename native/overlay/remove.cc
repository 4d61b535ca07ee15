// Taking names away: UNLINK and RMDIR (kernel: fs/overlayfs/dir.c, ovl_do_remove). The name is hidden by a
// whiteout where a lower layer has it. Files may be open without the server knowing, because the kernel does
// not send OPEN: the object of a file's last name is kept in the work directory until the kernel forgets the
// node.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "overlay/entries.h"
#include "overlay/union.h"
#include "sys/at.h"

namespace lamina::overlay {

// Whether a file that lies below has more names than one.
bool Union::has_other_names(const Found& found) const {
  if (found.in_upper || S_ISDIR(found.type)) return false;
  return found.lower.has_layers() ? found.status.st_nlink > 1 : more_homes_.contains(found.lower.toc);
}

bool Union::lower_has(uint64_t parent, std::string_view name) {
  Found below;
  find_lower(lower_of(parent), name, below);
  return below.type != 0;
}

int Union::unlink(uint64_t parent, std::string_view name, const fuse::Caller& caller) {
  if (!has_upper_) return EROFS;
  Found found;
  if (const int error = find_child(parent, name, found); error != 0) return error;
  if (found.type == 0) return caller.replayed ? 0 : ENOENT;
  if (S_ISDIR(found.type)) return EISDIR;
  const uint64_t node = table_.node_of_ino(ino_of_found(found));
  // All names of a lower file are copied up before one of them goes, so that the others keep the right count.
  if (has_other_names(found)) {
    if (const int error = copy_up(node, Copy::kAttributes); error != 0) return error;
    if (const int error = find_child(parent, name, found); error != 0) return error;
  }
  FileRef dir;
  if (const int error = copy_up_dir(parent, dir); error != 0) return error;
  if (!found.in_upper) {
    const std::string text(name);
    if (const int error = upper_.make_whiteout(dir->get(), text.c_str()); error != 0) return error;
    if (node == 0) return 0;
    const uint64_t known = found.lower.has_layers() ? node : found.lower.toc;
    NodeRecord* record = table_.find(known);
    if (record == nullptr && table_.is_toc(known)) record = table_.attach(known, parent, name, kRemoved, 0);
    if (record != nullptr && !record->has(kUpper)) table_.set_removed(*record, true);
    return 0;
  }
  return take_away(parent, name, found, node);
}

// What is needed of a file whose name goes, for those that still hold its node.
Union::Keep Union::what_to_keep(const NodeRecord* record, uint64_t parent, std::string_view name,
                                const struct stat& status) const {
  if (record == nullptr || !record->has(kUpper) || record->has(kOrphan) ||
      record->object.load() != status.st_ino) {
    return Keep::kNothing;
  }
  if (status.st_nlink > 1) {
    // Another name goes; the one that leads to the node stays.
    const Place place = table_.place(*record);
    return place.parent == parent && place.name == name ? Keep::kObject : Keep::kNothing;
  }
  // Where OPEN is not asked for, any file may be open.
  return backing_device_ < 0 || record->opens.load() > 0 ? Keep::kObject : Keep::kAttributes;
}

// The node has no name and no object any more; `status` is what it was.
void Union::mark_removed(NodeRecord& record, const struct stat& status) {
  fuse::Attr attr{};
  fill(status, attr);
  attr.ino = record.ino;
  attr.nlink = 0;
  {
    const std::lock_guard guard(removed_mutex_);
    removed_[record.node] = attr;
  }
  table_.set_removed(record, true);
}

void Union::unmark_removed(NodeRecord& record) {
  table_.set_removed(record, false);
  const std::lock_guard guard(removed_mutex_);
  removed_.erase(record.node);
}

// Removes the upper object of a file's name.
int Union::take_away(uint64_t parent, std::string_view name, const Found& found, uint64_t node) {
  FileRef dir;
  if (const int error = dir_file(parent, dir); error != 0) return error;
  const std::string text(name);
  const bool hide = lower_has(parent, name);
  NodeRecord* record = node == 0 ? nullptr : table_.find(node);
  const Keep keep = what_to_keep(record, parent, name, found.status);
  if (keep == Keep::kObject) {
    const std::lock_guard guard(copy_lock(node));
    if (record->has(kMetacopy)) {
      if (const int error = set_redirect(node); error != 0) return error;
    }
    const std::string kept = Upper::orphan_name(node);
    if (hide) {
      // The object's second name, then a whiteout over its first: at no moment is the lower file seen.
      if (linkat(dir->get(), text.c_str(), upper_.work(), kept.c_str(), 0) != 0 && errno != EEXIST)
        return errno;
      record->set(kOrphan);
      const int error = upper_.make_whiteout(dir->get(), text.c_str());
      if (error == 0) return 0;
      // It has its name still, and no other.
      record->clear(kOrphan);
      unlinkat(upper_.work(), kept.c_str(), 0);
      return error;
    }
    if (renameat(dir->get(), text.c_str(), upper_.work(), kept.c_str()) == 0) {
      record->set(kOrphan);
      return 0;
    }
    if ((errno != EDQUOT && errno != ENOSPC) || found.status.st_nlink > 1) return errno;
    // Removing must work where there is no room for another name: what is open lives as long as its
    // descriptor is kept.
    FileRef held;
    data_file(node, false, held);
    mark_removed(*record, found.status);
    if (unlinkat(dir->get(), text.c_str(), 0) == 0) return 0;
    const int error = errno;
    unmark_removed(*record);
    return error;
  }
  // Before the object is gone: its number may be another's right after that.
  if (keep == Keep::kAttributes) {
    drop_idle_backing(*record);
    mark_removed(*record, found.status);
  }
  int error = 0;
  if (hide) {
    error = upper_.make_whiteout(dir->get(), text.c_str());
  } else if (unlinkat(dir->get(), text.c_str(), 0) != 0) {
    error = errno;
  }
  if (error != 0 && keep == Keep::kAttributes) unmark_removed(*record);
  return error;
}

int Union::check_empty(uint64_t node) {
  bool empty = true;
  const int error = list(node, [&](std::string_view, uint8_t, size_t) { empty = false; });
  if (error != 0) return error;
  return empty ? 0 : ENOTEMPTY;
}

// What is left in an empty directory: whiteouts.
int Union::clear_whiteouts(int dir) {
  const int fd = at::open(dir, at::kSelf, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return -fd;
  int error = 0;
  const int failed = for_each_entry(fd, [&](const char* child, uint8_t, int open) {
    struct stat status {};
    if (upper_.stat(open, child, status) != 0 || !upper_.is_whiteout(open, child, status)) {
      error = ENOTEMPTY;
    } else if (unlinkat(open, child, 0) != 0) {
      error = errno;
    }
  });
  return failed != 0 ? failed : error;
}

int Union::rmdir(uint64_t parent, std::string_view name, const fuse::Caller& caller) {
  if (!has_upper_) return EROFS;
  Found found;
  if (const int error = find_child(parent, name, found); error != 0) return error;
  if (found.type == 0) return caller.replayed ? 0 : ENOENT;
  if (!S_ISDIR(found.type)) return ENOTDIR;
  fuse::EntryOut entry_out;
  // The node is needed to list it, and to say what it was to those that still hold it.
  if (const int error = entry(parent, name, found, entry_out); error != 0) return error;
  const uint64_t node = entry_out.nodeid;
  const auto finish = [&](int error) {
    forget(node, 1);
    return error;
  };
  // A server that was killed had marked it, and no more.
  if (NodeRecord* marked = table_.find(node); marked != nullptr && marked->has(kRemoved))
    unmark_removed(*marked);
  if (const int error = check_empty(node); error != 0) return finish(error);
  FileRef dir;
  if (const int error = copy_up_dir(parent, dir); error != 0) return finish(error);
  const std::string text(name);
  const bool hide = lower_has(parent, name);
  NodeRecord* record = table_.find(node);
  if (record == nullptr) record = table_.attach(node, parent, name, 0, 0);
  if (record == nullptr) return finish(ENOMEM);
  if (found.in_upper) {
    mark_removed(*record, found.status);
  } else {
    {
      entry_out.attr.nlink = 0;
      const std::lock_guard guard(removed_mutex_);
      removed_[node] = entry_out.attr;
    }
    table_.set_removed(*record, true);
  }
  int error = 0;
  if (!found.in_upper) {
    error = upper_.make_whiteout(dir->get(), text.c_str());
  } else if (hide) {
    // The directory and a whiteout change places in one step.
    const std::string temporary = upper_.temporary_name();
    error = upper_.make_whiteout(upper_.work(), temporary.c_str());
    if (error == 0 &&
        renameat2(upper_.work(), temporary.c_str(), dir->get(), text.c_str(), RENAME_EXCHANGE) != 0) {
      error = errno;
    }
    Upper::remove_tree(upper_.work(), temporary.c_str());
  } else if (unlinkat(dir->get(), text.c_str(), AT_REMOVEDIR) != 0) {
    error = errno;
    if (error == ENOTEMPTY || error == EEXIST) {
      const std::string temporary = upper_.temporary_name();
      error = renameat(dir->get(), text.c_str(), upper_.work(), temporary.c_str()) == 0 ? 0 : errno;
      if (error == 0) Upper::remove_tree(upper_.work(), temporary.c_str());
    }
  }
  if (error != 0) {
    unmark_removed(*record);
    return finish(error);
  }
  dirs_->drop(node);
  return finish(0);
}

}  // namespace lamina::overlay

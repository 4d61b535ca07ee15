// RENAME, of everything (kernel: fs/overlayfs/dir.c, ovl_rename). What moves is copied up first: of files the
// attributes, of directories only themselves; a redirect says where the rest is to be found. The name that it
// leaves behind is hidden by a whiteout where a lower layer has it, in the same step (RENAME_WHITEOUT).
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "overlay/union.h"
#include "sys/at.h"

namespace lamina::overlay {

// Says where the lower object is, so that it is found wherever the upper one goes.
int Union::set_redirect(uint64_t node) {
  NodeRecord* record = table_.find(node);
  if (record == nullptr) return ESTALE;
  return with_object(*record, [&](const At& at, const struct stat&) {
    const std::string& attribute = upper_.names().redirect;
    std::string known;
    if (at::read_xattr(at.fd(), at.c_str(), attribute.c_str(), known) == 0 && known.starts_with('/'))
      return 0;
    const std::string path = lower_path(lower_of(node));
    return -at::set_xattr(at.fd(), at.c_str(), attribute.c_str(), path.data(), path.size(), 0);
  });
}

// Copies up what is at (parent, name) and makes it fit for its new place; `node` is its node.
int Union::prepare_move(uint64_t parent, std::string_view name, uint64_t to_parent, std::string_view to_name,
                        uint64_t& node, Found& found) {
  if (const int error = find_child(parent, name, found); error != 0) return error;
  if (found.type == 0) return ENOENT;
  fuse::EntryOut out;
  if (const int error = entry(parent, name, found, out); error != 0) return error;
  node = out.nodeid;
  int error = copy_up(node, Copy::kAttributes);
  NodeRecord* record = error == 0 ? table_.find(node) : nullptr;
  if (error == 0 && record == nullptr) error = ESTALE;
  if (error == 0 && (S_ISDIR(found.type) ? !lower_of(node).empty() : record->has(kMetacopy))) {
    error = set_redirect(node);
  } else if (error == 0 && S_ISDIR(found.type) && lower_has(to_parent, to_name)) {
    // It would be merged with what lies below its new name.
    error = with_object(
        *record, [&](const At& at, const struct stat&) { return upper_.set_opaque(at.fd(), at.c_str()); });
    if (error == 0) record->set(kOpaque);
  }
  if (error == 0 && !found.in_upper) error = find_child(parent, name, found);
  forget(node, 1);
  return error;
}

// Takes away what the rename replaces, as far as rename(2) does not do it.
int Union::make_room(const Found& found, uint64_t node) {
  if (!S_ISDIR(found.type)) {
    // Its other names, if it has any, must be copied up before this one goes.
    return has_other_names(found) ? copy_up(node, Copy::kAttributes) : 0;
  }
  if (const int error = check_empty(node); error != 0) return error;
  if (!found.in_upper) return 0;
  FileRef dir;
  if (const int error = dir_file(node, dir); error != 0) return error;
  // Opaque first: the whiteouts in it hide what must not come back.
  if (!found.lower.empty()) {
    if (const int error = upper_.set_opaque(dir->get(), at::kSelf); error != 0) return error;
    if (NodeRecord* record = table_.find(node); record != nullptr) record->set(kOpaque);
  }
  return clear_whiteouts(dir->get());
}

// The rename itself. `trade_places`: a directory to where a whiteout is, which it cannot replace. `hide`: a
// whiteout is to be left behind.
int Union::move_object(const OpenFile& from, const char* name, const OpenFile& to, const char* new_name,
                       bool trade_places, bool hide) {
  if (trade_places) {
    if (renameat2(from.get(), name, to.get(), new_name, RENAME_EXCHANGE) != 0) return errno;
    return hide || unlinkat(from.get(), name, 0) == 0 ? 0 : errno;
  }
  if (renameat2(from.get(), name, to.get(), new_name, hide ? RENAME_WHITEOUT : 0) == 0) return 0;
  if (!hide || (errno != EINVAL && errno != EPERM)) return errno;
  // Not known to the filesystem, or not allowed to this process (before Linux 5.8): for a moment both names
  // are there.
  if (renameat(from.get(), name, to.get(), new_name) != 0) return errno;
  return upper_.make_whiteout(from.get(), name);
}

// Whether a server that was killed had made the exchange, and not lived to write down that its objects have
// moved; they have then.
bool Union::finish_exchange(const Place& one, const Place& other) {
  Found at_one;
  Found at_other;
  if (find_child(one.parent, one.name, at_one) != 0 || find_child(other.parent, other.name, at_other) != 0) {
    return false;
  }
  if (!at_one.in_upper || !at_other.in_upper) return false;
  NodeRecord* first = table_.find(table_.node_of_ino(ino_of_found(at_one)));
  NodeRecord* second = table_.find(table_.node_of_ino(ino_of_found(at_other)));
  const auto is_known_at = [&](const NodeRecord* record, const Place& place) {
    if (record == nullptr) return false;
    const Place known = table_.place(*record);
    return known.parent == place.parent && known.name == place.name;
  };
  if (!is_known_at(first, other) && !is_known_at(second, one)) return false;
  if (first != nullptr) table_.move(*first, one.parent, one.name);
  if (second != nullptr) table_.move(*second, other.parent, other.name);
  return true;
}

int Union::rename(uint64_t parent, std::string_view name, uint64_t new_parent, std::string_view new_name,
                  uint32_t flags, const fuse::Caller& caller) {
  if (!has_upper_) return EROFS;
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) != 0) return EINVAL;
  if (new_name.size() > NAME_MAX) return ENAMETOOLONG;
  if (is_reserved(new_name)) return EINVAL;
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;

  if (exchange && caller.replayed &&
      finish_exchange({parent, std::string(name)}, {new_parent, std::string(new_name)})) {
    return 0;
  }

  Found target;
  if (const int error = find_child(new_parent, new_name, target); error != 0) return error;
  if (exchange && target.type == 0) return ENOENT;
  Found source;
  uint64_t node = 0;
  if (const int error = prepare_move(parent, name, new_parent, new_name, node, source); error != 0) {
    if (error == ENOENT && caller.replayed && target.in_upper) {
      // Done by the server before this one, but for what it knew of the place.
      NodeRecord* record = table_.find(table_.node_of_ino(ino_of_found(target)));
      if (record != nullptr) table_.move(*record, new_parent, new_name);
      return 0;
    }
    return error;
  }
  if ((flags & RENAME_NOREPLACE) != 0 && target.type != 0) return EEXIST;
  NodeRecord* record = table_.find(node);
  if (record == nullptr) return ESTALE;

  uint64_t target_node = 0;
  bool hold = false;
  const auto finish = [&](int error) {
    if (hold) forget(target_node, 1);
    return error;
  };
  if (target.type != 0) {
    fuse::EntryOut out;
    if (const int error = entry(new_parent, new_name, target, out); error != 0) return error;
    target_node = out.nodeid;
    hold = true;
    // Two names of one file: rename(2) does nothing.
    if (target_node == node && !exchange) return finish(0);
    if (exchange) {
      uint64_t same = 0;
      const int error = prepare_move(new_parent, new_name, parent, name, same, target);
      if (error != 0) return finish(error);
    } else {
      if (S_ISDIR(source.type) && !S_ISDIR(target.type)) return finish(ENOTDIR);
      if (!S_ISDIR(source.type) && S_ISDIR(target.type)) return finish(EISDIR);
      if (const int error = make_room(target, target_node); error != 0) return finish(error);
      if (const int error = find_child(new_parent, new_name, target); error != 0) return finish(error);
    }
  }

  FileRef from;
  FileRef to;
  if (const int error = dir_file(parent, from); error != 0) return finish(error);
  if (const int error = copy_up_dir(new_parent, to); error != 0) return finish(error);
  const std::string old_text(name);
  const std::string new_text(new_name);

  if (exchange) {
    NodeRecord* other = table_.find(target_node);
    if (other == nullptr) return finish(ESTALE);
    if (renameat2(from->get(), old_text.c_str(), to->get(), new_text.c_str(), RENAME_EXCHANGE) != 0) {
      return finish(errno);
    }
    table_.move(*record, new_parent, new_name);
    table_.move(*other, parent, name);
    return finish(0);
  }

  // A whiteout that was asked for hides the name as any other does.
  const bool hide = (flags & RENAME_WHITEOUT) != 0 || lower_has(parent, name);
  NodeRecord* replaced = hold ? table_.find(target_node) : nullptr;
  const bool replaced_dir = hold && S_ISDIR(target.type);
  Keep keep = Keep::kNothing;
  if (target.in_upper && !replaced_dir && target.type != 0) {
    // What is replaced may be open: it is kept until the kernel forgets it.
    keep = what_to_keep(replaced, new_parent, new_name, target.status);
    if (keep == Keep::kObject) {
      const std::lock_guard guard(copy_lock(target_node));
      if (replaced->has(kMetacopy)) {
        if (const int error = set_redirect(target_node); error != 0) return finish(error);
      }
      const std::string kept = Upper::orphan_name(target_node);
      if (linkat(to->get(), new_text.c_str(), upper_.work(), kept.c_str(), 0) != 0 && errno != EEXIST) {
        return finish(errno);
      }
      replaced->set(kOrphan);
    }
  }

  // Before the object is gone: its number may be another's right after that.
  const bool goes = keep == Keep::kAttributes || (replaced_dir && target.in_upper && replaced != nullptr);
  if (keep == Keep::kAttributes) drop_idle_backing(*replaced);
  if (goes) mark_removed(*replaced, target.status);
  const bool trade_places = S_ISDIR(source.type) && target.type == 0 && target.whiteout;
  const int error = move_object(*from, old_text.c_str(), *to, new_text.c_str(), trade_places, hide);
  if (error != 0) {
    if (goes) unmark_removed(*replaced);
    if (replaced != nullptr && replaced->has(kOrphan)) rehome(*replaced, new_parent, new_name);
    return finish(error);
  }
  table_.move(*record, new_parent, new_name);
  if (goes) {
    dirs_->drop(target_node);
  } else if (hold && !target.in_upper) {
    if (replaced == nullptr && table_.is_toc(target_node)) {
      replaced = table_.attach(target_node, new_parent, new_name, 0, 0);
    }
    if (replaced != nullptr && !replaced->has(kUpper)) table_.set_removed(*replaced, true);
  }
  return finish(0);
}

}  // namespace lamina::overlay

// What a name leads to, through upper, layers and TOC (kernel: fs/overlayfs/namei.c, ovl_lookup).
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "overlay/union.h"
#include "sys/at.h"

namespace lamina::overlay {

namespace {

std::string joined(const std::string& directory, std::string_view name) {
  if (directory.empty() || directory == at::kSelf) return std::string(name);
  std::string path;
  path.reserve(directory.size() + 1 + name.size());
  return path.append(directory).append("/").append(name);
}

}  // namespace

bool Union::is_directory_beneath(int layer, const std::string& path) {
  const int fd = at::open_beneath(layer, path.c_str(), O_PATH | O_DIRECTORY);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

int Union::layer_stat(uint32_t layer, const char* path, struct stat& status) const {
  const int fd = options_.lower_fds[layer];
  if (const int error = at::stat(fd, path, status); error < 0) return -error;
  if (!layer_overrides_[layer].empty()) apply_override(fd, path, layer_overrides_[layer], status);
  return 0;
}

bool Union::is_hidden_below(int layer, const std::string& path) const {
  if (!options_.file_whiteouts) return false;
  const size_t slash = path.rfind('/');
  std::string whiteout = path;
  whiteout.insert(slash == std::string::npos ? 0 : slash + 1, kFileWhiteout);
  struct stat status {};
  return at::stat(layer, whiteout.c_str(), status) == 0;
}

bool Union::is_opaque_by_file(int layer, const std::string& path) const {
  struct stat status {};
  return options_.file_whiteouts && at::stat(layer, joined(path, ".wh..wh..opq").c_str(), status) == 0;
}

void Union::find_lower(const Lower& dir, std::string_view name, Found& found, size_t from) const {
  found.type = 0;
  std::vector<LayerPath> merged;
  bool stop = false;
  if (dir.has_layers() && !is_file_whiteout(name)) {
    // A layer's own redirect counts for the layers below it.
    std::string beneath(name);
    bool redirected = false;
    for (size_t index = from; index < dir.layers->size(); ++index) {
      const LayerPath& layer = (*dir.layers)[index];
      const int fd = options_.lower_fds[layer.layer];
      const std::string path = redirected ? beneath : joined(layer.path, beneath);
      struct stat status {};
      // What a layer says of another place in the layers below it must not lead out of them.
      if (redirected && !is_directory_beneath(fd, path)) continue;
      if (const int error = at::stat(fd, path.c_str(), status); error < 0) {
        if (error != -ENOENT && error != -ENOTDIR) {
          found.error = -error;
          return;
        }
        stop = is_hidden_below(fd, path);
        if (stop) break;
        continue;
      }
      if (is_device_whiteout(status)) {
        stop = true;
        break;
      }
      const std::string& kept = layer_overrides_[layer.layer];
      if (!S_ISDIR(status.st_mode)) {
        if (may_be_xattr_whiteout(status) &&
            at::get_xattr(fd, path.c_str(), layer_names_->whiteout.c_str(), nullptr, 0) >= 0) {
          stop = true;
          break;
        }
        if (merged.empty()) {
          if (!kept.empty()) apply_override(fd, path.c_str(), kept, status);
          found.type = status.st_mode & S_IFMT;
          found.status = status;
          merged.push_back({layer.layer, path});
        }
        stop = true;
        break;
      }
      if (merged.empty()) {
        if (!kept.empty()) apply_override(fd, path.c_str(), kept, status);
        found.type = S_IFDIR;
        found.status = status;
      }
      merged.push_back({layer.layer, path});
      Marks marks;
      if (const int error = read_marks(*layer_names_, fd, path.c_str(), marks); error < 0) {
        found.error = -error;
        return;
      }
      if (marks.opaque || is_hidden_below(fd, path) || is_opaque_by_file(fd, path)) {
        stop = true;
        break;
      }
      if (marks.has_redirect) {
        const bool absolute = marks.redirect.starts_with('/');
        // Else it is a name in the same directory (kernel: ovl_check_redirect).
        if (!absolute && (marks.redirect.find('/') != std::string::npos || marks.redirect == "..")) {
          stop = true;
          break;
        }
        redirected = absolute;
        beneath = absolute ? marks.redirect.substr(1) : marks.redirect;
      }
    }
  }
  if (!stop && dir.toc != 0) {
    const toc::Dirent* entry = image_->toc().lookup(dir.toc, name);
    if (entry != nullptr) {
      const mode_t type = image_->toc().inode(entry->ino).mode & S_IFMT;
      if (merged.empty()) {
        found.type = type;
        found.lower.toc = entry->ino;
      } else if (S_ISDIR(type) && S_ISDIR(found.type)) {
        found.lower.toc = entry->ino;
      }
    }
  }
  if (!merged.empty()) found.lower.layers = std::make_shared<const std::vector<LayerPath>>(std::move(merged));
}

void Union::find_redirect(const Lower& dir, std::string_view redirect, Found& found) const {
  if (!redirect.starts_with('/')) {
    if (redirect.find('/') == std::string_view::npos && redirect != "." && redirect != "..") {
      find_lower(dir, redirect, found);
    }
    return;
  }
  Found at;
  at.type = S_IFDIR;
  at.lower = root_lower_;
  redirect.remove_prefix(1);
  while (!redirect.empty() && S_ISDIR(at.type)) {
    const size_t slash = std::min(redirect.find('/'), redirect.size());
    Found next;
    const std::string_view part = redirect.substr(0, slash);
    if (part.empty() || part == "." || part == "..") break;
    find_lower(at.lower, part, next);
    at = std::move(next);
    redirect.remove_prefix(std::min(slash + 1, redirect.size()));
  }
  found.lower = at.lower;
  found.type = redirect.empty() ? at.type : 0;
  if (found.type == 0) found.lower = {};
  found.status = at.status;
}

int Union::find_child(uint64_t parent, std::string_view name, Found& found, size_t from) {
  found = Found{};
  const NodeRecord* record = table_.find(parent);
  if (record == nullptr && !table_.is_toc(parent)) return ESTALE;
  if (record != nullptr && record->has(kRemoved)) return ENOENT;
  const Lower lower = lower_of(parent);
  if (record != nullptr && record->has(kUpper)) {
    FileRef dir;
    if (const int error = dir_file(parent, dir); error != 0) return error;
    const std::string text(name);
    const int error = upper_.stat(dir->get(), text.c_str(), found.status);
    if (error != 0 && error != ENOENT) return error;
    if (error == 0) {
      if (const int failed = read_marks(upper_.names(), dir->get(), text.c_str(), found.marks); failed < 0) {
        return -failed;
      }
      if (is_device_whiteout(found.status) || (found.marks.whiteout && may_be_xattr_whiteout(found.status))) {
        found.whiteout = true;
        return 0;
      }
      found.in_upper = true;
      found.type = found.status.st_mode & S_IFMT;
      const bool is_dir = S_ISDIR(found.type);
      if ((is_dir && !found.marks.opaque) || found.marks.metacopy) {
        Found below;
        if (found.marks.has_redirect) {
          find_redirect(lower, found.marks.redirect, below);
        } else {
          find_lower(lower, name, below);
        }
        if (below.error != 0) return below.error;
        if (S_ISDIR(below.type) == is_dir && below.type != 0) found.lower = below.lower;
      }
      return 0;
    }
  }
  Found below;
  find_lower(lower, name, below, from);
  if (below.error != 0) return below.error;
  found.type = below.type;
  found.status = below.status;
  found.lower = below.lower;
  // Another of its names may have been copied up.
  if (has_upper_ && found.lower.has_layers() && !S_ISDIR(found.type) && found.status.st_nlink > 1) {
    const int error = give_name(parent, name, found);
    if (error == 0) return find_child(parent, name, found);
    // What is below is not that file any more.
    if (error != ENOENT) return error;
  }
  return 0;
}

Union::Lower Union::lower_of(uint64_t node) {
  const NodeRecord* record = table_.find(node);
  if (record == nullptr) return {nullptr, table_.is_toc(node) ? static_cast<uint32_t>(node) : 0};
  if (node == fuse::kRootId) return root_lower_;
  if (record->has(kOpaque)) return {};
  if (options_.lower_fds.empty()) {
    // Only the TOC can be below, and what the TOC is below of has its ino.
    return {nullptr, table_.is_toc(node) ? static_cast<uint32_t>(node) : 0};
  }
  LowerShard& shard = lowers_[node % kLowerShards];
  {
    const std::shared_lock guard(shard.mutex);
    if (const auto known = shard.of_node.find(node); known != shard.of_node.end()) return known->second;
  }
  Lower lower = derive_lower(*record);
  remember_lower(node, lower);
  return lower;
}

// After another server took over, or when a node was found by another way than its name.
Union::Lower Union::derive_lower(const NodeRecord& record) {
  const Place place = table_.place(record);
  if (!record.has(kUpper)) {
    Found below;
    find_lower(lower_of(place.parent), place.name, below);
    return below.lower;
  }
  At at;
  Marks marks;
  if (locate(const_cast<NodeRecord&>(record), at) != 0) return {};
  if (read_marks(upper_.names(), at.fd(), at.c_str(), marks) < 0 || marks.opaque) return {};
  Found below;
  if (marks.has_redirect) {
    find_redirect(lower_of(place.parent), marks.redirect, below);
  } else {
    find_lower(lower_of(place.parent), place.name, below);
  }
  return below.lower;
}

void Union::remember_lower(uint64_t node, const Lower& lower) {
  if (options_.lower_fds.empty()) return;
  LowerShard& shard = lowers_[node % kLowerShards];
  const std::lock_guard guard(shard.mutex);
  shard.of_node[node] = lower;
}

void Union::forget_lower(uint64_t node) {
  if (options_.lower_fds.empty()) return;
  LowerShard& shard = lowers_[node % kLowerShards];
  const std::lock_guard guard(shard.mutex);
  shard.of_node.erase(node);
}

std::string Union::lower_path(const Lower& lower) const {
  if (lower.has_layers()) return "/" + lower.layers->front().path;
  if (lower.toc == 0 || lower.toc == toc::kRootIno) return "/";
  std::string path;
  for (uint32_t ino = lower.toc; ino != toc::kRootIno;) {
    const toc::Dirent& entry = image_->toc().entry(home_dirent_[ino]);
    path.insert(0, std::string("/").append(image_->toc().name(entry)));
    ino = home_parent_[ino];
  }
  return path;
}

std::vector<Union::Home> Union::homes(uint32_t ino) const {
  std::vector<Home> all;
  if (ino == toc::kRootIno) return all;
  const toc::Toc& toc = image_->toc();
  all.push_back({home_parent_[ino], toc.name(toc.entry(home_dirent_[ino]))});
  if (const auto more = more_homes_.find(ino); more != more_homes_.end()) {
    for (const auto& [parent, dirent] : more->second) all.push_back({parent, toc.name(toc.entry(dirent))});
  }
  return all;
}

// Opens its way down from the nearest directory that is open, without recursion: trees may be of any depth.
int Union::dir_file(uint64_t node, FileRef& file) {
  for (int tries = 0; tries < kMaxMoves; ++tries) {
    std::vector<NodeRecord*> closed;
    for (uint64_t at = node;;) {
      file = at == fuse::kRootId ? upper_root_ : dirs_->get(at);
      if (file != nullptr) break;
      NodeRecord* record = table_.find(at);
      if (record == nullptr || !record->has(kUpper) || record->has(kRemoved)) return ENOENT;
      closed.push_back(record);
      at = table_.place(*record).parent;
    }
    bool moved = false;
    while (!closed.empty() && !moved) {
      NodeRecord& record = *closed.back();
      closed.pop_back();
      const int fd = at::open(file->get(), table_.place(record).name.c_str(), O_PATH | O_DIRECTORY);
      if (fd < 0 && fd != -ENOENT && fd != -ENOTDIR) return -fd;
      moved = fd < 0;
      if (moved) break;
      auto opened = std::make_shared<OpenFile>(OpenFile{UniqueFd(fd), false});
      struct stat status {};
      if (fstat(fd, &status) != 0) return errno;
      // A rename may be under way; then the name leads to another directory.
      moved = status.st_ino != record.object.load(std::memory_order_acquire);
      if (moved) break;
      dirs_->put(record.node, opened);
      file = std::move(opened);
    }
    if (!moved) return 0;
    sched_yield();
  }
  return ESTALE;
}

int Union::locate(NodeRecord& record, At& at) {
  if (record.node == fuse::kRootId) {
    at = {upper_root_, at::kSelf};
    return 0;
  }
  if (record.has(kOrphan)) {
    at = {work_dir_, Upper::orphan_name(record.node)};
    return 0;
  }
  Place place = table_.place(record);
  at.name = std::move(place.name);
  return dir_file(place.parent, at.dir);
}

int Union::with_object(NodeRecord& record, const std::function<int(const At&, const struct stat&)>& action) {
  for (int tries = 0; tries < kMaxMoves; ++tries) {
    At at;
    if (const int error = locate(record, at); error != 0 && error != ENOENT) return error;
    if (at.dir != nullptr) {
      struct stat status {};
      const int error = upper_.stat(at.fd(), at.c_str(), status);
      if (error == 0 && status.st_ino == record.object.load(std::memory_order_acquire)) {
        return action(at, status);
      }
      if (error != 0 && error != ENOENT && error != ENOTDIR) return error;
    }
    sched_yield();
  }
  return ESTALE;
}

}  // namespace lamina::overlay

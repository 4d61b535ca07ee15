// Listing directories without OPENDIR, so without anything that belongs to one reader. A cookie therefore
// says on its own where to go on, whatever has changed:
//  - in a directory that only the TOC has, it is the position there (below 2^32);
//  - in any other, names are listed in the order of a hash of the name, and the cookie is that hash. A name
//  that
//    stays is listed exactly once, however many others come and go between two requests.
// The sorted names are kept for a while, so that a long listing does not read the directory for each request;
// a request from the beginning reads it anew.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <unordered_set>

#include "fuse/dirent_writer.h"
#include "overlay/entries.h"
#include "overlay/union.h"
#include "sys/at.h"
#include "toc/xxh64.h"

namespace lamina::overlay {

namespace {

// Cookies of the two first entries, and what is added to a position in the TOC.
constexpr uint64_t kFirstEntryCookie = 2;
constexpr uint64_t kHashCookies = 1ULL << 62;
constexpr size_t kMaxListings = 64;
constexpr size_t kInUpper = SIZE_MAX;

}  // namespace

// Every visible name of a directory, in no order.
int Union::list(uint64_t node, const Visit& visit) {
  const NodeRecord* record = table_.find(node);
  const Lower lower = lower_of(node);
  const bool merged = !lower.empty();
  std::unordered_set<std::string> seen;
  const auto visit_directory = [&](int fd, const XattrNames& names, size_t layer) {
    const bool is_layer = layer != kInUpper;
    Marks marks;
    read_marks(names, fd, at::kSelf, marks);
    std::vector<std::string> whiteouts;
    const int error = for_each_entry(fd, [&](const char* name, uint8_t type, int dir) {
      bool hidden = false;
      if (type == DT_CHR || type == DT_UNKNOWN || (type == DT_REG && marks.xattr_whiteouts)) {
        struct stat status {};
        if (at::stat(dir, name, status) < 0) return;
        hidden =
            is_device_whiteout(status) || (may_be_xattr_whiteout(status) &&
                                           at::get_xattr(dir, name, names.whiteout.c_str(), nullptr, 0) >= 0);
        type = IFTODT(status.st_mode);
      }
      if (is_layer && is_file_whiteout(name)) {
        whiteouts.emplace_back(name + kFileWhiteout.size());
        return;
      }
      if (merged && !seen.insert(name).second) return;
      if (!hidden) visit(name, type, layer);
    });
    // They hide what is below this directory, not what is in it.
    seen.insert(whiteouts.begin(), whiteouts.end());
    return error;
  };
  if (record != nullptr && record->has(kUpper)) {
    FileRef dir;
    if (const int error = dir_file(node, dir); error != 0) return error;
    const int fd = at::open(dir->get(), at::kSelf, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return -fd;
    if (const int error = visit_directory(fd, upper_.names(), kInUpper); error != 0) return error;
  }
  if (lower.has_layers()) {
    for (size_t index = 0; index < lower.layers->size(); ++index) {
      const LayerPath& layer = (*lower.layers)[index];
      const int fd =
          at::open_beneath(options_.lower_fds[layer.layer], layer.path.c_str(), O_RDONLY | O_DIRECTORY);
      if (fd < 0) return -fd;
      if (const int error = visit_directory(fd, *layer_names_, index); error != 0) return error;
    }
  }
  if (lower.toc != 0) {
    const toc::Toc& toc = image_->toc();
    for (const toc::Dirent& entry : toc.entries(toc.inode(lower.toc))) {
      if (seen.empty() || !seen.contains(std::string(toc.name(entry)))) {
        visit(toc.name(entry), entry.type, lower.has_layers() ? lower.layers->size() : 0);
      }
    }
  }
  return 0;
}

std::shared_ptr<const Union::Listing> Union::listing(uint64_t node, bool fresh, int& error) {
  error = 0;
  if (!fresh) {
    const std::lock_guard guard(listings_mutex_);
    if (const auto known = listings_.find(node); known != listings_.end()) return known->second;
  }
  auto made = std::make_shared<Listing>();
  error = list(node, [&](std::string_view name, uint8_t, size_t layer) {
    const uint64_t hash = xxh64(name.data(), name.size());
    made->push_back({kHashCookies | hash >> 2, std::string(name), layer});
  });
  if (error != 0) return nullptr;
  std::sort(made->begin(), made->end(), [](const Listed& one, const Listed& other) {
    return one.cookie != other.cookie ? one.cookie < other.cookie : one.name < other.name;
  });
  // Names of one hash get cookies of their own, in the order of the names.
  for (size_t at = 1; at < made->size(); ++at) {
    (*made)[at].cookie = std::max((*made)[at].cookie, (*made)[at - 1].cookie + 1);
  }
  const std::lock_guard guard(listings_mutex_);
  if (!listings_.contains(node)) {
    if (listings_order_.size() >= kMaxListings) {
      listings_.erase(listings_order_.front());
      listings_order_.erase(listings_order_.begin());
    }
    listings_order_.push_back(node);
  }
  listings_[node] = made;
  return made;
}

void Union::forget_listing(uint64_t node) {
  const std::lock_guard guard(listings_mutex_);
  if (listings_.erase(node) != 0) std::erase(listings_order_, node);
}

int Union::readdir(uint64_t node, uint64_t offset, uint32_t size, bool plus, fuse::Reply& reply) {
  fuse::Attr self;
  if (const int error = attributes(node, self); error != 0) return error;
  if (!S_ISDIR(self.mode)) return ENOTDIR;
  const NodeRecord* record = table_.find(node);
  fuse::DirentWriter writer(reply, size, plus);
  if (offset == 0) {
    if (!writer.fits(".")) return 0;
    writer.put(".", self.ino, 1, DT_DIR, {});
  }
  if (offset <= 1) {
    if (!writer.fits("..")) return 0;
    writer.put("..", parent_ino(node), kFirstEntryCookie, DT_DIR, {});
  }
  if (record != nullptr && record->has(kRemoved)) return 0;

  // False when the reply is full or something failed.
  int failed = 0;
  const auto put = [&](std::string_view name, uint64_t cookie, size_t layer) {
    if (!writer.fits(name)) return false;
    Found found;
    failed = find_child(node, name, found, layer == kInUpper ? 0 : layer);
    if (failed != 0) return false;
    if (found.type == 0) return true;
    fuse::EntryOut out{};
    uint64_t ino = 0;
    if (plus) {
      failed = entry(node, name, found, out);
      if (failed != 0) return false;
      ino = out.attr.ino;
    } else {
      ino = ino_of_found(found);
    }
    writer.put(name, ino, cookie, IFTODT(found.type), out);
    return true;
  };
  // What was put before something failed is a good answer; the error comes with the next request.
  const auto result = [&] { return reply.size() > 0 ? 0 : failed; };

  const Lower lower = lower_of(node);
  const bool in_toc_alone = (record == nullptr || !record->has(kUpper)) && !lower.has_layers();
  if (lower.toc != 0 && (in_toc_alone || (offset > kFirstEntryCookie && offset < kHashCookies))) {
    const toc::Toc& toc = image_->toc();
    const auto entries = toc.entries(toc.inode(lower.toc));
    for (uint64_t at = std::max(offset, kFirstEntryCookie) - kFirstEntryCookie; at < entries.size(); ++at) {
      if (!put(toc.name(entries[at]), at + kFirstEntryCookie + 1, 0)) break;
    }
    return result();
  }
  int error = 0;
  const auto names = listing(node, offset <= kFirstEntryCookie, error);
  if (names == nullptr) return error;
  auto next = names->begin();
  if (offset > kFirstEntryCookie) {
    next = std::upper_bound(names->begin(), names->end(), offset,
                            [](uint64_t cookie, const Listed& entry) { return cookie < entry.cookie; });
  }
  for (; next != names->end(); ++next) {
    if (!put(next->name, next->cookie, next->layer)) break;
  }
  return result();
}

uint64_t Union::parent_ino(uint64_t node) {
  if (node == fuse::kRootId) return fuse::kRootId;
  const NodeRecord* record = table_.find(node);
  uint64_t parent = 0;
  if (record != nullptr) {
    parent = table_.place(*record).parent;
  } else {
    parent = image_->toc().inode(node).parent;
  }
  const NodeRecord* above = table_.find(parent);
  return above != nullptr ? above->ino : parent;
}

}  // namespace lamina::overlay

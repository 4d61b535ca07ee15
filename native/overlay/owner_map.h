// Which owners are shown for those on disk, and the reverse: fuse-overlayfs's uidmapping, gidmapping and
// squash_to_* options. A mapping is "on disk:shown:count" triples, joined by colons.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace lamina::overlay {

class IdMap {
 public:
  // False when the text is not a list of triples.
  bool parse(std::string_view text);

  // What is not mapped is shown as the overflow id (user_namespaces(7)).
  [[nodiscard]] uint32_t shown(uint32_t on_disk) const {
    if (squash) return *squash;
    if (ranges_.empty()) return on_disk;
    for (const Range& range : ranges_) {
      if (on_disk - range.on_disk < range.count) return range.shown + (on_disk - range.on_disk);
    }
    return kOverflow;
  }
  [[nodiscard]] uint32_t on_disk(uint32_t shown) const {
    if (ranges_.empty()) return shown;
    for (const Range& range : ranges_) {
      if (shown - range.shown < range.count) return range.on_disk + (shown - range.shown);
    }
    return kOverflow;
  }

  std::optional<uint32_t> squash;

 private:
  static constexpr uint32_t kOverflow = 65534;
  struct Range {
    uint32_t on_disk;
    uint32_t shown;
    uint32_t count;
  };
  std::vector<Range> ranges_;
};

struct OwnerMap {
  IdMap uids;
  IdMap gids;
};

}  // namespace lamina::overlay

// The words of overlayfs's on-disk format (kernel: Documentation/filesystems/overlayfs.rst and
// fs/overlayfs/{overlayfs.h,util.c,xattrs.c}), for a directory that is the upper or a lower one.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::overlay {

// Where overlayfs keeps what is its own, and what a user's own attributes under that prefix are called on
// disk.
class XattrNames {
 public:
  explicit XattrNames(bool user)
      : prefix(user ? "user.overlay." : "trusted.overlay."),
        escape(prefix + "overlay."),
        opaque(prefix + "opaque"),
        redirect(prefix + "redirect"),
        metacopy(prefix + "metacopy"),
        whiteout(prefix + "whiteout"),
        origin(prefix + "lamina.origin"),
        names_below(prefix + "lamina.links") {}

  const std::string prefix;
  const std::string escape;
  const std::string opaque;
  const std::string redirect;
  const std::string metacopy;
  const std::string whiteout;
  // Ours: the lower object that a copied-up one stands for.
  const std::string origin;
  // Ours: how many names of a copied-up file are still only in its lower layer.
  const std::string names_below;

  // What an attribute that users name `name` is called on disk.
  [[nodiscard]] std::string on_disk(std::string_view name) const {
    if (!name.starts_with(prefix)) return std::string(name);
    return escape + std::string(name.substr(prefix.size()));
  }
  // False for what is never shown; else `name` becomes what users call it.
  [[nodiscard]] bool shown(std::string& name) const {
    if (!name.starts_with(prefix)) return true;
    if (!name.starts_with(escape)) return false;
    name = prefix + name.substr(escape.size());
    return true;
  }
};

// What the overlay attributes of one object say.
struct Marks {
  bool opaque = false;
  // The directory holds whiteouts that are files with an attribute.
  bool xattr_whiteouts = false;
  bool metacopy = false;
  bool whiteout = false;
  bool has_redirect = false;
  std::string redirect;
  std::string origin;
  // Names that are still only in the lower layer.
  uint32_t names_below = 0;
  // It has a file capability (capabilities(7)).
  bool capability = false;
  // It has no attributes at all.
  bool bare = false;
};

// Reads them for (dir, name); 0 or a negative errno. A filesystem without attributes has no marks.
int read_marks(const XattrNames& names, int dir, const char* name, Marks& marks);

// Puts right what a server or the machine that stopped left half done of keeping names together (names.cc):
// names that were counted as given but have not got their place, files that are kept for their other names
// but have not got their first one, and files that have got all. `work` is the directory that things are made
// in, `kept` the one of files that are kept.
void restore_names(int work, int kept, const XattrNames& names);

inline bool is_device_whiteout(const struct stat& status) {
  return S_ISCHR(status.st_mode) && status.st_rdev == 0;
}
// A file that may be a whiteout by its attribute.
inline bool may_be_xattr_whiteout(const struct stat& status) {
  return S_ISREG(status.st_mode) && status.st_size == 0;
}

}  // namespace lamina::overlay

// One listxattr tells whether there is anything to read, which is seldom.
#include "overlay/format.h"

#include <cerrno>
#include <cstdlib>

#include "sys/at.h"

namespace lamina::overlay {

int read_marks(const XattrNames& names, int dir, const char* name, Marks& marks) {
  marks = Marks{};
  // Kept for the thread: this is done for every name of a directory.
  thread_local std::vector<char> list;
  const int error = at::list_xattrs(dir, name, list);
  if (error == -EOPNOTSUPP || error == -ENOSYS) {
    marks.bare = true;
    return 0;
  }
  if (error < 0) return error;
  marks.bare = list.empty();
  for (size_t start = 0; start < list.size();) {
    const std::string_view attribute(list.data() + start);
    start += attribute.size() + 1;
    if (attribute == "security.capability") marks.capability = true;
    if (!attribute.starts_with(names.prefix)) continue;
    std::string value;
    const auto read = [&] { return at::read_xattr(dir, name, std::string(attribute).c_str(), value); };
    if (attribute == names.opaque) {
      if (const int failed = read(); failed < 0) return failed;
      marks.opaque = value == "y";
      marks.xattr_whiteouts = value == "x";
    } else if (attribute == names.redirect) {
      if (const int failed = read(); failed < 0) return failed;
      marks.has_redirect = !value.empty();
      marks.redirect = value;
    } else if (attribute == names.origin) {
      if (const int failed = read(); failed < 0) return failed;
      marks.origin = value;
    } else if (attribute == names.names_below) {
      if (const int failed = read(); failed < 0) return failed;
      marks.names_below = static_cast<uint32_t>(strtoul(value.c_str(), nullptr, 10));
    } else if (attribute == names.metacopy) {
      marks.metacopy = true;
    } else if (attribute == names.whiteout) {
      marks.whiteout = true;
    }
  }
  return 0;
}

}  // namespace lamina::overlay

#include "overlay/override.h"

#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdio>

#include "sys/at.h"

namespace lamina::overlay {

std::string find_override(int root) {
  for (const char* attribute : {kOverrideContainers, kOverrideSecurity, kOverrideUser}) {
    if (at::get_xattr(root, at::kSelf, attribute, nullptr, 0) >= 0) return attribute;
  }
  return {};
}

bool is_override(std::string_view attribute) {
  return attribute == kOverrideContainers || attribute == kOverrideUser || attribute == kOverrideSecurity;
}

void apply_override(int dir, const char* name, const std::string& attribute, struct stat& status) {
  // Nothing else carries user attributes.
  if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) return;
  char value[128];
  const ssize_t length = at::get_xattr(dir, name, attribute.c_str(), value, sizeof value - 1);
  if (length <= 0) return;
  value[length] = '\0';
  unsigned uid;
  unsigned gid;
  unsigned mode;
  int end = 0;
  if (sscanf(value, "%u:%u:%o%n", &uid, &gid, &mode, &end) < 3) return;
  status.st_uid = uid;
  status.st_gid = gid;
  mode_t type = status.st_mode & S_IFMT;
  const std::string_view rest(value + end);
  unsigned major_number;
  unsigned minor_number;
  if (!S_ISREG(type)) {
    // A directory is one, whatever is written there.
  } else if (rest == ":pipe") {
    type = S_IFIFO;
  } else if (rest == ":socket") {
    type = S_IFSOCK;
  } else if (sscanf(value + end, ":block-%u-%u", &major_number, &minor_number) == 2) {
    type = S_IFBLK;
    status.st_rdev = makedev(major_number, minor_number);
  } else if (sscanf(value + end, ":char-%u-%u", &major_number, &minor_number) == 2 &&
             (major_number != 0 || minor_number != 0)) {
    // Never the device that is a whiteout.
    type = S_IFCHR;
    status.st_rdev = makedev(major_number, minor_number);
  }
  status.st_mode = type | (mode & 07777);
}

int write_override(int dir, const char* name, const std::string& attribute, const struct stat& status) {
  // Symbolic links carry no user attributes; their mode means nothing and their owner is this process's.
  if (S_ISLNK(status.st_mode)) return 0;
  char type[48];
  if (S_ISFIFO(status.st_mode)) {
    snprintf(type, sizeof type, "pipe");
  } else if (S_ISSOCK(status.st_mode)) {
    snprintf(type, sizeof type, "socket");
  } else if (S_ISBLK(status.st_mode) || S_ISCHR(status.st_mode)) {
    snprintf(type, sizeof type, "%s-%u-%u", S_ISBLK(status.st_mode) ? "block" : "char", major(status.st_rdev),
             minor(status.st_rdev));
  } else {
    snprintf(type, sizeof type, "%s", S_ISDIR(status.st_mode) ? "dir" : "file");
  }
  char value[128];
  const int length = snprintf(value, sizeof value, "%u:%u:%04o:%s", status.st_uid, status.st_gid,
                              status.st_mode & 07777, type);
  const int result = at::set_xattr(dir, name, attribute.c_str(), value, static_cast<size_t>(length), 0);
  return result < 0 ? -result : 0;
}

}  // namespace lamina::overlay

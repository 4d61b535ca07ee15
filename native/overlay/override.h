// Ownership, mode and type of an object kept in an attribute of it, where the process may not or shall not
// set them: "uid:gid:mode:type", mode octal, type `file`, `dir`, `symlink`, `pipe`, `socket`,
// `block-MAJOR-MINOR` or `char-MAJOR-MINOR` (containers/storage, pkg/idtools).
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

namespace lamina::overlay {

// Written by containers/storage; the others by fuse-overlayfs with xattr_permissions=1.
inline constexpr const char* kOverrideContainers = "user.containers.override_stat";
inline constexpr const char* kOverrideUser = "user.fuseoverlayfs.override_stat";
inline constexpr const char* kOverrideSecurity = "security.fuseoverlayfs.override_stat";

// The one of these attributes that the root of a layer has, and with it the whole layer; "" when none.
std::string find_override(int root);

[[nodiscard]] bool is_override(std::string_view attribute);

// Puts what the attribute says into `status`, which is the object's own; an object without it stays as it is.
void apply_override(int dir, const char* name, const std::string& attribute, struct stat& status);

// 0 or a positive errno.
int write_override(int dir, const char* name, const std::string& attribute, const struct stat& status);

}  // namespace lamina::overlay

// Objects named by a directory descriptor and one component, never followed when they are symbolic links.
// What reads also takes a path of any length in a lower layer.
// All return 0 (or a length) or a negative errno, so that no errno is lost on the way.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lamina::at {

// The directory itself, as a name in itself.
inline constexpr const char* kSelf = ".";

int stat(int dir, const char* name, struct stat& status);
// Opens with O_NOFOLLOW and O_CLOEXEC; the descriptor or a negative errno.
int open(int dir, const char* name, int flags, mode_t mode = 0);
// The same for a path of several components below `dir`, none of which may be a symbolic link.
int open_beneath(int dir, const char* path, int flags);
// The target of a symbolic link, without a zero at its end.
ssize_t read_link(int dir, const char* name, char* target, size_t size);
int chmod(int dir, const char* name, mode_t mode);

// getxattr(2) and its like for (dir, name). A length of 0 asks for the size.
ssize_t get_xattr(int dir, const char* name, const char* attribute, void* value, size_t size);
int set_xattr(int dir, const char* name, const char* attribute, const void* value, size_t size, int flags);
int remove_xattr(int dir, const char* name, const char* attribute);
// The whole list of names, each ended by a zero, whatever its length.
int list_xattrs(int dir, const char* name, std::vector<char>& names);
// The whole value.
int read_xattr(int dir, const char* name, const char* attribute, std::string& value);

}  // namespace lamina::at

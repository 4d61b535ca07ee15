// What kernel overlayfs needs and a shell cannot do: mounting more layers than one page of options holds, by
// the mount API's lowerdir+ (kernel 6.5, filesystems/overlayfs.rst), and making thousands of whiteouts in one
// process.
//
//   overlay-tool mount TARGET LOWER...   read-only; lowers top first, as the kernel lists them
//   overlay-tool mark                    NUL-ended records on stdin: 'w' PATH = whiteout, 'o' PATH = opaque
//   directory
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <iterator>
#include <string>

static int fail(const char* what, const char* on) {
  std::fprintf(stderr, "%s %s: %s\n", what, on, std::strerror(errno));
  return 1;
}

static int mount_stack(int count, char** arguments) {
  const char* target = arguments[0];
  int context = fsopen("overlay", FSOPEN_CLOEXEC);
  if (context < 0) return fail("fsopen", "overlay");
  if (fsconfig(context, FSCONFIG_SET_STRING, "source", "bench", 0) < 0) return fail("fsconfig", "source");
  for (int i = 1; i < count; i++) {
    if (fsconfig(context, FSCONFIG_SET_STRING, "lowerdir+", arguments[i], 0) < 0)
      return fail("lowerdir+", arguments[i]);
  }
  if (fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) return fail("fsconfig create", target);
  int mounted = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
  if (mounted < 0) return fail("fsmount", target);
  if (move_mount(mounted, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
    return fail("move_mount", target);
  return 0;
}

static int mark() {
  std::string input{std::istreambuf_iterator<char>(std::cin), {}};
  for (std::size_t at = 0; at < input.size();) {
    std::size_t end = input.find('\0', at);
    const char* path = input.c_str() + at + 1;
    if (input[at] == 'w') {
      if (mknod(path, S_IFCHR, makedev(0, 0)) < 0) return fail("mknod", path);
    } else if (setxattr(path, "trusted.overlay.opaque", "y", 1, 0) < 0) {
      return fail("setxattr", path);
    }
    at = end + 1;
  }
  return 0;
}

int main(int argc, char** argv) {
  std::string command = argc > 1 ? argv[1] : "";
  if (command == "mount" && argc > 3) return mount_stack(argc - 2, argv + 2);
  if (command == "mark") return mark();
  std::fprintf(stderr, "usage: overlay-tool mount TARGET LOWER... | mark\n");
  return 2;
}

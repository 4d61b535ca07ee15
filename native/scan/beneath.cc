#include "scan/beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace lamina::scan {

UniqueFd open_beneath(int root, const std::string& path, int flags, Links links) {
  open_how how{};
  how.flags = static_cast<unsigned>(flags) | O_CLOEXEC;
  how.resolve = RESOLVE_NO_MAGICLINKS;
  how.resolve |= links == Links::kInRoot ? RESOLVE_IN_ROOT : RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  const char* name = path.empty() ? "." : path.c_str();
  for (;;) {
    const long fd = syscall(SYS_openat2, root, name, &how, sizeof how);
    // EAGAIN: something was renamed on the way; openat2(2) asks to try again.
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return UniqueFd(static_cast<int>(fd));
  }
}

UniqueFd open_directory(int root, const std::string& path, Links links) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY;
  UniqueFd whole = open_beneath(root, path, kFlags, links);
  if (whole.valid() || errno != ENOENT) return whole;
  UniqueFd at = open_beneath(root, "", kFlags, links);
  for (size_t end = 0; at.valid() && end != std::string::npos;) {
    end = path.find('/', end + 1);
    // From the root each time: a `..` or a link further on counts from there, not from where we stand.
    const std::string so_far = path.substr(0, end);
    UniqueFd next = open_beneath(root, so_far, kFlags, links);
    if (!next.valid() && errno == ENOENT) {
      std::string parent;
      std::string name;
      split_path(so_far, parent, name);
      if (name.empty() || name == "." || name == "..") return next;
      if (mkdirat(at.get(), name.c_str(), 0755) != 0 && errno != EEXIST) return UniqueFd();
      next = open_beneath(root, so_far, kFlags, links);
    }
    at = std::move(next);
  }
  return at;
}

void split_path(const std::string& path, std::string& parent, std::string& name) {
  const size_t slash = path.rfind('/');
  parent = slash == std::string::npos ? "" : path.substr(0, slash);
  name = slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string proc_path(int directory, const char* name) {
  return "/proc/self/fd/" + std::to_string(directory) + "/" + name;
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace lamina::scan

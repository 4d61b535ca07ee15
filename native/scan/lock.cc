#include <sys/file.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "scan/scan.h"

namespace lamina::scan {

int lock_command(const std::vector<std::string>& arguments) {
  const bool try_only = arguments.size() == 2 && arguments[0] == "--try";
  if (arguments.size() != (try_only ? 2 : 1)) return 2;
  const std::string& text = arguments.back();
  char* end = nullptr;
  const long fd = strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || fd < 0) return 2;
  for (;;) {
    if (flock(static_cast<int>(fd), LOCK_EX | (try_only ? LOCK_NB : 0)) == 0) return 0;
    if (errno == EWOULDBLOCK) return 3;
    if (errno != EINTR) return fail(errno, text, strerror(errno));
  }
}

}  // namespace lamina::scan

// One write(2) a line, so that lines of the supervisor and of the server do not mix.
#include "sys/log.h"

#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace lamina {

void log_line(const char* format, ...) {
  char line[512];
  const int prefix = snprintf(line, sizeof line, "lamina-fuse[%d]: ", static_cast<int>(getpid()));
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line + prefix, sizeof line - static_cast<size_t>(prefix) - 1, format, arguments);
  va_end(arguments);
  const size_t length = strlen(line);
  line[length] = '\n';
  // Nobody is told when stderr itself fails.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, length + 1);
}

}  // namespace lamina

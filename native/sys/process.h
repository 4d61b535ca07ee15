// Starting other programs and keeping a daemon apart from whoever started it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace lamina {

struct Outcome {
  // 0, or why the program could not be started.
  int error = 0;
  // Exit status; 128 + signal number when a signal ended it.
  int status = 0;
  // What it wrote to stderr, at most 4 KiB, without the last newline.
  std::string errors;
};

// Runs argv[0] (found by PATH) to its end with `variable` (NAME=VALUE, or null) added to the environment. No
// descriptor but 0, 1, 2 and `keep_fd` (-1 for none) is passed on.
Outcome run_program(const std::vector<std::string>& argv, const char* variable, int keep_fd);

// Starts a program that goes on beside this one: `stdin_fd` is its standard input, the rest of what is open
// here is closed to it. Returns its process, or -1 (errno).
pid_t start_program(const std::vector<std::string>& argv, int stdin_fd);

// Leaves the session, the terminal and the directory of the starter. Descriptors 0 and 1, and 2 if it is a
// terminal, are pointed at /dev/null unless `in_use` holds them.
void detach_from_starter(const std::vector<int>& in_use);

}  // namespace lamina

// `lamina-fuse monitor`: stays with a container that runs in the background. It starts the OCI runtime, keeps
// what the container prints, waits for its end and then becomes the program that takes the container down.
// It has no idea of images or mounts.
#pragma once

#include <string>
#include <vector>

namespace lamina::monitor {

struct Options {
  // A byte comes when it may begin; `started PID` or `failed STATUS` goes back.
  int control_fd = -1;
  // Its working directory: the bundle. Where --tty is given the console socket is made there.
  std::string directory;
  std::string log_file;
  // Lines {"event":"start"...} and {"event":"exit"...} (src/runtime/state.ts).
  std::string state_file;
  // Written by the runtime.
  std::string pid_file;
  // Named in the state.
  std::string runtime_path;
  bool tty = false;
  // Standard input stays open, and nothing comes.
  bool open_stdin = false;
  std::vector<std::string> runtime;
  std::vector<std::string> at_end;
};

// The name of the console socket, in the working directory.
inline constexpr const char* kConsoleSocket = "console.sock";

//   monitor --control-fd N --directory DIR --log FILE --state FILE --pid-file FILE --runtime-path FILE
//   [--tty]
//           [--open-stdin] --runtime COUNT WORD... --at-end COUNT WORD...
int monitor_command(const std::vector<std::string>& arguments);

}  // namespace lamina::monitor

// The command line of `lamina-fuse serve`. What is not understood is refused: the caller is a program, and a
// misspelt option that is ignored would be a mount with other rights than were asked for.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "fuse/mount.h"
#include "overlay/arrivals.h"
#include "overlay/image.h"
#include "overlay/union.h"
#include "sys/failure.h"

namespace lamina {

struct ServeOptions {
  int toc_fd = -1;
  int control_fd = -1;
  int stats_fd = -1;
  // Instead of a descriptor an absolute path: the file is made when the mount is certain.
  std::string stats_path;
  // Where a socket is made by which changes can be made to wait (hold_socket.h); absolute, or empty.
  std::string hold_path;
  std::vector<overlay::Source> sources;  // bottom to top
  // Of layers that are still on their way.
  overlay::ArrivalOptions arrivals;
  // The program that fetches them, started with the mount, started anew when it dies, ended with the mount.
  std::vector<std::string> fetcher;
  std::vector<std::string> remove;  // absolute; unlinked when the mount ends
  overlay::UnionOptions layers;
  uint32_t threads = 0;  // 0: one a CPU, at least two
  uint32_t depth = 0;    // entries of a ring queue; 0: the default
  bool uring = true;
  // The kernel reads and writes the upper's files itself; needs root, and OPEN for each file, which is worth
  // it where requests are cheap: unless asked for, only with io_uring.
  std::optional<bool> passthrough;
  bool supervisor = true;
  fuse::MountOptions mount;
  // When kernel overlayfs is to serve what can be written to: an empty directory for the image's own mount,
  // which is removed; else empty.
  std::string image_mountpoint;
};

// Server threads; so many queues of requests help no machine.
inline constexpr uint32_t kMaxThreads = 256;

// A decimal number and nothing else.
template <typename T>
bool parse_number(std::string_view text, T& value) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && rest == end;
}

// Parses what follows `serve`. The control descriptor is set as soon as it is known, so that a failure can be
// reported.
bool parse_serve_options(const std::vector<std::string>& arguments, ServeOptions& options, Failure& failure);

// A mount option that the kernel knows (mount(8)); false when it is not one.
bool parse_kernel_option(std::string_view option, fuse::MountOptions& options);

}  // namespace lamina

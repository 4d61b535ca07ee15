// Numbers are decimal and whole; paths are made absolute here, because the server leaves its directory.
#include "options.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace lamina {

namespace {

constexpr uint32_t kMaxDepth = 64;

bool is_open(int fd) { return fd >= 0 && fcntl(fd, F_GETFD) >= 0; }

bool parse_descriptor(std::string_view text, int& fd) { return parse_number(text, fd) && is_open(fd); }

// FD:OFFSET:LENGTH
bool parse_source(std::string_view text, overlay::Source& source) {
  const size_t first = text.find(':');
  const size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
  if (second == std::string_view::npos) return false;
  return parse_descriptor(text.substr(0, first), source.fd) &&
         parse_number(text.substr(first + 1, second - first - 1), source.offset) &&
         parse_number(text.substr(second + 1), source.length) && source.offset < toc::kMaxOffset &&
         source.length < toc::kMaxOffset;
}

}  // namespace

bool parse_kernel_option(std::string_view option, fuse::MountOptions& options) {
  if (option == "suid" || option == "nosuid") {
    options.suid = option == "suid";
  } else if (option == "dev" || option == "nodev") {
    options.dev = option == "dev";
  } else if (option == "exec" || option == "noexec") {
    options.noexec = option == "noexec";
  } else if (option == "noatime") {
    options.noatime = true;
  } else if (option == "sync" || option == "dirsync") {
    (option == "sync" ? options.sync : options.dirsync) = true;
  } else if (option == "allow_other") {
    options.allow_other = true;
  } else if (option == "ro" || option == "rw") {
    options.read_only = option == "ro";
  } else {
    return false;
  }
  return true;
}

namespace {

// SOURCE:FD
bool parse_map(std::string_view text, overlay::ArrivalOptions::Map& map) {
  const size_t colon = text.find(':');
  return colon != std::string_view::npos && parse_number(text.substr(0, colon), map.source) &&
         parse_descriptor(text.substr(colon + 1), map.fd);
}

bool parse_mount_options(std::string_view list, fuse::MountOptions& options, Failure& failure) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    const std::string_view option = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    if (!parse_kernel_option(option, options)) {
      return failure.set("options", EINVAL, "unknown mount option: " + std::string(option));
    }
  }
  if ((options.suid || options.dev) && geteuid() != 0) {
    return failure.set("options", EPERM, "only root may mount with suid or dev");
  }
  return true;
}

bool make_absolute(std::string& path) {
  if (path.starts_with('/')) return true;
  char directory[PATH_MAX];
  if (getcwd(directory, sizeof directory) == nullptr) return false;
  path = std::string(directory) + '/' + path;
  return true;
}

}  // namespace

bool parse_serve_options(const std::vector<std::string>& arguments, ServeOptions& options, Failure& failure) {
  std::vector<std::string> operands;
  for (size_t at = 0; at < arguments.size(); ++at) {
    const std::string& name = arguments[at];
    if (name == "--no-uring") {
      options.uring = false;
      continue;
    }
    if (name == "--passthrough" || name == "--no-passthrough") {
      options.passthrough = name == "--passthrough";
      continue;
    }
    if (name == "--userxattr") {
      options.layers.upper.user_xattr = true;
      continue;
    }
    if (name == "--no-supervisor") {
      options.supervisor = false;
      continue;
    }
    if (!name.starts_with("--")) {
      operands.push_back(name);
      continue;
    }
    if (++at == arguments.size()) return failure.set("options", EINVAL, name + " needs a value");
    const std::string& value = arguments[at];
    bool good = true;
    if (name == "--toc-fd") {
      good = parse_descriptor(value, options.toc_fd);
    } else if (name == "--control-fd") {
      good = parse_descriptor(value, options.control_fd);
    } else if (name == "--stats-fd") {
      good = parse_descriptor(value, options.stats_fd);
    } else if (name == "--upper-fd") {
      good = parse_descriptor(value, options.layers.upper.upper_fd);
    } else if (name == "--work-fd") {
      good = parse_descriptor(value, options.layers.upper.work_fd);
    } else if (name == "--lower-fd") {
      good = parse_descriptor(value, options.layers.lower_fds.emplace_back());
    } else if (name == "--source") {
      good = parse_source(value, options.sources.emplace_back());
    } else if (name == "--presence-map") {
      good = parse_map(value, options.arrivals.maps.emplace_back());
    } else if (name == "--fetcher-socket") {
      good = make_absolute(options.arrivals.socket = value);
    } else if (name == "--fetch-timeout") {
      good = parse_number(value, options.arrivals.timeout_ms);
    } else if (name == "--fetcher") {
      options.fetcher.push_back(value);
    } else if (name == "--remove") {
      good = make_absolute(options.remove.emplace_back(value));
    } else if (name == "--hold-socket") {
      good = make_absolute(options.hold_path = value);
    } else if (name == "--threads") {
      good = parse_number(value, options.threads) && options.threads >= 1 && options.threads <= kMaxThreads;
    } else if (name == "--depth") {
      good = parse_number(value, options.depth) && options.depth >= 1 && options.depth <= kMaxDepth;
    } else if (name == "--kernel-union") {
      options.image_mountpoint = value;
      good = value.starts_with('/');
    } else if (name == "--fsname") {
      options.mount.fsname = value;
    } else if (name == "--options") {
      if (!parse_mount_options(value, options.mount, failure)) return false;
    } else {
      return failure.set("options", EINVAL, "unknown option: " + name);
    }
    if (!good)
      return failure.set("options", EINVAL,
                         std::string("bad value of ").append(name).append(": ").append(value));
  }
  if (operands.size() != 1) return failure.set("options", EINVAL, "expected one mount point");
  if (!options.arrivals.maps.empty() && options.arrivals.socket.empty()) {
    return failure.set("options", EINVAL, "--presence-map needs --fetcher-socket");
  }
  if (options.toc_fd < 0 && options.layers.lower_fds.empty()) {
    return failure.set("options", EINVAL, "--toc-fd is missing");
  }
  if ((options.layers.upper.upper_fd < 0) != (options.layers.upper.work_fd < 0)) {
    return failure.set("options", EINVAL, "--upper-fd and --work-fd go together");
  }
  if (options.layers.upper.upper_fd < 0 && !options.mount.read_only) {
    return failure.set("options", EINVAL, "rw needs --upper-fd");
  }
  if (!options.image_mountpoint.empty() && (options.layers.upper.upper_fd < 0 || !options.supervisor ||
                                            options.toc_fd < 0 || !options.layers.lower_fds.empty())) {
    return failure.set("options", EINVAL, "--kernel-union is for an upper over an image");
  }
  // Given bottom to top, as layers are everywhere; searched from the top.
  std::reverse(options.layers.lower_fds.begin(), options.layers.lower_fds.end());
  if (options.mount.fsname.empty()) options.mount.fsname = "lamina";
  char resolved[PATH_MAX];
  if (realpath(operands[0].c_str(), resolved) == nullptr) {
    return failure.set("mount", errno, operands[0] + ": " + strerror(errno));
  }
  options.mount.mountpoint = resolved;
  return true;
}

}  // namespace lamina

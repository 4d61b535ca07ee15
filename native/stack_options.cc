// Options that only choose how fuse-overlayfs works inside are accepted and do nothing; one that is not known
// is refused, because a mount that leaves out what was asked for may be one that nobody wants.
#include "stack_options.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>

namespace lamina {

namespace {

// What changes nothing here: answers are valid for ever, inode numbers are unique, there is a thread a CPU,
// file handles are not exported, data is written through, directories have one link, renamed directories get
// redirects, and what belongs to fstab(5) or to libfuse.
constexpr std::string_view kWithoutMeaning[] = {
    "timeout",
    "threaded",
    "fast_ino",
    "fast_ino_check",
    "writeback",
    "static_nlink",
    "xino",
    "ino32_t",
    "redirect_dir",
    "metacopy",
    "index",
    "nfs_filehandles",
    "nfs_export",
    "uuid",
    "subtype",
    "clone_fd",
    "big_writes",
    "default_permissions",
    "max_idle_threads",
    "max_write",
    "max_read",
    "splice_read",
    "splice_move",
    "splice_write",
    "kernel_cache",
    "nonempty",
    "auto_unmount",
    "allow_root",
    "atime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "diratime",
    "nodiratime",
    "lazytime",
    "nolazytime",
    "async",
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "nofail",
    "_netdev",
    "user_id",
    "group_id",
    "rootmode",
    "blksize",
    "comment",
};

// What `lamina mount -o` takes, but for "rw": mount(8) gives that to whatever is not "ro"; and "lowerdir",
// which is how a stack of directories is told from an image.
constexpr std::string_view kImageOptions[] = {
    "ro",          "suid",   "nosuid",  "dev",      "nodev",       "exec",           "noexec",   "noatime",
    "allow_other", "verify", "threads", "no_uring", "passthrough", "no_passthrough", "upperdir", "workdir"};
// Of this program alone, whatever is mounted.
constexpr std::string_view kCommandOptions[] = {"remount", "debug"};

template <size_t N>
bool is_one_of(std::string_view name, const std::string_view (&list)[N]) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

bool fail(const std::string& message) {
  fprintf(stderr, "lamina-fuse: %s\n", message.c_str());
  return false;
}

// A backslash takes the next character as it is.
std::string unescape(std::string_view text) {
  std::string plain;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\' && at + 1 < text.size()) ++at;
    plain += text[at];
  }
  return plain;
}

// As an option stands in a list.
std::string escape_commas(const std::string& option) {
  std::string escaped;
  for (const char one : option) {
    if (one == ',') escaped += '\\';
    escaped += one;
  }
  return escaped;
}

class OptionParser {
 public:
  explicit OptionParser(StackCommand& command) : command_(command) {}

  // Separated by commas, but for those in quotes (SELinux contexts have such) and after a backslash.
  bool parse_list(std::string_view list) {
    std::string option;
    bool quoted = false;
    for (size_t at = 0; at <= list.size(); ++at) {
      if (at == list.size() || (list[at] == ',' && !quoted)) {
        if (!option.empty() && !parse(option)) return false;
        option.clear();
      } else if (list[at] == '\\' && at + 1 < list.size()) {
        if (list[at + 1] != ',') option += list[at];
        option += list[++at];
      } else {
        if (list[at] == '"') quoted = !quoted;
        option += list[at];
      }
    }
    return true;
  }

  // What depends on several options, in whatever order they came.
  bool finish() {
    overlay::OwnerMap& owners = command_.serve.layers.owners;
    const std::optional<uint32_t> root = squash_to_root_ ? std::optional<uint32_t>(0) : std::nullopt;
    owners.uids.squash = squash_uid_ ? squash_uid_ : root;
    owners.gids.squash = squash_gid_ ? squash_gid_ : root;
    return of_images_.empty() || command_.lowerdir.empty() || fail("unknown option: " + of_images_);
  }

  bool finish_image() {
    return of_stacks_.empty() || fail("option of a stack of directories, not of an image: " + of_stacks_);
  }

 private:
  bool parse(const std::string& option) {
    const size_t equals = option.find('=');
    const std::string name = option.substr(0, equals);
    const std::string value = equals == std::string::npos ? std::string() : option.substr(equals + 1);
    if (name == "verify") of_images_ = option;
    if (is_one_of(name, kImageOptions)) {
      command_.image_options.push_back(escape_commas(option));
      if (name == "verify") return true;
    }
    bool known = true;
    if (!parse_directory(name, value, known)) return false;
    if (known) return true;
    known = true;
    if (!parse_owner(name, value, known)) return false;
    if (!known) {
      known = true;
      if (!parse_behaviour(name, value, known)) return false;
    }
    if (known) {
      if (!is_one_of(name, kImageOptions) && !is_one_of(name, kCommandOptions)) of_stacks_ = option;
      return true;
    }
    if (parse_kernel_option(option, command_.serve.mount)) return true;
    if (name.starts_with("x-") || name.starts_with("X-") || is_one_of(name, kWithoutMeaning)) return true;
    return fail("unknown option: " + option);
  }

  bool parse_directory(const std::string& name, const std::string& value, bool& known) {
    if (name == "lowerdir") {
      command_.lowerdir = value;
    } else if (name == "upperdir") {
      command_.upperdir = unescape(value);
    } else if (name == "workdir") {
      command_.workdir = unescape(value);
    } else if (name == "plugins") {
      return fail("plugins are not supported: " + value);
    } else {
      known = false;
    }
    return true;
  }

  bool parse_owner(const std::string& name, const std::string& value, bool& known) {
    overlay::OwnerMap& owners = command_.serve.layers.owners;
    uint32_t id = 0;
    if (name == "uidmapping" || name == "gidmapping") {
      overlay::IdMap& map = name == "uidmapping" ? owners.uids : owners.gids;
      if (!map.parse(value)) return fail(name + " is not a list of triples: " + value);
    } else if (name == "squash_to_root") {
      squash_to_root_ = true;
    } else if (name == "squash_to_uid" || name == "squash_to_gid") {
      if (!parse_number(value, id)) return fail(name + " is not a number: " + value);
      (name == "squash_to_uid" ? squash_uid_ : squash_gid_) = id;
    } else {
      known = false;
    }
    return true;
  }

  bool parse_behaviour(const std::string& name, const std::string& value, bool& known) {
    ServeOptions& serve = command_.serve;
    if (name == "noacl") {
      serve.layers.acl = false;
    } else if (name == "noxattrs") {
      serve.layers.xattrs = value == "0";
    } else if (name == "xattr_permissions") {
      // As fuse-overlayfs numbers them.
      if (value == "1") {
        serve.layers.upper.override_name = overlay::kOverrideSecurity;
      } else if (value == "2") {
        serve.layers.upper.override_name = overlay::kOverrideContainers;
      } else if (value != "0") {
        return fail("xattr_permissions is not 0, 1 or 2: " + value);
      }
    } else if (name == "userxattr") {
      serve.layers.upper.user_xattr = true;
    } else if (name == "volatile") {
      serve.layers.upper.is_volatile = true;
    } else if (name == "fsync") {
      serve.layers.upper.is_volatile = value == "0";
    } else if (name == "context") {
      serve.mount.context = value;
    } else if (name == "fsname") {
      serve.mount.fsname = value;
    } else if (name == "remount") {
      command_.remount = true;
    } else if (name == "debug") {
      command_.foreground = true;
    } else if (name == "threads") {
      if (!parse_number(value, serve.threads) || serve.threads < 1 || serve.threads > kMaxThreads) {
        return fail("threads is not a number from 1 to " + std::to_string(kMaxThreads) + ": " + value);
      }
    } else if (name == "stats") {
      // Counters for whoever watches the mount (sys/stats.h).
      if (value.empty()) return fail("stats needs the path of a file");
      serve.stats_path = std::filesystem::absolute(value).string();
    } else if (name == "passthrough") {
      serve.passthrough = true;
    } else if (name == "no_passthrough") {
      serve.passthrough = false;
    } else if (name == "no_uring") {
      serve.uring = false;
    } else {
      known = false;
    }
    return true;
  }

  StackCommand& command_;
  // One that only images have, and one that only stacks have.
  std::string of_images_;
  std::string of_stacks_;
  bool squash_to_root_ = false;
  std::optional<uint32_t> squash_uid_;
  std::optional<uint32_t> squash_gid_;
};

}  // namespace

std::vector<std::string> split_layers(std::string_view list) {
  std::vector<std::string> layers(1);
  for (size_t at = 0; at < list.size(); ++at) {
    if (list[at] == '\\' && at + 1 < list.size()) {
      layers.back() += list[++at];
    } else if (list[at] == ':') {
      layers.emplace_back();
    } else {
      layers.back() += list[at];
    }
  }
  std::erase(layers, std::string());
  return layers;
}

bool parse_stack_command(bool is_helper, const std::vector<std::string>& arguments, StackCommand& command) {
  OptionParser options(command);
  for (size_t at = 0; at < arguments.size(); ++at) {
    const std::string& argument = arguments[at];
    const bool has_next = at + 1 < arguments.size();
    if (argument == "-o") {
      if (!has_next) return fail("-o needs a value");
      if (!options.parse_list(arguments[++at])) return false;
    } else if (argument.starts_with("-o")) {
      if (!options.parse_list(argument.substr(2))) return false;
    } else if (is_helper && (argument == "-t" || argument == "-N") && has_next) {
      ++at;
    } else if (is_helper && argument == "-f") {
      command.fake = true;
    } else if (is_helper && (argument == "-r" || argument == "-w")) {
      if (!options.parse_list(argument == "-r" ? "ro" : "rw")) return false;
    } else if (argument == "-f" || argument == "-d") {
      command.foreground = true;
    } else if (argument == "--debug" || argument == "-s" || argument == "-n" || argument == "-v") {
      continue;
    } else if (argument.starts_with("-")) {
      return fail("unknown flag: " + argument);
    } else {
      command.operands.push_back(argument);
    }
  }
  if (!options.finish()) return false;
  if (command.operands.empty() || command.operands.size() > 2) return fail("expected one mount point");
  if (command.remount) return is_helper || fail("unknown option: remount");
  if (is_helper && command.lowerdir.empty() && command.operands.size() == 2) return options.finish_image();
  if (command.lowerdir.empty()) return fail("lowerdir is missing");
  if (!command.upperdir.empty() && command.workdir.empty()) return fail("workdir is missing");
  return true;
}

}  // namespace lamina

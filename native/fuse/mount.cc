// mount(2) and umount2(2) for root; for all others the protocol of fusermount3 (libfuse, util/fusermount.c):
// it mounts, and passes the opened /dev/fuse back over the socket that _FUSE_COMMFD names.
#include "fuse/mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "sys/process.h"

namespace lamina::fuse {

namespace {

// fusermount3 separates options by commas and takes a backslash as the escape.
std::string escape_option(const std::string& text) {
  std::string escaped;
  for (const char byte : text) {
    if (byte == ',' || byte == '\\') escaped += '\\';
    escaped += byte;
  }
  return escaped;
}

int receive_descriptor(int socket) {
  char byte;
  iovec vector{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got <= 0) return -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return -1;
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

bool mount_by_helper(const MountOptions& options, Mounted& mounted, Failure& failure) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return failure.set("fusermount", errno, "no socket for fusermount3");
  }
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  std::string list = options.read_only ? "ro" : "rw";
  list += ",default_permissions,subtype=lamina,fsname=" + escape_option(options.fsname);
  list += options.suid ? ",suid" : ",nosuid";
  list += options.dev ? ",dev" : ",nodev";
  if (options.noexec) list += ",noexec";
  if (options.noatime) list += ",noatime";
  if (options.sync) list += ",sync";
  if (options.dirsync) list += ",dirsync";
  if (options.allow_other) list += ",allow_other";
  const std::string variable = "_FUSE_COMMFD=" + std::to_string(theirs.get());
  const Outcome outcome =
      run_program({"fusermount3", "-o", list, "--", options.mountpoint}, variable.c_str(), theirs.get());
  theirs.reset();
  if (outcome.error != 0) {
    return failure.set("fusermount", outcome.error,
                       std::string("fusermount3 cannot be run: ") + strerror(outcome.error));
  }
  if (outcome.status != 0) {
    return failure.set("fusermount", EPERM,
                       outcome.errors.empty() ? "fusermount3 failed and gave no reason" : outcome.errors);
  }
  mounted.device.reset(receive_descriptor(ours.get()));
  if (!mounted.device.valid()) return failure.set("fusermount", EPROTO, "fusermount3 passed no descriptor");
  mounted.by_helper = true;
  return true;
}

bool mount_by_root(const MountOptions& options, Mounted& mounted, Failure& failure) {
  mounted.device.reset(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!mounted.device.valid()) {
    return failure.set("fuse-device", errno, std::string("/dev/fuse cannot be opened: ") + strerror(errno));
  }
  char data[128];
  snprintf(data, sizeof data, "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions%s",
           mounted.device.get(), getuid(), getgid(), options.allow_other ? ",allow_other" : "");
  std::string all = data;
  if (!options.context.empty() && access("/sys/fs/selinux/enforce", F_OK) == 0) {
    all += ",context=" + options.context;
  }
  if (mount(options.fsname.c_str(), options.mountpoint.c_str(), "fuse.lamina", mount_flags(options),
            all.c_str()) != 0) {
    return failure.set("mount", errno, std::string("mount(2) refused: ") + strerror(errno));
  }
  mounted.by_helper = false;
  return true;
}

// Undoes the octal escapes of /proc/self/mountinfo (proc(5)).
std::string unescape(const char* text, size_t length) {
  std::string plain;
  for (size_t at = 0; at < length; ++at) {
    if (text[at] == '\\' && at + 3 < length) {
      plain += static_cast<char>((text[at + 1] - '0') * 64 + (text[at + 2] - '0') * 8 + (text[at + 3] - '0'));
      at += 3;
    } else {
      plain += text[at];
    }
  }
  return plain;
}

}  // namespace

unsigned long mount_flags(const MountOptions& options) {
  // An image is read-only also at the level of the mount: without it every read would make the kernel ask for
  // attributes again.
  unsigned long flags = options.read_only ? MS_RDONLY : 0;
  if (!options.suid) flags |= MS_NOSUID;
  if (!options.dev) flags |= MS_NODEV;
  if (options.noexec) flags |= MS_NOEXEC;
  if (options.noatime) flags |= MS_NOATIME;
  if (options.sync) flags |= MS_SYNCHRONOUS;
  if (options.dirsync) flags |= MS_DIRSYNC;
  return flags;
}

bool mount_image(const MountOptions& options, Mounted& mounted, Failure& failure) {
  if (geteuid() != 0) return mount_by_helper(options, mounted, failure);
  if (mount_by_root(options, mounted, failure)) return true;
  // Root of a container may lack CAP_SYS_ADMIN where a setuid helper still works.
  if (failure.error != EPERM) return false;
  Failure second;
  if (mount_by_helper(options, mounted, second)) return true;
  return false;
}

int unmount_image(const std::string& mountpoint, Unmount how, bool by_helper) {
  if (!by_helper && geteuid() == 0) {
    int flags = UMOUNT_NOFOLLOW;
    if (how != Unmount::kPlain) flags |= MNT_DETACH;
    if (how == Unmount::kForce) flags |= MNT_FORCE;
    return umount2(mountpoint.c_str(), flags) == 0 ? 0 : errno;
  }
  std::vector<std::string> argv{"fusermount3", "-u"};
  if (how != Unmount::kPlain) argv.emplace_back("-z");
  argv.emplace_back("--");
  argv.push_back(mountpoint);
  const Outcome outcome = run_program(argv, nullptr, -1);
  if (outcome.error != 0) return outcome.error;
  if (outcome.status == 0) return 0;
  if (outcome.errors.find("busy") != std::string::npos) return EBUSY;
  if (outcome.errors.find("not found in") != std::string::npos) return EINVAL;
  return EPERM;
}

void raise_readahead(const std::string& mountpoint, uint64_t bytes) {
  FILE* table = fopen("/proc/self/mountinfo", "re");
  if (table == nullptr) return;
  char* line = nullptr;
  size_t capacity = 0;
  unsigned major_number = 0;
  unsigned minor_number = 0;
  bool found = false;
  // "ID PARENT MAJOR:MINOR ROOT MOUNTPOINT ..."; the last one for a path is on top.
  while (getline(&line, &capacity, table) > 0) {
    unsigned major_here;
    unsigned minor_here;
    int start = 0;
    int end = 0;
    if (sscanf(line, "%*u %*u %u:%u %*s %n%*s%n", &major_here, &minor_here, &start, &end) < 2 || end == 0)
      continue;
    if (unescape(line + start, static_cast<size_t>(end - start)) != mountpoint) continue;
    major_number = major_here;
    minor_number = minor_here;
    found = true;
  }
  free(line);
  fclose(table);
  if (!found) return;
  char path[96];
  snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major_number, minor_number);
  const UniqueFd fd(open(path, O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return;
  const std::string value = std::to_string(bytes / 1024);
  [[maybe_unused]] const ssize_t written = write(fd.get(), value.data(), value.size());
}

}  // namespace lamina::fuse

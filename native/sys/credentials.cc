// The ids are remembered for each thread, so that a run of requests by one user costs no call at all.
#include "sys/credentials.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace lamina {

namespace {

struct Acting {
  uid_t uid = geteuid();
  gid_t gid = getegid();
  mode_t mask = 0;
};
thread_local Acting acting;

}  // namespace

void keep_capabilities() {
  const int bits = prctl(PR_GET_SECUREBITS);
  if (bits >= 0) prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP);
}

void own_umask() {
  unshare(CLONE_FS);
  umask(0);
  acting = Acting{};
}

void act_as(uid_t uid, gid_t gid, mode_t mask) {
  // The raw calls: glibc's would be the same, but these say that only this thread is meant.
  if (acting.gid != gid) {
    syscall(SYS_setfsgid, gid);
    acting.gid = gid;
  }
  if (acting.uid != uid) {
    syscall(SYS_setfsuid, uid);
    acting.uid = uid;
  }
  if (acting.mask != mask) {
    umask(mask);
    acting.mask = mask;
  }
}

void act_as_server() {
  static const uid_t uid = geteuid();
  static const gid_t gid = getegid();
  act_as(uid, gid, 0);
}

namespace {

// The thread's capability sets, as two words each.
struct Capabilities {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  [[nodiscard]] bool read() { return syscall(SYS_capget, &header, sets) == 0; }
  [[nodiscard]] bool write() { return syscall(SYS_capset, &header, sets) == 0; }
  [[nodiscard]] uint32_t& effective() { return sets[CAP_TO_INDEX(CAP_FSETID)].effective; }
};

}  // namespace

WithoutFsetid::WithoutFsetid() {
  Capabilities capabilities;
  if (!capabilities.read()) return;
  had_ = (capabilities.effective() & CAP_TO_MASK(CAP_FSETID)) != 0;
  capabilities.effective() &= ~CAP_TO_MASK(CAP_FSETID);
  holds_ = !had_ || capabilities.write();
}

WithoutFsetid::~WithoutFsetid() {
  Capabilities capabilities;
  if (!had_ || !capabilities.read()) return;
  capabilities.effective() |= CAP_TO_MASK(CAP_FSETID);
  // What it is permitted it may also take up again.
  [[maybe_unused]] const bool written = capabilities.write();
}

}  // namespace lamina

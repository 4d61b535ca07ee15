// Acting for a caller: what this thread creates belongs to the caller's user and group and has the caller's
// umask, while the thread keeps its capabilities (credentials(7): filesystem ids are each thread's own).
#pragma once

#include <sys/types.h>

namespace lamina {

// Once for the process, before its threads start: keeps capabilities when the filesystem uid changes
// (capabilities(7), SECBIT_NO_SETUID_FIXUP). Without the capability for it, files belong to the server's
// user.
void keep_capabilities();
// Once for each thread that acts for callers: a umask of its own (unshare(2), CLONE_FS).
void own_umask();

// Until it ends, the thread's filesystem ids and umask are these. Ids are set only where they differ.
void act_as(uid_t uid, gid_t gid, mode_t umask);
// The server's own ids again, with an empty umask.
void act_as_server();

// While it lives the thread lacks CAP_FSETID (capabilities(7)), which lets setuid bits stay on a file that is
// written.
class WithoutFsetid {
 public:
  WithoutFsetid();
  ~WithoutFsetid();
  WithoutFsetid(const WithoutFsetid&) = delete;
  WithoutFsetid& operator=(const WithoutFsetid&) = delete;

  // False when the capability could not be laid down.
  [[nodiscard]] bool holds() const { return holds_; }

 private:
  bool had_ = false;
  bool holds_ = false;
};

}  // namespace lamina

// The upper and work directories: what is done on disk, without knowing of nodes. Objects are named by a
// directory descriptor and one component. Operations return 0 or a positive errno.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "fuse/request.h"
#include "overlay/format.h"
#include "overlay/override.h"
#include "sys/failure.h"
#include "sys/unique_fd.h"

namespace lamina::overlay {

struct UpperOptions {
  int upper_fd = -1;
  int work_fd = -1;
  bool user_xattr = false;
  // Leave out every fsync; after a power cut the upper must be thrown away.
  bool is_volatile = false;
  // Keep owners, modes and types in this attribute (override.h), unless the upper has another already;
  // without a name only where they cannot be set.
  std::string override_name;
};

// Attributes to be given to an object that is being made.
struct ObjectAttributes {
  mode_t mode;  // with the type
  uid_t uid;
  gid_t gid;
  dev_t rdev;
  timespec atime;
  timespec mtime;
};

class Upper {
 public:
  // Takes the lock on the work directory, finds out what the filesystem can do, and empties the work
  // directory. The descriptors must stay open as long as the Upper.
  bool open(const UpperOptions& options, Failure& failure);

  // At the end of the mount: takes what it kept for itself out of the work directory.
  void tidy() const;

  [[nodiscard]] int root() const { return options_.upper_fd; }
  [[nodiscard]] int work() const { return work_.get(); }
  // Copied-up files some of whose names are still only in a lower layer, by the number of the lower file.
  [[nodiscard]] int kept() const { return kept_.get(); }
  [[nodiscard]] bool has_kept() const;
  [[nodiscard]] const XattrNames& names() const { return *names_; }
  [[nodiscard]] bool has_acl() const { return has_acl_; }
  // Ownership, mode and type are kept in an attribute (override.h).
  [[nodiscard]] bool overrides() const { return !override_name_.empty(); }

  int stat(int dir, const char* name, struct stat& status) const;
  int chown(int dir, const char* name, uid_t uid, gid_t gid) const;
  int chmod(int dir, const char* name, mode_t mode) const;

  // What is being made is called so in the work directory; and such a name that is not in use.
  static constexpr std::string_view kTemporary = "tmp-";
  std::string temporary_name();
  static std::string orphan_name(uint64_t node);

  // Makes a directory, a symbolic link, a device, or an empty regular file for a caller. A regular file may
  // come with a descriptor, which is open for reading and writing.
  int make(int dir, const char* name, mode_t mode, dev_t rdev, const char* target, const fuse::Caller& caller,
           mode_t umask, UniqueFd* opened = nullptr) const;
  // A file for a caller that has what a file of directory `dir` has, as (work directory, name).
  int make_unnamed(int dir, const char* name, mode_t mode, const fuse::Caller& caller, mode_t umask) const;
  // The same with all attributes given, in the work directory.
  int make_exactly(const char* name, const ObjectAttributes& attributes, const char* target) const;
  // Whether files can be made without a name (O_TMPFILE) and be given one later.
  [[nodiscard]] bool makes_unnamed() const { return makes_unnamed_; }
  // Gives such a file its name, where nothing is.
  static int give_place(int fd, int dir, const char* name);
  // Owner, mode and times of an object, in the order in which none undoes another.
  int set_attributes(int dir, const char* name, const ObjectAttributes& attributes) const;

  // A whiteout at (dir, name), where nothing is or where a file is that it replaces.
  int make_whiteout(int dir, const char* name);
  // Whether (dir, name) is one.
  [[nodiscard]] bool is_whiteout(int dir, const char* name, const struct stat& status) const;

  int set_opaque(int dir, const char* name) const;
  // Removes (dir, name) with everything below it.
  static int remove_tree(int dir, const char* name);
  int sync(int fd, bool data_only) const;
  [[nodiscard]] bool must_sync() const { return !options_.is_volatile; }

 private:
  bool prepare_work(Failure& failure);
  bool probe(Failure& failure);
  static int chown_link(int dir, const char* name, uid_t uid, gid_t gid);
  int keep(int dir, const char* name, const struct stat& status) const;

  UpperOptions options_;
  std::unique_ptr<XattrNames> names_;
  UniqueFd work_;
  UniqueFd kept_;
  std::atomic<uint64_t> next_temporary_{0};
  bool has_acl_ = false;
  std::string override_name_;
  bool device_whiteouts_ = true;
  bool makes_unnamed_ = false;
  // A whiteout in the work directory that others are links to.
  std::atomic<bool> whiteout_ready_{false};
};

}  // namespace lamina::overlay

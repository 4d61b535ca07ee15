// OPEN and RELEASE, where the kernel reads and writes the upper's files itself (passthrough; kernel:
// fs/fuse/iomode.c, passthrough.c). All opens of a file at one time must be of one kind and carry one backing
// file, which the first of them decides: who opens to write gets the backing file, who only reads gets the
// kernel's cache, because reading a backing file makes the kernel ask for the attributes again. The first
// cached open after a file was written so drops the pages that the kernel may still have.
//
// Setuid bits: FUSE's own check takes none away from a file that the kernel writes itself. For all but root
// the backing file is therefore handed over without CAP_FSETID, so that the upper's filesystem takes them
// away at the next write; a file that gets such bits while it is open so shows attributes that are not kept.
// One that root opened and others have joined cannot get them (ETXTBSY): there is one backing file for all.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "overlay/union.h"
#include "sys/credentials.h"

namespace lamina::overlay {

int Union::open(uint64_t node, const fuse::OpenIn& in, const fuse::Caller& caller, fuse::Reply& reply) {
  if (backing_device_ < 0) return ENOSYS;
  const bool writes = (in.flags & O_ACCMODE) != O_RDONLY;
  // O_TRUNC was done before, by SETATTR.
  if (writes) {
    if (const int error = copy_up(node, Copy::kData); error != 0) return error;
  }
  NodeRecord* record = table_.find(node);
  const fuse::OpenOut out = open_file(record, node, in.flags, caller);
  return reply.put(out) ? 0 : EIO;
}

uint32_t Union::passed_through() const {
  return table_.count(
      [](const NodeRecord& record) { return record.opens.load() > 0 && record.has(kOpenPassthrough); });
}

// Counts one more open of a node, and says how the kernel is to use the file.
fuse::OpenOut Union::open_file(NodeRecord* record, uint64_t node, uint32_t flags,
                               const fuse::Caller& caller) {
  fuse::OpenOut out{0, fuse::kFopenKeepCache | fuse::kFopenNoflush, 0};
  if (record == nullptr) {
    if (table_.is_toc(node)) table_.toc_opens(node).fetch_add(1);
    return out;
  }
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  const std::lock_guard guard(copy_lock(node));
  if (record->opens.fetch_add(1) == 0) {
    record->clear(kOpenPassthrough | kUntrustedWriter);
    // Only root can be taken to have the capability.
    if (writes && has_backing(*record, caller.uid == 0)) record->set(kOpenPassthrough);
  }
  if (!record->has(kOpenPassthrough)) {
    if (record->has(kCacheStale)) out.open_flags &= ~fuse::kFopenKeepCache;
    return out;
  }
  if (writes) record->set(kCacheStale | (caller.uid != 0 ? kUntrustedWriter : 0U));
  // A mapping that is shared and written needs O_RDWR (mmap(2)); of what write(2) changes the kernel knows.
  if ((flags & O_ACCMODE) == O_RDWR && !record->has(kWritten)) {
    record->set(kWritten);
    notify_attributes(node);
  }
  out.open_flags = fuse::kFopenPassthrough | fuse::kFopenNoflush;
  out.backing_id = static_cast<int32_t>(record->backing.load());
  return out;
}

// Makes sure that the kernel has the backing file of a node, if it may have one.
bool Union::has_backing(NodeRecord& record, bool trusted) {
  if (backing_device_ < 0 || !record.has(kUpper) || record.has(kMetacopy)) return false;
  if (record.backing.load() != 0 && record.has(kTrustedBacking) != trusted) close_backing(record);
  if (record.backing.load() == 0) {
    record.clear(kTrustedBacking);
    if (trusted) record.set(kTrustedBacking);
    record.backing.store(open_backing(record.node, trusted));
  }
  return record.backing.load() != 0;
}

// The kernel's number for a file of the upper that it may use itself, or 0.
uint32_t Union::open_backing(uint64_t node, bool trusted) {
  FileRef file;
  if (data_file(node, true, file) != 0) return 0;
  struct stat status {};
  // Such a file is written as seldom as it is read often.
  if (fstat(file->get(), &status) != 0 || (status.st_mode & (S_ISUID | S_ISGID)) != 0) return 0;
  std::optional<WithoutFsetid> without;
  if (!trusted && !without.emplace().holds()) return 0;
  fuse::BackingMap map{file->get(), 0, 0};
  const int id = ioctl(backing_device_, fuse::kDevIocBackingOpen, &map);
  // Not on a filesystem that is stacked itself; there the data goes the other way.
  return id > 0 ? static_cast<uint32_t>(id) : 0;
}

void Union::close_backing_number(uint32_t backing) const {
  ioctl(backing_device_, fuse::kDevIocBackingClose, &backing);
}

void Union::close_backing(NodeRecord& record) {
  if (const uint32_t backing = record.backing.exchange(0); backing != 0) close_backing_number(backing);
}

// A file that was closed is often opened again: its number stays for a while.
void Union::keep_backing(uint64_t node) {
  uint64_t longest = 0;
  {
    const std::lock_guard guard(idle_mutex_);
    if (!idle_backings_.insert(node).second) return;
    idle_order_.push_back(node);
    if (idle_order_.size() <= kMaxIdleBackings) return;
    longest = idle_order_.front();
    idle_order_.pop_front();
    idle_backings_.erase(longest);
  }
  const std::lock_guard guard(copy_lock(longest));
  NodeRecord* record = table_.find(longest);
  if (record != nullptr && record->opens.load() == 0) close_backing(*record);
}

// It would keep the space of a file that goes until the node is forgotten.
void Union::drop_idle_backing(NodeRecord& record) {
  const std::lock_guard guard(copy_lock(record.node));
  if (record.opens.load() == 0) close_backing(record);
}

// Setuid bits are about to be given: from now on the upper's filesystem decides whether they stay. The caller
// holds the node's copy_lock() until they are there. False where it could not.
bool Union::expect_setuid(NodeRecord& record) {
  if (record.opens.load() == 0) {
    close_backing(record);
  } else if (record.has(kOpenPassthrough)) {
    if (record.has(kTrustedBacking) && record.has(kUntrustedWriter)) return false;
    record.set(kWritten);
  }
  return true;
}

// Makes the kernel ask for a node's attributes again.
void Union::notify_attributes(uint64_t node) const {
  struct {
    fuse::OutHeader header;
    fuse::NotifyInvalInodeOut body;
  } message{{sizeof message, fuse::kNotifyInvalInode, 0}, {node, -1, 0}};
  // ENOENT: the kernel is only just being told of the node.
  [[maybe_unused]] const ssize_t written = ::write(device_, &message, sizeof message);
}

void Union::release(uint64_t node) {
  NodeRecord* record = table_.find(node);
  if (record == nullptr) {
    if (table_.is_toc(node) && table_.toc_opens(node).load() > 0) table_.toc_opens(node).fetch_sub(1);
    return;
  }
  {
    const std::lock_guard guard(copy_lock(node));
    const uint32_t opens = record->opens.load();
    // A server that was killed may have counted one twice, never too few.
    if (opens == 0) return;
    record->opens.store(opens - 1);
    if (opens > 1) return;
    if (!record->has(kOpenPassthrough)) record->clear(kCacheStale);
    record->clear(kWritten);
    if (record->backing.load() == 0) return;
    if (record->has(kOrphan | kRemoved)) {
      close_backing(*record);
      return;
    }
  }
  keep_backing(node);
}

}  // namespace lamina::overlay

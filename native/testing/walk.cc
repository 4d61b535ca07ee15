// The buffer is allocated anew for each reply, so that AddressSanitizer sees a byte written past its end.
#include "testing/walk.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "testing/check.h"

namespace lamina::testing {

namespace {

template <typename Operation>
size_t ask(size_t room, Operation&& operation) {
  const auto buffer = std::make_unique_for_overwrite<uint8_t[]>(room);
  fuse::Reply reply(buffer.get(), room);
  const int error = operation(reply);
  CHECK(error >= 0 && error < 4096);
  CHECK(reply.size() <= room);
  return error == 0 ? reply.size() : 0;
}

void list(overlay::Image& image, uint32_t ino, size_t entries, size_t room, bool plus) {
  uint64_t cookie = 0;
  size_t seen = 0;
  for (;;) {
    const auto buffer = std::make_unique_for_overwrite<uint8_t[]>(room);
    fuse::Reply reply(buffer.get(), room);
    CHECK(image.readdir(ino, cookie, static_cast<uint32_t>(room), plus, reply) == 0);
    const size_t header = plus ? sizeof(fuse::DirentPlus) : sizeof(fuse::Dirent);
    size_t at = 0;
    while (at < reply.size()) {
      fuse::Dirent record;
      memcpy(&record, buffer.get() + at + header - sizeof record, sizeof record);
      CHECK(record.off > cookie);
      cookie = record.off;
      at += (header + record.namelen + 7) / 8 * 8;
      ++seen;
    }
    CHECK(at == reply.size());
    if (reply.size() == 0) break;
  }
  CHECK(seen == entries + 2);
}

}  // namespace

void walk_everything(const toc::Toc& toc, overlay::Image& image, size_t room) {
  for (uint32_t ino = 0; ino <= toc.inode_count() + 1; ++ino) {
    ask(room, [&](auto& reply) { return image.getattr(ino, reply); });
    ask(room, [&](auto& reply) { return image.readlink(ino, reply); });
    ask(room, [&](auto& reply) { return image.listxattr(ino, static_cast<uint32_t>(room), {}, reply); });
    ask(room, [&](auto& reply) { return image.lookup(ino, "..", reply); });
    ask(room, [&](auto& reply) { return image.lookup(ino, ".", reply); });
    ask(room, [&](auto& reply) { return image.lookup(ino, "no such name", reply); });
    for (const uint64_t offset : {1ULL, 5000ULL, ~0ULL}) {
      ask(room, [&](auto& reply) { return image.read(ino, offset, UINT32_MAX, reply); });
      ask(room, [&](auto& reply) { return image.lseek(ino, offset, 3, reply); });
      ask(room, [&](auto& reply) { return image.lseek(ino, offset, 4, reply); });
      ask(room, [&](auto& reply) { return image.readdir(ino, offset, UINT32_MAX, true, reply); });
    }
    if (!toc.contains(ino)) continue;
    const toc::Inode& inode = toc.inode(ino);
    toc::XattrCursor cursor = toc.xattrs(inode);
    while (const auto attribute = cursor.next()) {
      ask(room, [&](auto& reply) {
        return image.getxattr(ino, attribute->name, static_cast<uint32_t>(room), reply);
      });
    }
    if (!S_ISDIR(inode.mode)) continue;
    for (const toc::Dirent& entry : toc.entries(inode)) {
      const toc::Dirent* found = toc.lookup(ino, toc.name(entry));
      CHECK(found == &entry);
    }
    if (room >= 512) {
      list(image, ino, inode.count, room, true);
      list(image, ino, inode.count, room, false);
    }
  }
  ask(room, [&](auto& reply) { return image.statfs(reply); });
}

}  // namespace lamina::testing

// The operations of a read-only image over its merged TOC. Node ids are the TOC's inos and nothing is
// remembered between requests, so one server can take over from another under a live mount.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "fuse/dispatch.h"
#include "overlay/arrivals.h"
#include "sys/log.h"
#include "sys/unique_fd.h"
#include "toc/toc.h"

namespace lamina::overlay {

// The uncompressed tar of one layer: `length` bytes from `offset` of `fd`, which is not owned.
struct Source {
  int fd;
  uint64_t offset;
  uint64_t length;
};

class Image final : public fuse::Filesystem {
 public:
  // `toc` must have been validated against the sources' lengths, and outlive the image.
  Image(const toc::Toc& toc, std::vector<Source> sources, std::unique_ptr<Arrivals> arrivals = nullptr);

  // A read of what has not come yet.
  bool may_block(const fuse::Request& request) override;

  int lookup(uint64_t parent, std::string_view name, fuse::Reply& reply) override;
  int getattr(uint64_t node, fuse::Reply& reply) override;
  int readlink(uint64_t node, fuse::Reply& reply) override;
  int read(uint64_t node, uint64_t offset, uint32_t size, fuse::Reply& reply) override;
  int readdir(uint64_t node, uint64_t offset, uint32_t size, bool plus, fuse::Reply& reply) override;
  int statfs(fuse::Reply& reply) override;
  int getxattr(uint64_t node, std::string_view name, uint32_t size, fuse::Reply& reply) override;
  int listxattr(uint64_t node, uint32_t size, const fuse::Caller& caller, fuse::Reply& reply) override;
  int lseek(uint64_t node, uint64_t offset, uint32_t whence, fuse::Reply& reply) override;

  [[nodiscard]] bool has_xattrs() const { return toc_.has_xattrs(); }
  [[nodiscard]] const toc::Toc& toc() const { return toc_; }
  // Whether bytes of it may still be on their way.
  [[nodiscard]] bool is_lazy() const { return arrivals_ != nullptr; }
  // Whether all of `size` bytes at `offset` of a regular file are there; true for what is none.
  [[nodiscard]] bool has(uint64_t node, uint64_t offset, uint64_t size) const;
  [[nodiscard]] fuse::Attr attributes(uint32_t ino) const;
  // Writes the first `size` bytes of a regular file to a new file, holes as holes. Returns 0 or an errno.
  int copy_to(uint32_t ino, int fd, uint64_t size);

 private:
  [[nodiscard]] fuse::EntryOut entry(uint32_t ino) const;
  // Waits until bytes of a source are there. Returns 0 or EIO.
  int await(const toc::Extent& extent, uint64_t skip, uint64_t size);
  // Fills exactly `size` bytes from a source; EIO when it is shorter than the TOC says.
  int read_source(const toc::Extent& extent, uint64_t skip, uint64_t size, uint8_t* to);

  const toc::Toc& toc_;
  std::vector<Source> sources_;
  // Null where everything was there from the beginning.
  std::unique_ptr<Arrivals> arrivals_;
  uint64_t total_blocks_ = 0;
  LogOnce read_error_logged_;
};

}  // namespace lamina::overlay

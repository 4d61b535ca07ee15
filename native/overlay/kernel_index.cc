// What kernel overlayfs kept of files with several names (overlayfs.rst, "Inode properties"; struct ovl_fb of
// fs/overlayfs/overlayfs.h): in `index`, beside `work`, each copied-up one under the handle of its lower
// file, which of an image's follows from its ino (erofs/encode.h). Kernel overlayfs finds the upper
// file by that; here every name has to be in the upper.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "erofs/encode.h"
#include "overlay/entries.h"
#include "overlay/placing.h"
#include "overlay/union.h"
#include "sys/at.h"

namespace lamina::overlay {

namespace {

constexpr const char* kIndexName = "index";
constexpr size_t kWordDigits = 8;
// Version, magic, length, flags and FILEID_INO64_GEN or FILEID_INO32_GEN (include/linux/exportfs.h), a byte
// each; the UUID of the file system; the number, its high word first if there are two; a generation.
constexpr size_t kHeadDigits = 10;
constexpr size_t kUuidDigits = 32;
constexpr std::string_view kUuidEnd = "6c616d696e616673";

// The ino of an image's file; 0 for what is not one.
uint32_t ino_of_handle(std::string_view name) {
  const bool wide = name.starts_with("00fb21") && name.substr(8, 2) == "81";
  const bool narrow = name.starts_with("00fb1d") && name.substr(8, 2) == "01";
  if (!wide && !narrow) return 0;
  const size_t words = kHeadDigits + kUuidDigits;
  if (name.size() != words + (wide ? 3 : 2) * kWordDigits) return 0;
  if (name.substr(words - kUuidEnd.size(), kUuidEnd.size()) != kUuidEnd) return 0;
  const std::string low(name.substr(words + (wide ? kWordDigits : 0), kWordDigits));
  char* end = nullptr;
  const uint32_t node = __builtin_bswap32(static_cast<uint32_t>(strtoul(low.c_str(), &end, 16)));
  return *end == '\0' && node % erofs::kNodesPerInode == 0 ? node / erofs::kNodesPerInode : 0;
}

}  // namespace

// Whether a directory of the image is where it was, so far as the upper knows it.
bool Union::is_in_place(uint32_t dir) const {
  std::vector<std::string_view> names;
  for (uint32_t at = dir; at != toc::kRootIno; at = home_parent_[at]) {
    names.push_back(image_->toc().name(image_->toc().entry(home_dirent_[at])));
  }
  UniqueFd at(fcntl(upper_.root(), F_DUPFD_CLOEXEC, 0));
  for (auto name = names.rbegin();; ++name) {
    Marks marks;
    if (read_marks(upper_.names(), at.get(), at::kSelf, marks) < 0 || marks.opaque || marks.has_redirect)
      return false;
    if (name == names.rend()) return true;
    const int below = at::open(at.get(), std::string(*name).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (below < 0) return below == -ENOENT;
    at.reset(below);
  }
}

void Union::take_over_index() {
  const int opened = at::open(options_.upper.work_fd, kIndexName, O_RDONLY | O_DIRECTORY);
  if (opened < 0) return;
  const UniqueFd index(opened);
  std::vector<std::string> files;
  const int listed = at::open(index.get(), at::kSelf, O_RDONLY | O_DIRECTORY);
  if (listed < 0) return;
  for_each_entry(listed, [&](const char* name, uint8_t, int) { files.emplace_back(name); });
  for (const std::string& file : files) {
    const uint32_t ino = ino_of_handle(file);
    if (ino == 0 || !image_->toc().contains(ino)) continue;
    for (const Home& home : homes(ino)) {
      FileRef dir;
      if (!is_in_place(home.parent)) continue;
      if (copy_up_dir(home.parent, dir) != 0) continue;
      const KeepTimes keep(dir->get());
      // What has come to the name since then stays.
      linkat(index.get(), file.c_str(), dir->get(), std::string(home.name).c_str(), 0);
    }
    unlinkat(index.get(), file.c_str(), 0);
  }
}

}  // namespace lamina::overlay

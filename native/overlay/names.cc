// Keeping the names of a copied-up file together: names of a file in a lower directory cannot be found
// without a scan, so the file is kept in the work directory under the lower file's identity, and gets each of
// its names when that is looked up.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <shared_mutex>

#include "overlay/entries.h"
#include "overlay/placing.h"
#include "overlay/union.h"
#include "sys/at.h"

namespace lamina::overlay {

namespace {

constexpr const char* kNaming = "naming-";

// What a name is called in the work directory before it has its place.
std::string naming_name(uint32_t left, const std::string& unique) {
  return kNaming + std::to_string(left) + '-' + unique;
}

int write_names_below(const XattrNames& names, int dir, const char* name, uint32_t count) {
  if (count == 0) {
    const int error = at::remove_xattr(dir, name, names.names_below.c_str());
    return error == -ENODATA ? 0 : -error;
  }
  const std::string text = std::to_string(count);
  return -at::set_xattr(dir, name, names.names_below.c_str(), text.data(), text.size(), 0);
}

}  // namespace

void restore_name_counts(int work, const XattrNames& names) {
  std::vector<std::string> interrupted;
  const int fd = at::open(work, at::kSelf, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return;
  for_each_entry(fd, [&](const char* name, uint8_t, int) {
    if (strncmp(name, kNaming, strlen(kNaming)) == 0) interrupted.emplace_back(name);
  });
  for (const std::string& name : interrupted) {
    const auto left = static_cast<uint32_t>(strtoul(name.c_str() + strlen(kNaming), nullptr, 10));
    Marks marks;
    if (read_marks(names, work, name.c_str(), marks) < 0 || marks.origin.empty()) continue;
    // Counted, but not given its place.
    if (marks.names_below == left) write_names_below(names, work, name.c_str(), left + 1);
    unlinkat(work, name.c_str(), 0);
  }
}

// The lower file as a text: the place of its device in the list, its inode number, and what tells it from a
// later file of that number (another stack may be mounted over the same upper).
std::string Union::lower_identity(const struct stat& lower) const {
  char text[96];
  const std::shared_lock guard(devices_mutex_);
  const auto place =
      static_cast<unsigned>(std::find(devices_.begin(), devices_.end(), lower.st_dev) - devices_.begin());
  const auto number = [](auto value) { return static_cast<unsigned long long>(value); };
  snprintf(text, sizeof text, "%x:%llx:%llx.%llx:%llx", place, number(lower.st_ino),
           number(lower.st_ctim.tv_sec), number(lower.st_ctim.tv_nsec), number(lower.st_size));
  return text;
}

// Gives a lower name whose file was copied up by another name its link in the upper. True when it has one
// now. The name and the count of those that are still below change in steps of which the next server or mount
// can tell how far they went: a link in the work directory that says in its name what the count is to be, the
// count, the link's rename to its place (NameCounts).
bool Union::give_name(uint64_t parent, std::string_view name, const Found& found) {
  const std::string kept = lower_identity(found.status);
  struct stat status {};
  if (at::stat(upper_.kept(), kept.c_str(), status) < 0) return false;
  FileRef dir;
  if (copy_up_dir(parent, dir) != 0) return false;
  const std::string text(name);
  const std::lock_guard guard(copy_lock(status.st_ino));
  if (at::stat(dir->get(), text.c_str(), status) == 0) return true;
  Marks marks;
  if (read_marks(upper_.names(), upper_.kept(), kept.c_str(), marks) < 0) return false;
  const uint32_t left = marks.names_below > 0 ? marks.names_below - 1 : 0;
  const std::string temporary = naming_name(left, upper_.temporary_name());
  if (linkat(upper_.kept(), kept.c_str(), upper_.work(), temporary.c_str(), 0) != 0) return false;
  const KeepTimes keep(dir->get());
  bool given = write_names_below(upper_.names(), upper_.work(), temporary.c_str(), left) == 0;
  if (given && renameat2(upper_.work(), temporary.c_str(), dir->get(), text.c_str(), RENAME_NOREPLACE) != 0) {
    given = errno == EEXIST;
    write_names_below(upper_.names(), upper_.work(), temporary.c_str(), marks.names_below);
    unlinkat(upper_.work(), temporary.c_str(), 0);
    return given;
  }
  if (!given) {
    unlinkat(upper_.work(), temporary.c_str(), 0);
  } else if (left == 0) {
    unlinkat(upper_.kept(), kept.c_str(), 0);
  }
  return given;
}

// Names that a server was about to give when the machine stopped.
void Union::finish_names() {
  std::vector<std::string> unfinished;
  const int fd = at::open(upper_.kept(), at::kSelf, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return;
  for_each_entry(fd, [&](const char* name, uint8_t, int) {
    if (strncmp(name, "toc:", 4) == 0) unfinished.emplace_back(name);
  });
  for (const std::string& kept : unfinished) {
    if (const uint32_t ino = toc_of_origin(kept); ino != 0) {
      for (const Home& home : homes(ino)) {
        FileRef dir;
        if (copy_up_dir(home.parent, dir) != 0) continue;
        const KeepTimes keep(dir->get());
        // What has come to the name since then stays.
        linkat(upper_.kept(), kept.c_str(), dir->get(), std::string(home.name).c_str(), 0);
      }
    }
    unlinkat(upper_.kept(), kept.c_str(), 0);
  }
}

}  // namespace lamina::overlay

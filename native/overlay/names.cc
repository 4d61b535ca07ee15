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
// How origins begin: of files of a lower directory, and of the TOC's.
constexpr std::string_view kOfDirectory = "ino:";
constexpr std::string_view kOfToc = "toc:";

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

namespace {

bool is_same_file(int dir, const char* name, int other_dir, const char* other_name) {
  struct stat one {};
  struct stat other {};
  return at::stat(dir, name, one) == 0 && at::stat(other_dir, other_name, other) == 0 &&
         one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

std::vector<std::string> names_in(int dir, std::string_view prefix) {
  std::vector<std::string> all;
  const int fd = at::open(dir, at::kSelf, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return all;
  for_each_entry(fd, [&](const char* name, uint8_t, int) {
    if (std::string_view(name).starts_with(prefix)) all.emplace_back(name);
  });
  return all;
}

}  // namespace

void restore_names(int work, int kept, const XattrNames& names) {
  Marks marks;
  const auto has_marks = [&](int dir, const std::string& name) {
    return read_marks(names, dir, name.c_str(), marks) == 0 && !marks.origin.empty();
  };
  for (const std::string& name : names_in(work, kNaming)) {
    const auto left = static_cast<uint32_t>(strtoul(name.c_str() + strlen(kNaming), nullptr, 10));
    if (!has_marks(work, name)) continue;
    // Counted, but not given its place.
    if (marks.names_below == left) write_names_below(names, work, name.c_str(), left + 1);
    unlinkat(work, name.c_str(), 0);
  }
  for (const std::string& name : names_in(work, Upper::kTemporary)) {
    if (!has_marks(work, name) || !marks.origin.starts_with(kOfDirectory)) continue;
    // A copy that is kept for other names, and has not got its own: nobody knows of it yet.
    const char* identity = marks.origin.c_str() + kOfDirectory.size();
    if (is_same_file(work, name.c_str(), kept, identity)) unlinkat(kept, identity, 0);
    unlinkat(work, name.c_str(), 0);
  }
  for (const std::string& name : names_in(kept, {})) {
    if (name.starts_with(kOfToc) || !has_marks(kept, name)) continue;
    // The last name was given.
    if (marks.names_below == 0) unlinkat(kept, name.c_str(), 0);
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

// Gives a lower name whose file was copied up by another name its link in the upper. ENOENT: there is no such
// file, or no such directory any more. The name and the count of those that are still below change in steps
// of which the next server or mount can tell how far they went: a link in the work directory that says in its
// name what the count is to be, the count, the link's rename to its place (restore_names).
int Union::give_name(uint64_t parent, std::string_view name, const Found& found) {
  const std::string kept = lower_identity(found.status);
  struct stat status {};
  if (const int error = at::stat(upper_.kept(), kept.c_str(), status); error < 0) return -error;
  FileRef dir;
  if (const int error = copy_up_dir(parent, dir); error != 0) return error;
  const std::string text(name);
  const std::lock_guard guard(copy_lock(status.st_ino));
  if (at::stat(dir->get(), text.c_str(), status) == 0) return 0;
  Marks marks;
  if (const int error = read_marks(upper_.names(), upper_.kept(), kept.c_str(), marks); error < 0)
    return -error;
  const uint32_t left = marks.names_below > 0 ? marks.names_below - 1 : 0;
  const std::string temporary = naming_name(left, upper_.temporary_name());
  if (linkat(upper_.kept(), kept.c_str(), upper_.work(), temporary.c_str(), 0) != 0) return errno;
  const KeepTimes keep(dir->get());
  int error = write_names_below(upper_.names(), upper_.work(), temporary.c_str(), left);
  if (error == 0 &&
      renameat2(upper_.work(), temporary.c_str(), dir->get(), text.c_str(), RENAME_NOREPLACE) != 0) {
    error = errno;
    write_names_below(upper_.names(), upper_.work(), temporary.c_str(), marks.names_below);
  }
  if (error != 0) {
    unlinkat(upper_.work(), temporary.c_str(), 0);
    return error == EEXIST ? 0 : error;
  }
  if (left == 0) unlinkat(upper_.kept(), kept.c_str(), 0);
  return 0;
}

// Names that a server was about to give when it was killed, or the machine stopped.
void Union::finish_names() {
  for (const std::string& kept : names_in(upper_.kept(), kOfToc)) {
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

// What servers before this one were making.
void Union::remove_unfinished() const {
  for (const std::string& name : names_in(upper_.work(), Upper::kTemporary)) {
    Upper::remove_tree(upper_.work(), name.c_str());
  }
}

}  // namespace lamina::overlay

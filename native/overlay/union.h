// A union that can be written: an upper directory over read-only directories over the merged TOC of an image,
// each of which but one may be missing.
//
// What is below a node is found from its name and its directory's, never remembered on its own: so a server
// needs the NodeTable and the disk, and can be replaced while it is at work. Requests name nodes; a node's
// object in the upper is reached through its directory's descriptor and its name, and is known by its inode
// number, so that a rename that is under way never leads to another file.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fuse/dispatch.h"
#include "overlay/format.h"
#include "overlay/image.h"
#include "overlay/node_table.h"
#include "overlay/owner_map.h"
#include "overlay/upper.h"
#include "sys/fd_cache.h"

namespace lamina::overlay {

struct UnionOptions {
  UpperOptions upper;
  // Read-only directories, top to bottom, as the kernel's lowerdir lists them.
  std::vector<int> lower_fds;
  bool acl = true;
  // Whether users' attributes are shown and can be set.
  bool xattrs = true;
  // The layers' whiteouts may also be files named `.wh.NAME` and `.wh..wh..opq` (image-spec, layer.md): so
  // containers/storage lays layers out for a mount program.
  bool file_whiteouts = false;
  OwnerMap owners;
};

class Union final : public fuse::Filesystem {
 public:
  // `image` (may be null) is what lies at the bottom; it, and the descriptors, must outlive the union.
  // `toc_key` tells this TOC from others.
  Union(Image* image, uint64_t toc_key) : image_(image), toc_key_(toc_key) {}

  // Checks the directories and makes the memory that servers share; before the first fork.
  bool open(const UnionOptions& options, Failure& failure);
  // The mount's /dev/fuse; with `passthrough` OPEN is to be answered, with files that the kernel uses itself.
  void set_device(int device, bool passthrough) {
    device_ = device;
    backing_device_ = passthrough ? device : -1;
  }
  // In each server, before it answers.
  bool start();

  // When the mount has ended.
  void stop() const;

  [[nodiscard]] bool writable() const { return has_upper_; }
  [[nodiscard]] bool wants_acl() const { return acl_; }
  // Files that are open and that the kernel writes without asking; in any process that shares the memory.
  [[nodiscard]] uint32_t passed_through() const;

  bool may_block(const fuse::Request& request) override;
  int lookup(uint64_t parent, std::string_view name, fuse::Reply& reply) override;
  void forget(uint64_t node, uint64_t count) override;
  int getattr(uint64_t node, fuse::Reply& reply) override;
  int readlink(uint64_t node, fuse::Reply& reply) override;
  int read(uint64_t node, uint64_t offset, uint32_t size, fuse::Reply& reply) override;
  int readdir(uint64_t node, uint64_t offset, uint32_t size, bool plus, fuse::Reply& reply) override;
  int statfs(fuse::Reply& reply) override;
  int getxattr(uint64_t node, std::string_view name, uint32_t size, fuse::Reply& reply) override;
  int listxattr(uint64_t node, uint32_t size, const fuse::Caller& caller, fuse::Reply& reply) override;
  int lseek(uint64_t node, uint64_t offset, uint32_t whence, fuse::Reply& reply) override;
  int setattr(uint64_t node, const fuse::SetattrIn& in, const fuse::Caller& caller,
              fuse::Reply& reply) override;
  int mknod(uint64_t parent, std::string_view name, const fuse::MknodIn& in, const fuse::Caller& caller,
            fuse::Reply& reply) override;
  int mkdir(uint64_t parent, std::string_view name, const fuse::MkdirIn& in, const fuse::Caller& caller,
            fuse::Reply& reply) override;
  int symlink(uint64_t parent, std::string_view name, std::string_view target, const fuse::Caller& caller,
              fuse::Reply& reply) override;
  int open(uint64_t node, const fuse::OpenIn& in, const fuse::Caller& caller, fuse::Reply& reply) override;
  void release(uint64_t node) override;
  int create(uint64_t parent, std::string_view name, const fuse::CreateIn& in, const fuse::Caller& caller,
             fuse::Reply& reply) override;
  int tmpfile(uint64_t parent, const fuse::CreateIn& in, const fuse::Caller& caller,
              fuse::Reply& reply) override;
  int link(uint64_t node, uint64_t parent, std::string_view name, const fuse::Caller& caller,
           fuse::Reply& reply) override;
  int unlink(uint64_t parent, std::string_view name, const fuse::Caller& caller) override;
  int rmdir(uint64_t parent, std::string_view name, const fuse::Caller& caller) override;
  int rename(uint64_t parent, std::string_view name, uint64_t new_parent, std::string_view new_name,
             uint32_t flags, const fuse::Caller& caller) override;
  int write(uint64_t node, const fuse::WriteIn& in, std::span<const uint8_t> data,
            fuse::Reply& reply) override;
  int fallocate(uint64_t node, const fuse::FallocateIn& in, const fuse::Caller& caller) override;
  int copy_file_range(uint64_t node, const fuse::CopyFileRangeIn& in, const fuse::Caller& caller,
                      fuse::Reply& reply) override;
  int fsync(uint64_t node, bool data_only, bool directory) override;
  int setxattr(uint64_t node, std::string_view name, std::span<const uint8_t> value,
               const fuse::SetxattrIn& in, const fuse::Caller& caller) override;
  int removexattr(uint64_t node, std::string_view name, const fuse::Caller& caller) override;

 private:
  // An object of a lower directory: `path` from the root of layer `layer`.
  struct LayerPath {
    uint32_t layer;
    std::string path;
  };
  // What lies below a node: directories of layers, top to bottom (for what is not a directory at most one),
  // and an inode of the TOC.
  struct Lower {
    std::shared_ptr<const std::vector<LayerPath>> layers;
    uint32_t toc = 0;
    [[nodiscard]] bool has_layers() const { return layers != nullptr && !layers->empty(); }
    [[nodiscard]] bool empty() const { return toc == 0 && !has_layers(); }
  };
  // What a name leads to. `type` 0: to nothing.
  struct Found {
    mode_t type = 0;
    bool in_upper = false;
    // A whiteout hides whatever lies below.
    bool whiteout = false;
    // Of the upper object, or of the topmost lower one where that is in a layer.
    struct stat status {};
    Marks marks;
    Lower lower;
    // A layer could not be looked at.
    int error = 0;
  };
  // Where an object of the upper is.
  struct At {
    FileRef dir;
    std::string name;
    [[nodiscard]] int fd() const { return dir->get(); }
    [[nodiscard]] const char* c_str() const { return name.c_str(); }
  };
  enum class Copy { kAttributes, kData };

  // union.cc
  [[nodiscard]] uint64_t ino_of(const struct stat& status);
  uint64_t ino_of_found(const Found& found);
  uint32_t toc_of_origin(const std::string& origin) const;
  int entry(uint64_t parent, std::string_view name, const Found& found, fuse::EntryOut& out);
  int entry_reply(uint64_t parent, std::string_view name, const Found& found, fuse::Reply& reply);
  void fill(const struct stat& status, fuse::Attr& attr) const;
  void fill_owner(fuse::Attr& attr) const;
  int attributes(uint64_t node, fuse::Attr& attr);
  int upper_attributes(NodeRecord& record, fuse::Attr& attr);
  bool rehome(NodeRecord& record, uint64_t parent, std::string_view name);

  // lookup.cc
  // `from`: the layers before this one (of the directory's) are known not to say anything of the name.
  int find_child(uint64_t parent, std::string_view name, Found& found, size_t from = 0);
  static bool is_directory_beneath(int layer, const std::string& path);
  // What `name` is below a directory, looking at the layers and the TOC alone.
  void find_lower(const Lower& dir, std::string_view name, Found& found, size_t from = 0) const;
  // As at::stat, with what the layer keeps in attributes.
  int layer_stat(uint32_t layer, const char* path, struct stat& status) const;
  [[nodiscard]] static bool is_private(std::string_view attribute) { return is_override(attribute); }
  // Whether a file in the layer's own directory hides what is below `path`, and whether one in it does.
  [[nodiscard]] bool is_hidden_below(int layer, const std::string& path) const;
  [[nodiscard]] bool is_opaque_by_file(int layer, const std::string& path) const;
  [[nodiscard]] bool is_file_whiteout(std::string_view name) const {
    return options_.file_whiteouts && name.starts_with(kFileWhiteout);
  }
  // To whoever reads the upper as a layer it would be a whiteout.
  [[nodiscard]] static bool is_reserved(std::string_view name) { return name.starts_with(kFileWhiteout); }
  void find_redirect(const Lower& dir, std::string_view redirect, Found& found) const;
  Lower lower_of(uint64_t node);
  Lower derive_lower(const NodeRecord& record);
  void remember_lower(uint64_t node, const Lower& lower);
  void forget_lower(uint64_t node);
  // The absolute path of a lower object, as a redirect names it; empty when it has none.
  std::string lower_path(const Lower& lower) const;
  // Where a TOC node lies when nothing has moved it.
  struct Home {
    uint32_t parent;
    std::string_view name;
  };
  std::vector<Home> homes(uint32_t ino) const;

  // The directory descriptor of a directory's upper part, and where a node's object is; false with an errno.
  int dir_file(uint64_t node, FileRef& file);
  int locate(NodeRecord& record, At& at);
  // Calls action(at, status) with the node's object, which is certain to be that.
  int with_object(NodeRecord& record, const std::function<int(const At&, const struct stat&)>& action);

  // copy_up.cc
  // A change of attributes that is made to a copy before it has its place; then `done`, and `attr` is what it
  // has now.
  struct Change {
    const fuse::SetattrIn& in;
    bool done = false;
    fuse::Attr attr{};
  };
  int copy_up(uint64_t node, Copy what, uint64_t data_size = UINT64_MAX, Change* change = nullptr);
  int copy_up_dir(uint64_t node, FileRef& file);
  int copy_up_data(NodeRecord& record, uint64_t data_size);
  int copy_attributes(const Lower& lower, int dir, const char* name, const struct stat& status);
  using SetXattr = std::function<int(const char* attribute, std::string_view value)>;
  int copy_xattrs(const Lower& lower, const SetXattr& set);
  int copy_data(const Lower& lower, int to, uint64_t size);
  int lower_status(const Lower& lower, struct stat& status);
  std::string origin_text(uint64_t node, const Lower& lower, const struct stat& status) const;
  bool prepare_root(Failure& failure);

  // copy_file.cc
  int copy_up_file(uint64_t node, const Lower& lower, const struct stat& status, Copy what,
                   uint64_t data_size, Change* change);
  int copy_up_unnamed(uint64_t node, const Lower& lower, const struct stat& status, const std::string& origin,
                      const Place& place, int dir, Copy what, uint64_t data_size, Change* change);
  void copied_up(NodeRecord& record, const struct stat& made, uint32_t flags);
  bool adopt(uint64_t node, const std::string& origin, const Place& place, int dir);

  // names.cc
  std::string lower_identity(const struct stat& lower) const;
  int give_name(uint64_t parent, std::string_view name, const Found& found);
  void finish_names();
  void remove_unfinished() const;
  // The same for files that kernel overlayfs has copied up (kernel_index.cc).
  void take_over_index();
  [[nodiscard]] bool is_in_place(uint32_t dir) const;

  std::mutex& copy_lock(uint64_t node) { return copy_locks_[node % kCopyLocks]; }

  // create.cc
  using Maker = std::function<int(int dir, const char* name)>;
  int make_name(uint64_t parent, std::string_view name, mode_t type, const fuse::Caller& caller,
                const Maker& maker, fuse::EntryOut& out, UniqueFd* opened = nullptr);
  int create_over_whiteout(int dir, const char* name, mode_t type, const Maker& maker);
  int link_in(NodeRecord& record, int dir, const char* name);

  // open.cc
  fuse::OpenOut open_file(NodeRecord* record, uint64_t node, uint32_t flags, const fuse::Caller& caller);
  void notify_attributes(uint64_t node) const;
  bool has_backing(NodeRecord& record, bool trusted);
  uint32_t open_backing(uint64_t node, bool trusted);
  void close_backing(NodeRecord& record);
  void close_backing_number(uint32_t backing) const;
  void keep_backing(uint64_t node);
  void drop_idle_backing(NodeRecord& record);
  bool expect_setuid(NodeRecord& record);

  // remove.cc
  enum class Keep { kNothing, kAttributes, kObject };
  Keep what_to_keep(const NodeRecord* record, uint64_t parent, std::string_view name,
                    const struct stat& status) const;
  void mark_removed(NodeRecord& record, const struct stat& status);
  void unmark_removed(NodeRecord& record);
  int check_empty(uint64_t node);
  int clear_whiteouts(int dir);
  int take_away(uint64_t parent, std::string_view name, const Found& found, uint64_t node);
  bool has_other_names(const Found& found) const;
  bool lower_has(uint64_t parent, std::string_view name);

  // rename.cc
  int prepare_move(uint64_t parent, std::string_view name, uint64_t to_parent, std::string_view to_name,
                   uint64_t& node, Found& found);
  int make_room(const Found& found, uint64_t node);
  int set_redirect(uint64_t node);
  bool finish_exchange(const Place& one, const Place& other);
  int move_object(const OpenFile& from, const char* name, const OpenFile& to, const char* new_name,
                  bool trade_places, bool hide);

  // readdir.cc
  // `layer`: the first of the directory's layers that says anything of the name, SIZE_MAX when the upper
  // does.
  struct Listed {
    uint64_t cookie;
    std::string name;
    size_t layer;
  };
  using Visit = std::function<void(std::string_view name, uint8_t type, size_t layer)>;
  using Listing = std::vector<Listed>;
  uint64_t parent_ino(uint64_t node);
  int list(uint64_t node, const Visit& visit);
  std::shared_ptr<const Listing> listing(uint64_t node, bool fresh, int& error);
  void forget_listing(uint64_t node);

  // data.cc
  int data_file(uint64_t node, bool writable, FileRef& file);
  int change(const At& at, const fuse::SetattrIn& in);
  uid_t on_disk_uid(const fuse::SetattrIn& in) const;
  gid_t on_disk_gid(const fuse::SetattrIn& in) const;
  int change_open(int fd, const fuse::SetattrIn& in);
  int open_lower(const Lower& lower, FileRef& file);
  uint64_t toc_data_of(uint64_t node);
  bool is_large_below(uint64_t node);
  int strip_privileges(NodeRecord& record);
  int strip_privileges_for(const fuse::Caller& caller, uint64_t node);

  // Seconds; the kernel caps what it cannot hold. This mount alone changes what it shows.
  static constexpr uint64_t kForever = UINT32_MAX;
  // The kernel does not notice what a mapping changes in a file that it writes itself.
  [[nodiscard]] static uint64_t attr_valid(const NodeRecord* record) {
    return record != nullptr && record->has(kWritten) ? 0 : kForever;
  }
  // How often a node is looked for again while something moves it.
  static constexpr int kMaxMoves = 1000;
  static constexpr std::string_view kFileWhiteout = ".wh.";
  static constexpr size_t kCopyLocks = 64;
  static constexpr size_t kMaxIdleBackings = 256;
  static constexpr size_t kLowerShards = 16;
  struct LowerShard {
    std::shared_mutex mutex;
    std::unordered_map<uint64_t, Lower> of_node;
  };

  Image* image_;
  uint64_t toc_key_;
  UnionOptions options_;
  bool has_upper_ = false;
  int device_ = -1;
  // -1: OPEN is not answered.
  int backing_device_ = -1;
  bool acl_ = false;
  Upper upper_;
  std::unique_ptr<XattrNames> layer_names_;
  // For each layer the attribute that its owners are kept in, or "".
  std::vector<std::string> layer_overrides_;
  NodeTable table_;
  Lower root_lower_;
  FileRef upper_root_;
  FileRef work_dir_;
  // Devices that inode numbers come from; a number's place here goes into what is shown.
  mutable std::shared_mutex devices_mutex_;
  std::vector<dev_t> devices_;
  std::unique_ptr<FdCache> dirs_;
  std::unique_ptr<FdCache> files_;
  std::unique_ptr<LowerShard[]> lowers_ = std::make_unique<LowerShard[]>(kLowerShards);
  std::mutex copy_locks_[kCopyLocks];
  // For each TOC inode the directory and the dirent that lead to it, and more of both where it has several
  // names.
  std::vector<uint32_t> home_parent_;
  std::vector<uint32_t> home_dirent_;
  std::unordered_map<uint32_t, std::vector<std::pair<uint32_t, uint32_t>>> more_homes_;
  std::mutex listings_mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<const Listing>> listings_;
  std::vector<uint64_t> listings_order_;
  // Nodes that are not open and of which the kernel still has the file.
  std::mutex idle_mutex_;
  std::unordered_set<uint64_t> idle_backings_;
  std::deque<uint64_t> idle_order_;
  // What a removed directory was, for whoever still holds it.
  std::mutex removed_mutex_;
  std::unordered_map<uint64_t, fuse::Attr> removed_;
};

}  // namespace lamina::overlay

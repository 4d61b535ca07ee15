// Everything a server needs to answer requests, made once by the process that mounts. A server is a fork of
// that process and calls serve(); a later fork finds in the shared memory what the earlier one left
// unfinished.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <vector>

#include "fuse/channel.h"
#include "fuse/init.h"
#include "fuse/uring.h"
#include "options.h"
#include "overlay/union.h"
#include "sys/cpus.h"
#include "sys/helpers.h"
#include "sys/hold.h"
#include "sys/mapping.h"
#include "sys/stats.h"
#include "sys/unique_fd.h"
#include "toc/toc.h"

namespace lamina {

// What the servers of one mount tell each other and the supervisor.
struct SharedState {
  // Set by the first server: 1 when the kernel took the ring entries, 2 when it refused and /dev/fuse is
  // used.
  std::atomic<uint32_t> transport;
  Hold hold;
};
inline constexpr uint32_t kTransportUring = 1;
inline constexpr uint32_t kTransportDevice = 2;

class Session {
 public:
  // Opens what is to be served: maps and checks the TOC, checks sources and directories. Touches no mount.
  bool open(const ServeOptions& options, Failure& failure);
  // Mounts, agrees with the kernel, and makes the memory that servers share. On failure nothing stays
  // mounted.
  bool mount(const ServeOptions& options, Failure& failure);
  // Makes what the next server needs of its own; to be called before each fork. False: no memory (errno).
  bool prepare_server();

  // Answers requests until the connection ends, then returns. Calls back once, when requests are being
  // answered, by writing a byte to `ready_fd`. Must be called in the process that is to be the server, with
  // one thread. False when it could not begin.
  bool serve(int ready_fd);

  [[nodiscard]] bool uring() const { return shared().transport.load() == kTransportUring; }
  [[nodiscard]] bool by_helper() const { return mounted_.by_helper; }
  [[nodiscard]] Stats& stats() const { return *reinterpret_cast<Stats*>(stats_memory_.data()); }
  // Null where nothing can be changed.
  [[nodiscard]] Hold* hold() const {
    return union_ != nullptr && union_->writable() ? &shared().hold : nullptr;
  }
  // Files that are open and that the kernel writes without asking.
  [[nodiscard]] uint32_t passed_through() const { return union_ != nullptr ? union_->passed_through() : 0; }
  [[nodiscard]] const std::vector<uint32_t>& online_cpus() const { return online_cpus_; }
  // The sum of all request counters: whether anything was answered since the last look.
  [[nodiscard]] uint64_t requests_served() const;

 private:
  [[nodiscard]] SharedState& shared() const { return *reinterpret_cast<SharedState*>(shared_memory_.data()); }
  [[nodiscard]] fuse::DeviceSlot& slot(uint32_t index) const {
    return reinterpret_cast<fuse::DeviceSlot*>(slots_memory_.data())[index];
  }
  // Whether some of the image is still on its way.
  [[nodiscard]] bool is_lazy() const { return image_ != nullptr && image_->is_lazy(); }
  bool open_image(const ServeOptions& options, Failure& failure);
  // When the mount is there: a mount that fails leaves no file behind.
  bool open_stats(const ServeOptions& options, Failure& failure);
  bool clone_devices(Failure& failure);
  bool serve_by_uring(int ready_fd);
  bool serve_by_device(int ready_fd);
  std::vector<uint16_t> queues_of(uint32_t worker) const;

  toc::Toc toc_;
  std::unique_ptr<overlay::Image> image_;
  // Where there is more than an image.
  std::unique_ptr<overlay::Union> union_;
  std::unique_ptr<fuse::Service> service_;
  fuse::Mounted mounted_;
  // For the second and later threads of /dev/fuse.
  std::vector<UniqueFd> clones_;
  std::vector<uint32_t> online_cpus_;
  uint32_t possible_cpus_ = 1;
  uint32_t device_threads_ = 2;
  uint32_t depth_ = 1;
  uint32_t max_write_ = 0;
  // Where requests may wait for a disk or a network.
  std::unique_ptr<Helpers> helpers_;
  UniqueFd stats_directory_;
  Mapping stats_memory_;
  Mapping shared_memory_;
  Mapping slots_memory_;
  // One of the server that runs and those that dead servers left with requests in them.
  std::vector<fuse::Arena> arenas_;
  size_t own_arena_ = 0;
  // Whether a server was prepared before, and before the last one.
  bool prepared_ = false;
  bool restarted_ = false;
};

}  // namespace lamina

// Making the parts of a server and running its threads: with io_uring one thread a CPU and one for what still
// comes by /dev/fuse (FORGET, INTERRUPT); without it one thread a cloned descriptor.
#include "session.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "sys/credentials.h"
#include "sys/log.h"
#include "sys/ring.h"
#include "sys/thread.h"

namespace lamina {

namespace {

constexpr uint64_t kReadahead = 1 << 20;
// What is read ahead of the client has to come by a network, before what it asks for next.
constexpr uint64_t kLazyReadahead = 128 << 10;
constexpr uint32_t kDefaultDepth = 1;
// Entries of a queue, and threads of /dev/fuse, where some requests wait for a disk while others go on.
constexpr uint32_t kWritableDepth = 4;
constexpr uint32_t kWritableThreads = 4;
constexpr size_t kHelpers = 8;
// Where reads wait for a network. Each entry takes memory only for what it was used for.
constexpr uint32_t kLazyDepth = 32;
constexpr uint32_t kLazyThreads = 64;
constexpr size_t kLazyHelpers = 64;

// Whether io_uring may be used at all; the kernel must not be asked for it by INIT otherwise.
bool ring_possible() {
  const char* parameter = "/sys/module/fuse/parameters/enable_uring";
  FILE* file = fopen(parameter, "re");
  if (file == nullptr) return false;
  const int value = fgetc(file);
  fclose(file);
  if (value != 'Y' && value != '1') return false;
  Ring trial;
  return trial.open(1) == 0;
}

// Counts the threads that have begun, for the one that waits for them.
class Gate {
 public:
  void arrive(int error) {
    pthread_mutex_lock(&mutex_);
    ++arrived_;
    if (error != 0) error_ = error;
    pthread_cond_signal(&changed_);
    pthread_mutex_unlock(&mutex_);
  }
  int wait_for(uint32_t count) {
    pthread_mutex_lock(&mutex_);
    while (arrived_ < count) pthread_cond_wait(&changed_, &mutex_);
    const int error = error_;
    pthread_mutex_unlock(&mutex_);
    return error;
  }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed_ = PTHREAD_COND_INITIALIZER;
  uint32_t arrived_ = 0;
  int error_ = 0;
};

void announce(int ready_fd) { [[maybe_unused]] const ssize_t written = write(ready_fd, "r", 1); }

}  // namespace

bool Session::open(const ServeOptions& options, Failure& failure) {
  if (options.toc_fd >= 0 && !open_image(options, failure)) return false;
  if (!options.stats_path.empty()) {
    // Now, because it may lie where the mount will be.
    const std::string directory = std::filesystem::path(options.stats_path).parent_path().string();
    stats_directory_.reset(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!stats_directory_.valid()) return failure.set("options", errno, directory + ": " + strerror(errno));
  }
  if (options.layers.upper.upper_fd < 0 && options.layers.lower_fds.empty()) return true;
  union_ = std::make_unique<overlay::Union>(image_.get(), image_ != nullptr ? toc_.checksum() : 0);
  return union_->open(options.layers, failure);
}

bool Session::open_stats(const ServeOptions& options, Failure& failure) {
  int fd = options.stats_fd;
  UniqueFd made;
  if (stats_directory_.valid()) {
    const std::string name = std::filesystem::path(options.stats_path).filename().string();
    made.reset(openat(stats_directory_.get(), name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    stats_directory_.reset();
    fd = made.get();
    if (fd < 0) return failure.set("options", errno, options.stats_path + ": " + strerror(errno));
  }
  stats_memory_ = map_stats(fd);
  if (!stats_memory_.valid()) return failure.set("options", errno, "the statistics file cannot be written");
  fuse::Filesystem& filesystem = union_ != nullptr ? static_cast<fuse::Filesystem&>(*union_) : *image_;
  service_ = std::make_unique<fuse::Service>(filesystem, stats(), hold());
  return true;
}

bool Session::open_image(const ServeOptions& options, Failure& failure) {
  std::vector<uint64_t> lengths;
  for (const overlay::Source& source : options.sources) {
    struct stat status {};
    if (fstat(source.fd, &status) != 0) {
      return failure.set("source", errno, std::string("a source cannot be examined: ") + strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) return failure.set("source", EINVAL, "a source is not a regular file");
    const auto size = static_cast<uint64_t>(status.st_size);
    if (source.offset > size || source.length > size - source.offset) {
      return failure.set("source", EINVAL, "a source is shorter than its range");
    }
    lengths.push_back(source.length);
  }
  toc::Error error;
  if (!toc_.open(options.toc_fd, error) || !toc_.validate(lengths, error)) {
    return failure.set("toc", error.error, error.message);
  }
  std::unique_ptr<overlay::Arrivals> arrivals;
  if (!options.arrivals.maps.empty()) {
    arrivals = std::make_unique<overlay::Arrivals>();
    if (!arrivals->open(options.arrivals, lengths, failure)) return false;
  }
  image_ = std::make_unique<overlay::Image>(toc_, options.sources, std::move(arrivals));
  return true;
}

bool Session::mount(const ServeOptions& options, Failure& failure) {
  online_cpus_ = read_cpu_list("/sys/devices/system/cpu/online");
  if (online_cpus_.empty()) online_cpus_.push_back(0);
  const auto possible = read_cpu_list("/sys/devices/system/cpu/possible");
  possible_cpus_ = static_cast<uint32_t>(std::max(possible.size(), online_cpus_.size()));
  const bool writable = union_ != nullptr && union_->writable();
  const bool lazy = is_lazy();
  const uint32_t least = lazy ? kLazyThreads : writable ? kWritableThreads : 2;
  device_threads_ =
      options.threads != 0 ? options.threads : std::max(least, static_cast<uint32_t>(online_cpus_.size()));
  depth_ = options.depth != 0 ? options.depth : lazy ? kLazyDepth : writable ? kWritableDepth : kDefaultDepth;

  const bool want_uring = options.uring && ring_possible();
  if (!fuse::mount_image(options.mount, mounted_, failure)) return false;
  fuse::raise_readahead(options.mount.mountpoint, lazy ? kLazyReadahead : kReadahead);
  max_write_ = writable ? fuse::kMaxWrite : fuse::kMaxWriteReadOnly;
  const fuse::Wishes wishes{
      .uring = want_uring,
      .posix_acl = union_ != nullptr ? union_->wants_acl() : image_->has_xattrs(),
      .writable = writable,
      .passthrough = writable && geteuid() == 0 && options.passthrough.value_or(want_uring)};
  fuse::Granted granted;
  const int error = fuse::negotiate(mounted_.device.get(), wishes, granted);
  bool good = error == 0 || failure.set("init", error, std::string("INIT failed: ") + strerror(error));
  good = good && clone_devices(failure) && open_stats(options, failure);
  if (good) shared().transport.store(granted.uring ? kTransportUring : kTransportDevice);
  if (good && union_ != nullptr) union_->set_device(mounted_.device.get(), granted.passthrough);
  if (!good) fuse::unmount_image(options.mount.mountpoint, fuse::Unmount::kForce, mounted_.by_helper);
  return good;
}

// Every descriptor is also held by the supervisor: the kernel aborts the requests of one that is closed.
bool Session::clone_devices(Failure& failure) {
  for (uint32_t index = 1; index < device_threads_; ++index) {
    UniqueFd clone(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    uint32_t device = static_cast<uint32_t>(mounted_.device.get());
    if (!clone.valid() || ioctl(clone.get(), fuse::kDevIocClone, &device) != 0) {
      return failure.set("fuse-device", errno, std::string("/dev/fuse cannot be cloned: ") + strerror(errno));
    }
    clones_.push_back(std::move(clone));
  }
  shared_memory_ = Mapping::shared(sizeof(SharedState));
  slots_memory_ = Mapping::shared(sizeof(fuse::DeviceSlot) * device_threads_);
  if (!shared_memory_.valid() || !slots_memory_.valid()) {
    return failure.set("init", errno, "no memory for the servers");
  }
  return true;
}

bool Session::prepare_server() {
  restarted_ = prepared_;
  prepared_ = true;
  if (!uring()) return true;
  for (size_t index = 0; index < arenas_.size(); ++index) {
    if (index == own_arena_ || !arenas_[index].all_dead()) continue;
    arenas_[index].reset();
    own_arena_ = index;
    return true;
  }
  fuse::Arena arena;
  if (!arena.create(possible_cpus_, depth_)) return false;
  own_arena_ = arenas_.size();
  arenas_.push_back(std::move(arena));
  return true;
}

uint64_t Session::requests_served() const {
  uint64_t sum = 0;
  for (const auto& counter : stats().requests) sum += counter.load(std::memory_order_relaxed);
  return sum;
}

// Queues of CPUs that are not online get no requests, but the kernel waits until each queue has an entry.
std::vector<uint16_t> Session::queues_of(uint32_t worker) const {
  std::vector<uint16_t> queues;
  for (uint32_t queue = 0; queue < possible_cpus_; ++queue) {
    const auto owner = std::find(online_cpus_.begin(), online_cpus_.end(), queue);
    const auto index = owner == online_cpus_.end() ? 0 : static_cast<uint32_t>(owner - online_cpus_.begin());
    if (index == worker) queues.push_back(static_cast<uint16_t>(queue));
  }
  return queues;
}

bool Session::serve(int ready_fd) {
  stats().server_pid.store(static_cast<uint64_t>(getpid()), std::memory_order_relaxed);
  if (union_ != nullptr) {
    keep_capabilities();
    if (!union_->start()) return false;
    own_umask();
    if (union_->writable()) {
      helpers_ = std::make_unique<Helpers>([] { own_umask(); }, is_lazy() ? kLazyHelpers : kHelpers);
      // Memory that this process needs must not be had by writing to its own mount (prctl(2)).
      prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    }
  }
  if (is_lazy() && helpers_ == nullptr) {
    helpers_ = std::make_unique<Helpers>(
        [this] {
          if (union_ != nullptr) own_umask();
        },
        kLazyHelpers);
  }
  const bool ended = uring() ? serve_by_uring(ready_fd) : serve_by_device(ready_fd);
  if (ended && union_ != nullptr) union_->stop();
  return ended;
}

bool Session::serve_by_uring(int ready_fd) {
  const auto workers = static_cast<uint32_t>(online_cpus_.size());
  static Gate gate;
  const bool give_way = has_own_scheduling_group();
  for (uint32_t index = 0; index < workers; ++index) {
    const int error = start_thread([this, index, give_way] {
      pin_to_cpu(online_cpus_[index]);
      fuse::UringWorker worker(mounted_.device.get(), queues_of(index), *service_, helpers_.get());
      if (give_way) worker.give_way();
      if (union_ != nullptr) own_umask();
      const int opened = worker.open();
      if (opened != 0) {
        gate.arrive(opened);
        return;
      }
      worker.run(arenas_, own_arena_, [](int registered) { gate.arrive(registered); });
    });
    if (error != 0) return false;
  }
  const int refused = gate.wait_for(workers);
  if (refused != 0) {
    // After a first success the kernel offers no way back to /dev/fuse: the next server has to do better.
    if (restarted_) return false;
    log_line("the kernel refused io_uring (%s); using /dev/fuse", strerror(refused));
    shared().transport.store(kTransportDevice);
    return serve_by_device(ready_fd);
  }
  stats().uring.store(1, std::memory_order_relaxed);
  announce(ready_fd);
  fuse::DeviceChannel channel(mounted_.device.get(), slot(0), *service_, max_write_);
  channel.gather_forgets();
  channel.run();
  return true;
}

bool Session::serve_by_device(int ready_fd) {
  stats().uring.store(0, std::memory_order_relaxed);
  for (uint32_t index = 1; index < device_threads_; ++index) {
    const int error = start_thread([this, index] {
      if (union_ != nullptr) own_umask();
      fuse::DeviceChannel(clones_[index - 1].get(), slot(index), *service_, max_write_).run();
    });
    if (error != 0) return false;
  }
  announce(ready_fd);
  fuse::DeviceChannel(mounted_.device.get(), slot(0), *service_, max_write_).run();
  return true;
}

}  // namespace lamina

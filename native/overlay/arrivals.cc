// One connection a question: what is asked for comes over a network, so that a connection to a process beside
// this one costs nothing, and nothing is left to be matched when the fetcher is replaced.
#include "overlay/arrivals.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "sys/unique_fd.h"

namespace lamina::overlay {

namespace {

constexpr char kMagic[8] = {'L', 'A', 'M', 'P', 'R', 'E', 'S', '1'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kMinBlockShift = 12;
constexpr uint32_t kMaxBlockShift = 24;
// While the fetcher is being replaced nobody listens.
constexpr int64_t kRetryMs = 20;

struct MapHeader {
  char magic[8];
  uint32_t version;
  uint32_t block_shift;
  uint64_t length;
  std::atomic<uint32_t> complete;
  uint32_t reserved[9];
};
static_assert(sizeof(MapHeader) == 64);

struct Question {
  uint32_t source;
  uint32_t reserved;
  uint64_t offset;
  uint64_t length;
};
static_assert(sizeof(Question) == 24);

struct Answer {
  // 0 or an errno.
  uint32_t error;
  uint32_t reserved;
};
static_assert(sizeof(Answer) == 8);

int64_t milliseconds_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void pause_ms(int64_t ms) {
  const timespec pause{ms / 1000, (ms % 1000) * 1000000};
  nanosleep(&pause, nullptr);
}

// Waits for `events`; false when the deadline has passed.
bool wait_for(int fd, short events, int64_t deadline_ms) {
  for (;;) {
    const int64_t left = deadline_ms - milliseconds_now();
    if (left <= 0) return false;
    pollfd watched{fd, events, 0};
    const int ready = poll(&watched, 1, static_cast<int>(std::min<int64_t>(left, 60000)));
    if (ready > 0) return true;
  }
}

}  // namespace

bool Arrivals::open(const ArrivalOptions& options, const std::vector<uint64_t>& lengths, Failure& failure) {
  if (options.socket.size() >= sizeof(sockaddr_un::sun_path)) {
    return failure.set("options", ENAMETOOLONG, "the path of the fetcher's socket is too long");
  }
  socket_ = options.socket;
  timeout_ms_ = options.timeout_ms;
  maps_.resize(lengths.size());
  for (const auto& [source, fd] : options.maps) {
    if (source >= lengths.size()) return failure.set("options", EINVAL, "a map is of no source");
    struct stat status {};
    if (fstat(fd, &status) != 0 || status.st_size < static_cast<off_t>(sizeof(MapHeader))) {
      return failure.set("source", EINVAL, "a presence map is cut short");
    }
    auto map = std::make_unique<Map>();
    const auto size = static_cast<size_t>(status.st_size);
    map->mapping = Mapping::map(size, PROT_READ, MAP_SHARED, fd, 0);
    if (!map->mapping.valid()) return failure.set("source", errno, "a presence map cannot be mapped");
    const auto* header = reinterpret_cast<const MapHeader*>(map->mapping.data());
    map->length = header->length;
    map->block_shift = header->block_shift;
    const bool known = memcmp(header->magic, kMagic, sizeof kMagic) == 0 && header->version == kVersion &&
                       map->block_shift >= kMinBlockShift && map->block_shift <= kMaxBlockShift;
    if (!known || map->length != lengths[source]) {
      return failure.set("source", EINVAL, "a presence map is not of its source");
    }
    const uint64_t blocks = (map->length + (1ULL << map->block_shift) - 1) >> map->block_shift;
    if (size - sizeof(MapHeader) < (blocks + 7) / 8) {
      return failure.set("source", EINVAL, "a presence map is cut short");
    }
    maps_[source] = std::move(map);
  }
  return true;
}

bool Arrivals::has(uint32_t source, uint64_t offset, uint64_t length) const {
  const Map* map = maps_[source].get();
  if (map == nullptr || length == 0) return true;
  const auto* header = reinterpret_cast<const MapHeader*>(map->mapping.data());
  if (header->complete.load(std::memory_order_acquire) != 0) return true;
  const auto* bits = reinterpret_cast<const std::atomic<uint8_t>*>(map->mapping.data() + sizeof(MapHeader));
  const uint64_t last = (offset + length - 1) >> map->block_shift;
  for (uint64_t block = offset >> map->block_shift; block <= last; ++block) {
    if ((bits[block / 8].load(std::memory_order_acquire) & (1U << (block % 8))) == 0) return false;
  }
  return true;
}

int Arrivals::await(uint32_t source, uint64_t offset, uint64_t length) {
  const int64_t deadline = milliseconds_now() + timeout_ms_;
  while (!has(source, offset, length)) {
    const int error = ask(source, offset, length, deadline);
    if (error == 0) continue;
    if (error != EAGAIN) {
      if (refusal_logged_.first()) {
        log_line("the fetcher cannot get layer %u at byte %llu: %s; answering EIO", source,
                 static_cast<unsigned long long>(offset), strerror(error));
      }
      return EIO;
    }
    if (milliseconds_now() >= deadline) {
      if (timeout_logged_.first()) {
        log_line("layer %u at byte %llu did not come in %u ms; answering EIO", source,
                 static_cast<unsigned long long>(offset), timeout_ms_);
      }
      return EIO;
    }
    pause_ms(kRetryMs);
  }
  return 0;
}

int Arrivals::ask(uint32_t source, uint64_t offset, uint64_t length, int64_t deadline_ms) {
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return EAGAIN;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, socket_.c_str(), socket_.size() + 1);
  // It does not listen yet, or not any more, or has too many to answer.
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return EAGAIN;
  const Question question{source, 0, offset, length};
  if (send(fd.get(), &question, sizeof question, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof question)) {
    return EAGAIN;
  }
  Answer answer{};
  size_t got = 0;
  while (got < sizeof answer) {
    if (!wait_for(fd.get(), POLLIN, deadline_ms)) return EAGAIN;
    const ssize_t count = recv(fd.get(), reinterpret_cast<uint8_t*>(&answer) + got, sizeof answer - got, 0);
    if (count < 0 && errno == EINTR) continue;
    // It ended.
    if (count <= 0) return EAGAIN;
    got += static_cast<size_t>(count);
  }
  return static_cast<int>(answer.error);
}

}  // namespace lamina::overlay

// Random and mutated requests through the real channel, whose /dev/fuse is a socket that keeps packets apart:
// each request that wants an answer gets one, well-formed and with its unique. Deterministic: ITERATIONS
// SEED.
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>

#include "fuse/channel.h"
#include "overlay/image.h"
#include "sys/unique_fd.h"
#include "testing/check.h"
#include "testing/random.h"
#include "testing/toc_builder.h"
#include "toc/toc.h"

namespace {

using namespace lamina;
using lamina::testing::Random;

template <typename T>
void append(std::string& bytes, const T& record) {
  bytes.append(reinterpret_cast<const char*>(&record), sizeof record);
}

// A request as the kernel would send it, with arguments that may be anything.
std::string make_request(Random& random, uint64_t unique) {
  static constexpr uint32_t kOpcodes[] = {
      fuse::kLookup, fuse::kGetattr,  fuse::kReadlink,  fuse::kRead,  fuse::kReaddir, fuse::kReaddirplus,
      fuse::kStatfs, fuse::kGetxattr, fuse::kListxattr, fuse::kLseek, fuse::kOpen,    fuse::kForget};
  const bool known = random.below(4) != 0;
  const uint32_t opcode =
      known ? kOpcodes[random.below(sizeof kOpcodes / sizeof kOpcodes[0])]
            : static_cast<uint32_t>(random.below(8) == 0 ? random.awkward() : random.below(70));
  const uint64_t node = random.below(4) == 0 ? random.awkward() : 1 + random.below(30);
  std::string arguments;
  const auto size = static_cast<uint32_t>(random.below(3) == 0 ? random.awkward() : random.below(100000));
  const uint64_t offset = random.below(2) == 0 ? random.awkward() : random.below(14000);
  switch (fuse::record_size(opcode)) {
    case sizeof(fuse::ReadIn):
      append(arguments, fuse::ReadIn{.offset = offset, .size = size});
      break;
    case sizeof(fuse::LseekIn):
      append(arguments, fuse::LseekIn{.offset = offset, .whence = static_cast<uint32_t>(random.below(6))});
      break;
    case sizeof(fuse::GetxattrIn):
      append(arguments, fuse::GetxattrIn{.size = size});
      break;
    default:
      break;
  }
  static const std::string kNames[] = {
      "etc", "hosts", ".", "..", "", "caps", "user.long", "security.capability", std::string(300, 'x')};
  if (random.below(3) != 0) arguments += kNames[random.below(9)];
  if (random.below(4) != 0) arguments += '\0';
  if (random.below(8) == 0) arguments.resize(random.below(arguments.size() + 1));
  std::string bytes;
  append(bytes, fuse::InHeader{.len = static_cast<uint32_t>(sizeof(fuse::InHeader) + arguments.size()),
                               .opcode = opcode,
                               .unique = unique,
                               .nodeid = node});
  bytes += arguments;
  if (random.below(6) == 0) {
    for (uint64_t left = 1 + random.below(4); left > 0; --left) {
      // Never the unique: it is how the answer is told.
      const size_t at = random.below(bytes.size());
      if (at < 8 || at >= 16) bytes[at] = static_cast<char>(random.next());
    }
  }
  return bytes;
}

// Whether the channel must answer: the header is whole, its length is right, and the opcode wants an answer.
bool wants_answer(const std::string& bytes) {
  fuse::InHeader header;
  if (bytes.size() < sizeof header) return false;
  memcpy(&header, bytes.data(), sizeof header);
  return header.len >= sizeof header && header.len <= bytes.size() && !fuse::is_silent(header.opcode);
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 3);
  const uint64_t iterations = strtoull(argv[1], nullptr, 10);
  Random random(strtoull(argv[2], nullptr, 10));
  const std::vector<uint8_t> bytes = testing::sample_tree().build();
  const UniqueFd source(testing::make_source());
  const uint64_t length = testing::kSourceSize;
  toc::Toc toc;
  toc::Error error;
  CHECK(toc.attach(bytes.data(), bytes.size(), error) && toc.validate({&length, 1}, error));
  overlay::Image image(toc, {{source.get(), 0, length}});
  Mapping stats_memory = map_stats(-1);
  fuse::Service service(image, *reinterpret_cast<Stats*>(stats_memory.data()), nullptr);
  Mapping slot_memory = Mapping::shared(sizeof(fuse::DeviceSlot));
  auto& slot = *reinterpret_cast<fuse::DeviceSlot*>(slot_memory.data());

  // As a server left it that was killed when it had performed a request: the reply is sent as it stands.
  std::string kept;
  append(kept, fuse::OutHeader{.len = sizeof(fuse::OutHeader) + 4, .error = 0, .unique = 1});
  kept += "kept";
  const fuse::InHeader performed{
      .len = sizeof(fuse::InHeader), .opcode = fuse::kStatfs, .unique = 1, .nodeid = 1};
  memcpy(slot.request, &performed, sizeof performed);
  memcpy(slot.reply + 4096 - sizeof(fuse::OutHeader), kept.data(), kept.size());
  slot.replied.store(1);

  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  UniqueFd kernel(ends[0]);
  const UniqueFd device(ends[1]);
  static int ended;
  pthread_t thread;
  struct Job {
    int fd;
    fuse::DeviceSlot& slot;
    fuse::Service& service;
  } job{device.get(), slot, service};
  CHECK(pthread_create(
            &thread, nullptr,
            [](void* argument) -> void* {
              const Job& own = *static_cast<Job*>(argument);
              ended = fuse::DeviceChannel(own.fd, own.slot, own.service, fuse::kMaxWriteReadOnly).run();
              return nullptr;
            },
            &job) == 0);

  const auto answer = std::make_unique<char[]>(2 << 20);
  CHECK(read(kernel.get(), answer.get(), 2 << 20) == static_cast<ssize_t>(kept.size()) &&
        memcmp(answer.get(), kept.data(), kept.size()) == 0);
  uint64_t answered = 0;
  for (uint64_t round = 0; round < iterations; ++round) {
    const uint64_t unique = 2 + 2 * round;
    const std::string request = make_request(random, unique);
    CHECK(write(kernel.get(), request.data(), request.size()) == static_cast<ssize_t>(request.size()));
    if (!wants_answer(request)) continue;
    const ssize_t got = read(kernel.get(), answer.get(), 2 << 20);
    CHECK(got >= static_cast<ssize_t>(sizeof(fuse::OutHeader)));
    fuse::OutHeader header;
    memcpy(&header, answer.get(), sizeof header);
    CHECK(header.len == static_cast<size_t>(got) && header.unique == unique);
    CHECK(header.error <= 0 && header.error > -4096);
    CHECK(header.error == 0 || header.len == sizeof header);
    ++answered;
  }
  kernel.reset();
  CHECK(pthread_join(thread, nullptr) == 0);
  CHECK(ended != 0 && answered > iterations / 2);
  printf("request fuzz: %llu requests, %llu answered\n", static_cast<unsigned long long>(iterations),
         static_cast<unsigned long long>(answered));
  return 0;
}

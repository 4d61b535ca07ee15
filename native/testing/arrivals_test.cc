// Reads of layers that are still on their way, with a fetcher that is a thread here.
#include "overlay/arrivals.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "overlay/image.h"
#include "sys/unique_fd.h"
#include "testing/check.h"
#include "testing/toc_builder.h"

namespace lamina::testing {

namespace {

constexpr uint32_t kShift = 12;
constexpr uint64_t kBlocks = (kSourceSize + 4095) / 4096;

struct MapFile {
  char magic[8] = {'L', 'A', 'M', 'P', 'R', 'E', 'S', '1'};
  uint32_t version = 1;
  uint32_t shift = kShift;
  uint64_t length = kSourceSize;
  uint32_t complete = 0;
  uint32_t reserved[9] = {};
  uint8_t bits[(kBlocks + 7) / 8] = {};
};
static_assert(sizeof(MapFile) >= 64);

class Fixture {
 public:
  Fixture() : map_fd_(memfd_create("map", MFD_CLOEXEC)), source_(make_source()) {
    write_map();
    char name[] = "/tmp/lamina-arrivals-XXXXXX";
    CHECK(mkdtemp(name) != nullptr);
    directory_ = name;
    options_.maps.push_back({0, map_fd_.get()});
    options_.socket = directory_ + "/socket";
    options_.timeout_ms = 400;
  }
  ~Fixture() {
    unlink(options_.socket.c_str());
    rmdir(directory_.c_str());
  }

  void write_map() { CHECK(pwrite(map_fd_.get(), &map_, sizeof map_, 0) == sizeof map_); }
  void mark(uint64_t block) {
    map_.bits[block / 8] |= static_cast<uint8_t>(1U << (block % 8));
    write_map();
  }
  [[nodiscard]] bool opens() const {
    overlay::Arrivals arrivals;
    Failure failure;
    return arrivals.open(options_, {kSourceSize}, failure);
  }
  [[nodiscard]] std::unique_ptr<overlay::Arrivals> open() const {
    auto arrivals = std::make_unique<overlay::Arrivals>();
    Failure failure;
    CHECK(arrivals->open(options_, {kSourceSize}, failure));
    return arrivals;
  }
  void listen_here() {
    listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, options_.socket.c_str(), options_.socket.size() + 1);
    unlink(options_.socket.c_str());
    CHECK(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    CHECK(listen(listener_.get(), 8) == 0);
  }
  // Takes one question and answers it with `error`; -1: hangs up without a word.
  std::array<uint64_t, 3> answer_one(int error) {
    const UniqueFd peer(accept(listener_.get(), nullptr, nullptr));
    CHECK(peer.valid());
    struct {
      uint32_t source, reserved;
      uint64_t offset, length;
    } question{};
    CHECK(read(peer.get(), &question, sizeof question) == sizeof question);
    if (error < 0) return {};
    if (error == 0) {
      for (uint64_t at = question.offset >> kShift; at <= (question.offset + question.length - 1) >> kShift;
           ++at) {
        mark(at);
      }
    }
    const uint32_t answer[2] = {static_cast<uint32_t>(error), 0};
    CHECK(write(peer.get(), answer, sizeof answer) == sizeof answer);
    return {question.source, question.offset, question.length};
  }

  MapFile map_;
  UniqueFd map_fd_;
  UniqueFd source_;
  UniqueFd listener_;
  std::string directory_;
  overlay::ArrivalOptions options_;
};

void test_presence() {
  Fixture fixture;
  const auto arrivals = fixture.open();
  CHECK(!arrivals->has(0, 0, 1) && arrivals->has(0, 100, 0));
  fixture.mark(1);
  CHECK(arrivals->has(0, 4096, 4096) && !arrivals->has(0, 4095, 2) && !arrivals->has(0, 8191, 2));
  fixture.mark(2);
  CHECK(arrivals->has(0, 4096, 8192));
  fixture.map_.complete = 1;
  fixture.write_map();
  CHECK(arrivals->has(0, 0, kSourceSize));
}

void test_refused_maps() {
  const auto refused = [](auto&& damage) {
    Fixture fixture;
    damage(fixture);
    fixture.write_map();
    return !fixture.opens();
  };
  CHECK(refused([](Fixture& f) { f.map_.magic[0] = 'X'; }));
  CHECK(refused([](Fixture& f) { f.map_.version = 2; }));
  CHECK(refused([](Fixture& f) { f.map_.shift = 63; }));
  CHECK(refused([](Fixture& f) { f.map_.shift = 0; }));
  CHECK(refused([](Fixture& f) { f.map_.length += 1; }));
  CHECK(refused([](Fixture& f) { f.options_.maps[0].source = 1; }));
  CHECK(refused([](Fixture& f) { f.options_.socket.assign(200, 'x'); }));
  Fixture fixture;
  CHECK(ftruncate(fixture.map_fd_.get(), 64) == 0 && !fixture.opens());
  CHECK(ftruncate(fixture.map_fd_.get(), 10) == 0 && !fixture.opens());
}

void test_waiting() {
  Fixture fixture;
  fixture.listen_here();
  const auto arrivals = fixture.open();
  std::thread fetcher([&] {
    // One that dies, and the next that answers.
    fixture.answer_one(-1);
    const auto asked = fixture.answer_one(0);
    CHECK(asked[0] == 0 && asked[1] == 5000 && asked[2] == 7000);
  });
  CHECK(arrivals->await(0, 5000, 7000) == 0 && arrivals->has(0, 4096, 8192));
  fetcher.join();
  std::thread refuser([&] { fixture.answer_one(ENODATA); });
  CHECK(arrivals->await(0, 0, 1) == EIO);
  refuser.join();
  // Nobody answers; then nobody listens.
  CHECK(arrivals->await(0, 0, 1) == EIO);
  fixture.listener_.reset();
  CHECK(arrivals->await(0, 0, 1) == EIO);
  fixture.mark(0);
  CHECK(arrivals->await(0, 0, 1) == 0);
}

void test_image() {
  Fixture fixture;
  fixture.listen_here();
  const auto bytes = sample_tree().build();
  toc::Toc toc;
  toc::Error error;
  const uint64_t length = kSourceSize;
  CHECK(toc.attach(bytes.data(), bytes.size(), error) && toc.validate({&length, 1}, error));
  overlay::Image image(toc, {{fixture.source_.get(), 0, kSourceSize}}, fixture.open());
  uint8_t buffer[16384];
  const auto node_of = [&](uint64_t parent, const char* name) {
    fuse::Reply reply(buffer, sizeof buffer);
    CHECK(image.lookup(parent, name, reply) == 0);
    fuse::EntryOut out;
    memcpy(&out, buffer, sizeof out);
    return out.nodeid;
  };
  const uint64_t node = node_of(1, "sparse");
  const auto blocks = [&](uint64_t offset, uint32_t size) {
    fuse::ReadIn in{};
    in.offset = offset;
    in.size = size;
    uint8_t record[sizeof in];
    memcpy(record, &in, sizeof in);
    return image.may_block(
        {.opcode = fuse::kRead, .unique = 1, .nodeid = node, .caller = {}, .record = record, .tail = {}});
  };
  // A hole is there; what is stored is not.
  CHECK(!blocks(0, 100) && blocks(0, 5001) && !blocks(13100, 10));
  std::thread fetcher([&] {
    for (int count = 0; count < 2; ++count) fixture.answer_one(0);
  });
  fuse::Reply reply(buffer, sizeof buffer);
  CHECK(image.read(node, 0, 13100, reply) == 0 && reply.size() == 13100);
  fetcher.join();
  for (uint64_t at = 0; at < 3000; ++at) CHECK(buffer[5000 + at] == source_byte(2048 + at));
  CHECK(!blocks(0, 13100));
}

}  // namespace

}  // namespace lamina::testing

int main() {
  using namespace lamina::testing;
  test_presence();
  test_refused_maps();
  test_waiting();
  test_image();
  puts("arrivals: every answer as expected");
  return 0;
}

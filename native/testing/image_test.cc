// The operations of an image over a tree in which every answer is known.
#include "overlay/image.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "testing/check.h"
#include "testing/toc_builder.h"
#include "testing/walk.h"

namespace lamina::testing {

namespace {

class Fixture {
 public:
  Fixture() : bytes_(sample_tree().build()), source_(make_source()) {
    toc::Error error;
    const uint64_t length = kSourceSize;
    CHECK(toc_.attach(bytes_.data(), bytes_.size(), error));
    CHECK(toc_.validate({&length, 1}, error));
    image_ =
        std::make_unique<overlay::Image>(toc_, std::vector<overlay::Source>{{source_.get(), 0, kSourceSize}});
  }

  fuse::EntryOut lookup(uint64_t parent, const char* name) {
    fuse::Reply reply(buffer_, sizeof buffer_);
    CHECK(image_->lookup(parent, name, reply) == 0);
    CHECK(reply.size() == sizeof(fuse::EntryOut));
    fuse::EntryOut out;
    memcpy(&out, buffer_, sizeof out);
    return out;
  }
  std::string read(uint64_t node, uint64_t offset, uint32_t size) {
    fuse::Reply reply(buffer_, sizeof buffer_);
    CHECK(image_->read(node, offset, size, reply) == 0);
    return {reinterpret_cast<const char*>(buffer_), reply.size()};
  }
  // The offset, or minus an errno.
  int64_t seek(uint64_t node, uint64_t offset, uint32_t whence) {
    fuse::Reply reply(buffer_, sizeof buffer_);
    const int error = image_->lseek(node, offset, whence, reply);
    if (error != 0) return -error;
    int64_t found;
    memcpy(&found, buffer_, sizeof found);
    return found;
  }

  alignas(8) uint8_t buffer_[65536] = {};
  std::vector<uint8_t> bytes_;
  UniqueFd source_;
  toc::Toc toc_;
  std::unique_ptr<overlay::Image> image_;
};

// What the file "sparse" of the sample tree holds.
std::string sparse_content() {
  std::string content(5000, '\0');
  for (uint64_t at = 2048; at < 5048; ++at) content += static_cast<char>(source_byte(at));
  content.append(5000, '\0');
  for (uint64_t at = 19900; at < 20000; ++at) content += static_cast<char>(source_byte(at));
  return content;
}

void test_attributes(Fixture& fixture) {
  const auto etc = fixture.lookup(1, "etc");
  CHECK(etc.nodeid == etc.attr.ino && etc.attr.mode == 0040755 && etc.attr.nlink == 3);
  CHECK(static_cast<int64_t>(etc.attr.mtime) == -2 && etc.attr.mtimensec == 500000000);
  CHECK(etc.entry_valid > 1000000 && etc.attr_valid > 1000000);
  const auto hosts = fixture.lookup(etc.nodeid, "hosts");
  CHECK(hosts.attr.size == 700 && hosts.attr.blocks == 2 && hosts.attr.nlink == 2);
  CHECK(hosts.attr.uid == 1000 && hosts.attr.gid == 5);
  CHECK(fixture.lookup(1, "hosts-again").nodeid == hosts.nodeid);
  const auto sparse = fixture.lookup(1, "sparse");
  CHECK(sparse.attr.size == 13100 && sparse.attr.blocks == 7);
  // makedev(3): minor 300 of major 1, as the kernel packs it into 32 bits.
  CHECK(fixture.lookup(1, "null").attr.rdev == ((300 & 0xFF) | 1 << 8 | (300 & ~0xFF) << 12));
  const auto absent = fixture.lookup(1, "absent");
  CHECK(absent.nodeid == 0 && absent.entry_valid > 1000000);
  CHECK(fixture.lookup(etc.nodeid, "..").nodeid == 1);
  CHECK(fixture.lookup(1, "..").nodeid == 1);
  fuse::Reply reply(fixture.buffer_, sizeof fixture.buffer_);
  CHECK(fixture.image_->lookup(hosts.nodeid, "x", reply) == ENOTDIR);
  CHECK(fixture.image_->getattr(99999, reply) == ESTALE);
}

void test_content(Fixture& fixture) {
  const uint64_t sparse = fixture.lookup(1, "sparse").nodeid;
  const std::string content = sparse_content();
  CHECK(fixture.read(sparse, 0, 65536) == content);
  for (const uint64_t offset : {1, 4999, 5000, 7999, 8000, 12999, 13000, 13099}) {
    CHECK(fixture.read(sparse, offset, 4) == content.substr(offset, 4));
  }
  CHECK(fixture.read(sparse, 13100, 10).empty());
  CHECK(fixture.seek(sparse, 0, SEEK_DATA) == 5000);
  CHECK(fixture.seek(sparse, 6000, SEEK_DATA) == 6000);
  CHECK(fixture.seek(sparse, 6000, SEEK_HOLE) == 8000);
  CHECK(fixture.seek(sparse, 13050, SEEK_HOLE) == 13100);
  CHECK(fixture.seek(sparse, 13100, SEEK_DATA) == -ENXIO);
  // A source that became shorter than the TOC says.
  CHECK(ftruncate(fixture.source_.get(), 600) == 0);
  fuse::Reply reply(fixture.buffer_, sizeof fixture.buffer_);
  CHECK(fixture.image_->read(fixture.lookup(1, "hosts-again").nodeid, 0, 700, reply) == EIO);
}

void test_xattrs(Fixture& fixture) {
  const uint64_t caps = fixture.lookup(1, "caps").nodeid;
  const auto get = [&](uint64_t node, const char* name, uint32_t size, std::string& value) {
    fuse::Reply reply(fixture.buffer_, sizeof fixture.buffer_);
    const int error = fixture.image_->getxattr(node, name, size, reply);
    value.assign(reinterpret_cast<const char*>(fixture.buffer_), reply.size());
    return error;
  };
  std::string value;
  CHECK(get(caps, "security.capability", 64, value) == 0 && value == std::string("\1\0\0\2", 4));
  CHECK(get(caps, "security.capability", 3, value) == ERANGE);
  CHECK(get(caps, "user.long", 0, value) == 0 && value.size() == sizeof(fuse::GetxattrOut));
  CHECK(fixture.buffer_[0] == (4000 & 0xFF) && fixture.buffer_[1] == 4000 >> 8);
  CHECK(get(caps, "user.empty", 64, value) == 0 && value.empty());
  CHECK(get(caps, "user.none", 64, value) == ENODATA);
  CHECK(get(1, "user.none", 64, value) == ENODATA);
  const std::string names("security.capability\0user.empty\0user.long\0", 41);
  fuse::Reply list(fixture.buffer_, sizeof fixture.buffer_);
  CHECK(fixture.image_->listxattr(caps, 41, {}, list) == 0);
  CHECK(std::string(reinterpret_cast<const char*>(fixture.buffer_), list.size()) == names);
  fuse::Reply small(fixture.buffer_, sizeof fixture.buffer_);
  CHECK(fixture.image_->listxattr(caps, 40, {}, small) == ERANGE);
}

void test_links(Fixture& fixture) {
  fuse::Reply reply(fixture.buffer_, sizeof fixture.buffer_);
  CHECK(fixture.image_->readlink(fixture.lookup(1, "link").nodeid, reply) == 0);
  CHECK(std::string(reinterpret_cast<const char*>(fixture.buffer_), reply.size()) == "etc/hosts");
  CHECK(fixture.image_->readlink(1, reply) == EINVAL);
}

// A TOC without an attribute lets the kernel stop asking.
void test_no_xattrs() {
  TocBuilder tree;
  tree.layers = {kSourceSize};
  const auto bytes = tree.build();
  toc::Toc toc;
  toc::Error error;
  const uint64_t length = kSourceSize;
  CHECK(toc.attach(bytes.data(), bytes.size(), error) && toc.validate({&length, 1}, error));
  overlay::Image image(toc, {{-1, 0, kSourceSize}});
  uint8_t buffer[64];
  fuse::Reply reply(buffer, sizeof buffer);
  CHECK(image.getxattr(1, "user.a", 0, reply) == ENOSYS && image.listxattr(1, 0, {}, reply) == ENOSYS);
}

}  // namespace

}  // namespace lamina::testing

int main() {
  using namespace lamina::testing;
  Fixture fixture;
  walk_everything(fixture.toc_, *fixture.image_, 65536);
  test_attributes(fixture);
  test_xattrs(fixture);
  test_links(fixture);
  test_content(fixture);
  test_no_xattrs();
  puts("image: every answer as expected");
  return 0;
}

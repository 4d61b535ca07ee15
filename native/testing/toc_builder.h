// TOC files for the native tests, encoded here from FORMAT.md and from nothing else, so that the reader is
// not tested against the TypeScript encoder alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "toc/format.h"

namespace lamina::testing {

struct Node {
  uint32_t mode = 0100644;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime_sec = 0;
  uint32_t mtime_nsec = 0;
  uint32_t rdev_major = 0;
  uint32_t rdev_minor = 0;
  std::string target;                         // symlink
  std::vector<toc::Extent> extents;           // regular; offset is filled in
  std::map<std::string, std::string> xattrs;  // name -> value
  std::map<std::string, size_t> children;     // directory: name -> index of the node
};

class TocBuilder {
 public:
  // The root is node 0.
  TocBuilder();
  // Adds `node` under `name` in directory `parent`; returns its index. link() gives a node another name.
  size_t add(size_t parent, const std::string& name, Node node);
  void link(size_t parent, const std::string& name, size_t node);
  // Sizes of the sources, bottom to top.
  std::vector<uint64_t> layers;

  [[nodiscard]] std::vector<uint8_t> build() const;

 private:
  std::vector<Node> nodes_;
};

// Makes the checksums of a (mutated) TOC right again, where its section table still allows it.
void fix_checksums(std::vector<uint8_t>& bytes);

// A tree with something of everything, over one source of kSourceSize bytes in which byte n is
// source_byte(n).
inline constexpr uint64_t kSourceSize = 20000;
inline uint8_t source_byte(uint64_t at) { return static_cast<uint8_t>((at * 7 + at / 251) & 0xFF); }
TocBuilder sample_tree();
// A file that holds the source; returns its descriptor.
int make_source();

}  // namespace lamina::testing

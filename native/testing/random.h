// A small generator whose sequence is fixed by its seed on every machine (splitmix64), unlike that of
// <random>'s distributions.
#pragma once

#include <cstdint>

namespace lamina::testing {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  // 0..limit-1.
  uint64_t below(uint64_t limit) { return next() % limit; }
  // Values at which arithmetic goes wrong.
  uint64_t awkward() {
    static constexpr uint64_t kValues[] = {
        0,     1,          2,          7,          8,          255,        256,       4095, 4096,
        65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1ULL << 53, ~0ULL - 1, ~0ULL};
    return below(4) == 0 ? next() : kValues[below(sizeof kValues / sizeof kValues[0])];
  }

 private:
  uint64_t state_;
};

}  // namespace lamina::testing

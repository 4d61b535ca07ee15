// Mutations of a valid TOC: each is refused, or all of it can be walked. Deterministic: ITERATIONS SEED.
#include <cstring>

#include "testing/check.h"
#include "testing/random.h"
#include "testing/toc_builder.h"
#include "testing/walk.h"
#include "toc/toc.h"

namespace {

using lamina::testing::Random;

// One or a few changes: bits, whole words of awkward values, words copied from elsewhere, a cut.
void mutate(std::vector<uint8_t>& bytes, Random& random) {
  // Past the header nearly always: what stands there is only seen when the checksums are right.
  const size_t low = random.below(8) == 0 ? 0 : sizeof(lamina::toc::Header);
  for (uint64_t left = 1 + random.below(3); left > 0; --left) {
    const size_t at = low + random.below(bytes.size() - low - 8);
    const size_t word = at / 4 * 4;
    switch (random.below(5)) {
      case 0:
        bytes[at] ^= static_cast<uint8_t>(1u << random.below(8));
        break;
      case 1: {
        const auto value = static_cast<uint32_t>(random.awkward());
        memcpy(&bytes[word], &value, sizeof value);
        break;
      }
      case 2: {
        const uint64_t value = random.awkward();
        memcpy(&bytes[word], &value, sizeof value);
        break;
      }
      case 3: {
        uint32_t value;
        memcpy(&value, &bytes[low + random.below(bytes.size() - low - 8) / 4 * 4], sizeof value);
        memcpy(&bytes[word], &value, sizeof value);
        break;
      }
      default:
        if (random.below(20) == 0) bytes.resize(bytes.size() - random.below(bytes.size() / 2));
        break;
    }
    if (bytes.size() < low + 16) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace lamina;
  CHECK(argc == 3);
  const uint64_t iterations = strtoull(argv[1], nullptr, 10);
  Random random(strtoull(argv[2], nullptr, 10));
  const std::vector<uint8_t> valid = testing::sample_tree().build();
  const UniqueFd source(testing::make_source());
  const uint64_t length = testing::kSourceSize;
  uint64_t accepted = 0;
  uint64_t past_checksums = 0;
  for (uint64_t round = 0; round < iterations; ++round) {
    std::vector<uint8_t> bytes = valid;
    if (round != 0) mutate(bytes, random);
    if (random.below(16) != 0) testing::fix_checksums(bytes);
    toc::Toc toc;
    toc::Error error;
    if (!toc.attach(bytes.data(), bytes.size(), error)) continue;
    ++past_checksums;
    if (!toc.validate({&length, 1}, error)) {
      CHECK(error.error != 0 && error.message[0] != '\0');
      continue;
    }
    ++accepted;
    overlay::Image image(toc, {{source.get(), 0, length}});
    testing::walk_everything(toc, image, 1 + random.below(2000));
  }
  // A fuzzer whose input never gets anywhere shows nothing.
  CHECK(accepted > 0 && past_checksums > iterations / 2);
  printf("toc fuzz: %llu mutations, %llu with right checksums, %llu accepted and walked\n",
         static_cast<unsigned long long>(iterations), static_cast<unsigned long long>(past_checksums),
         static_cast<unsigned long long>(accepted));
  return 0;
}

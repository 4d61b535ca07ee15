// Lays the counters' record into a file or into shared memory.
#include "sys/stats.h"

#include <unistd.h>

#include <cstring>

namespace lamina {

Mapping map_stats(int fd) {
  Mapping mapping;
  if (fd < 0) {
    mapping = Mapping::shared(sizeof(Stats));
  } else {
    if (ftruncate(fd, sizeof(Stats)) != 0) return {};
    mapping = Mapping::map(sizeof(Stats), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  if (!mapping.valid()) return {};
  auto* stats = reinterpret_cast<Stats*>(mapping.data());
  memset(mapping.data(), 0, sizeof(Stats));
  memcpy(stats->magic, "LAMSTAT1", sizeof stats->magic);
  stats->version = 1;
  stats->size = sizeof(Stats);
  return mapping;
}

}  // namespace lamina

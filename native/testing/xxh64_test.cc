// XXH64 against the vectors that the TypeScript side is held to as well: lines of INPUT-IN-HEX HASH, `-` for
// no input.
#include "toc/xxh64.h"

#include <cstring>
#include <string>

#include "testing/check.h"

int main(int argc, char** argv) {
  CHECK(argc == 2);
  FILE* file = fopen(argv[1], "r");
  CHECK(file != nullptr);
  char* line = nullptr;
  size_t capacity = 0;
  int vectors = 0;
  while (getline(&line, &capacity, file) > 0) {
    if (line[0] == '#') continue;
    char* space = strchr(line, ' ');
    CHECK(space != nullptr);
    std::string input;
    if (line[0] != '-') {
      for (const char* at = line; at < space; at += 2) {
        input += static_cast<char>(strtoul(std::string(at, 2).c_str(), nullptr, 16));
      }
    }
    const uint64_t expected = strtoull(space + 1, nullptr, 16);
    CHECK(lamina::xxh64(input.data(), input.size()) == expected);
    ++vectors;
  }
  free(line);
  fclose(file);
  CHECK(vectors > 50);
  printf("xxh64: %d vectors\n", vectors);
  return 0;
}

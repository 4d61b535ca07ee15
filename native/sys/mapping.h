// An owned memory mapping (mmap(2)). Shared anonymous ones are how a server that was killed leaves its
// unfinished requests to the next: they are made before the fork, so that the addresses are the same in every
// server.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace lamina {

class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      reset();
      data_ = other.data_;
      size_ = other.size_;
      other.data_ = nullptr;
      other.size_ = 0;
    }
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  // Zeroed pages, shared with processes forked later. Not valid() when the kernel refuses; errno says why.
  static Mapping shared(size_t size) {
    return map(size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
  // Zeroed pages of this process alone.
  static Mapping scratch(size_t size) {
    return map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
  static Mapping map(size_t size, int protection, int flags, int fd, off_t offset) {
    Mapping mapping;
    void* data = ::mmap(nullptr, size, protection, flags, fd, offset);
    if (data != MAP_FAILED) {
      mapping.data_ = static_cast<uint8_t*>(data);
      mapping.size_ = size;
    }
    return mapping;
  }

  [[nodiscard]] bool valid() const { return data_ != nullptr; }
  [[nodiscard]] uint8_t* data() const { return data_; }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  void reset() {
    if (data_ != nullptr) ::munmap(data_, size_);
  }

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lamina

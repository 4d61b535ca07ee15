// The body of a reply, built in place in the buffer that the kernel copies from, so that nothing is copied
// twice. The body never grows past its capacity: what does not fit is refused to the caller.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "fuse/abi.h"

namespace lamina::fuse {

class Reply {
 public:
  Reply(uint8_t* body, size_t capacity) : body_(body), capacity_(capacity) {}

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t room() const { return capacity_ - size_; }
  // Where the next byte goes; room() bytes may be written there and then claimed.
  [[nodiscard]] uint8_t* end() { return body_ + size_; }
  void claim(size_t bytes) { size_ += bytes; }

  template <typename T>
  bool put(const T& record) {
    return put_bytes(&record, sizeof record);
  }
  bool put_text(std::string_view text) { return put_bytes(text.data(), text.size()); }

 private:
  bool put_bytes(const void* data, size_t size) {
    if (size > room()) return false;
    if (size != 0) memcpy(end(), data, size);
    size_ += size;
    return true;
  }

  uint8_t* body_;
  size_t capacity_;
  size_t size_ = 0;
};

}  // namespace lamina::fuse

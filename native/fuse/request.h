// One request, whichever way it came: the operation's own record and what follows it (a name, a value) as two
// byte ranges that are never read past their ends. Nothing else of the server looks at raw request bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "fuse/abi.h"

namespace lamina::fuse {

struct Request {
  uint32_t opcode = 0;
  uint64_t unique = 0;
  uint64_t nodeid = 0;
  std::span<const uint8_t> record;
  std::span<const uint8_t> tail;

  // The operation's record as a T, or nothing when the kernel sent less.
  template <typename T>
  [[nodiscard]] std::optional<T> as() const {
    if (record.size() < sizeof(T)) return std::nullopt;
    T value;
    memcpy(&value, record.data(), sizeof value);
    return value;
  }

  // The zero-terminated name in the tail, or nothing when it has no end.
  [[nodiscard]] std::optional<std::string_view> name() const {
    const auto* text = reinterpret_cast<const char*>(tail.data());
    const void* end = tail.empty() ? nullptr : memchr(text, 0, tail.size());
    if (end == nullptr) return std::nullopt;
    return std::string_view(text, static_cast<size_t>(static_cast<const char*>(end) - text));
  }
};

// The length of the record that stands between header and tail in a request read from /dev/fuse; io_uring
// keeps them apart itself. Operations answered without a look at their arguments need none.
constexpr size_t record_size(uint32_t opcode) {
  switch (opcode) {
    case kRead:
    case kReaddir:
    case kReaddirplus:
      return sizeof(ReadIn);
    case kGetxattr:
    case kListxattr:
      return sizeof(GetxattrIn);
    case kLseek:
      return sizeof(LseekIn);
    default:
      return 0;
  }
}

// Takes a request apart that was read from /dev/fuse; nothing when it is shorter than it says or than a
// header.
inline std::optional<Request> parse_request(std::span<const uint8_t> bytes) {
  InHeader header;
  if (bytes.size() < sizeof header) return std::nullopt;
  memcpy(&header, bytes.data(), sizeof header);
  if (header.len < sizeof header || header.len > bytes.size()) return std::nullopt;
  const std::span<const uint8_t> arguments = bytes.subspan(sizeof header, header.len - sizeof header);
  const size_t record = record_size(header.opcode);
  if (record > arguments.size()) {
    return Request{header.opcode, header.unique, header.nodeid, arguments, {}};
  }
  return Request{header.opcode, header.unique, header.nodeid, arguments.first(record),
                 arguments.subspan(record)};
}

}  // namespace lamina::fuse

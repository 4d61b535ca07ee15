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

// Who asks. `replayed`: a server that was killed may have performed the request, wholly or in part.
struct Caller {
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t pid = 0;
  bool replayed = false;

  // Listing xattr(7)'s trusted attributes only for root is left to filesystems. What else a process may do is
  // not in a request.
  [[nodiscard]] bool lists(std::string_view attribute) const {
    return uid == 0 || !attribute.starts_with("trusted.");
  }
};

struct Request {
  uint32_t opcode = 0;
  uint64_t unique = 0;
  uint64_t nodeid = 0;
  Caller caller;
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
  [[nodiscard]] std::optional<std::string_view> name() const { return text_at(0); }
  // The text that follows the name: RENAME's new name, SYMLINK's target.
  [[nodiscard]] std::optional<std::string_view> second_name() const {
    const auto first = name();
    return first ? text_at(first->size() + 1) : std::nullopt;
  }
  // What follows the name: the value of SETXATTR.
  [[nodiscard]] std::optional<std::span<const uint8_t>> after_name() const {
    const auto first = name();
    if (!first) return std::nullopt;
    return tail.subspan(first->size() + 1);
  }

 private:
  [[nodiscard]] std::optional<std::string_view> text_at(size_t start) const {
    if (start >= tail.size()) return std::nullopt;
    const auto* text = reinterpret_cast<const char*>(tail.data()) + start;
    const void* end = memchr(text, 0, tail.size() - start);
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
    case kSetattr:
      return sizeof(SetattrIn);
    case kMknod:
      return sizeof(MknodIn);
    case kMkdir:
      return sizeof(MkdirIn);
    case kOpen:
      return sizeof(OpenIn);
    case kCreate:
    case kTmpfile:
      return sizeof(CreateIn);
    case kRename:
      return sizeof(RenameIn);
    case kRename2:
      return sizeof(Rename2In);
    case kLink:
      return sizeof(LinkIn);
    case kWrite:
      return sizeof(WriteIn);
    case kFsync:
    case kFsyncdir:
      return sizeof(FsyncIn);
    case kSetxattr:
      return sizeof(SetxattrIn);
    case kFallocate:
      return sizeof(FallocateIn);
    case kCopyFileRange:
      return sizeof(CopyFileRangeIn);
    case kForget:
      return sizeof(ForgetIn);
    case kBatchForget:
      return sizeof(BatchForgetIn);
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
  const Caller caller{header.uid, header.gid, header.pid};
  if (record > arguments.size()) {
    return Request{header.opcode, header.unique, header.nodeid, caller, arguments, {}};
  }
  return Request{header.opcode, header.unique,           header.nodeid,
                 caller,        arguments.first(record), arguments.subspan(record)};
}

}  // namespace lamina::fuse

#include "monitor/json_log.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <ctime>

namespace lamina::monitor {

namespace {

constexpr size_t kMaxPart = size_t{16} * 1024;

// Bytes of the UTF-8 character at the beginning of `text` (RFC 3629); 0 when there is none.
size_t character_length(std::string_view text) {
  const auto at = [&](size_t index) { return static_cast<uint8_t>(text[index]); };
  const uint8_t first = at(0);
  const size_t length = first < 0x80   ? 1
                        : first < 0xc2 ? 0
                        : first < 0xe0 ? 2
                        : first < 0xf0 ? 3
                        : first < 0xf5 ? 4
                                       : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t index = 1; index < length; ++index) {
    if ((at(index) & 0xc0) != 0x80) return 0;
  }
  if (first == 0xe0 && at(1) < 0xa0) return 0;
  if (first == 0xed && at(1) > 0x9f) return 0;
  if (first == 0xf0 && at(1) < 0x90) return 0;
  if (first == 0xf4 && at(1) > 0x8f) return 0;
  return length;
}

// As much of the beginning as fits, without half a character at its end.
size_t part_length(std::string_view text) {
  size_t length = std::min(text.size(), kMaxPart);
  if (length == text.size()) return length;
  for (size_t back = 0; back < 4 && length > back; ++back) {
    const auto byte = static_cast<uint8_t>(text[length - back]);
    if ((byte & 0xc0) != 0x80) return length - back;
  }
  return length;
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string result = "\"";
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_length(text.substr(at));
    const char character = text[at];
    if (length == 0) {
      result += "\\ufffd";
      ++at;
      continue;
    }
    if (length > 1) {
      result.append(text.substr(at, length));
    } else if (character == '"' || character == '\\') {
      result += '\\';
      result += character;
    } else if (character == '\n') {
      result += "\\n";
    } else if (character == '\r') {
      result += "\\r";
    } else if (character == '\t') {
      result += "\\t";
    } else if (static_cast<uint8_t>(character) < 0x20) {
      char escaped[8];
      snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(character));
      result += escaped;
    } else {
      result += character;
    }
    at += length;
  }
  return result + "\"";
}

std::string now_text() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  char date[32];
  char text[64];
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(text, sizeof text, "%s.%09ldZ", date, now.tv_nsec);
  return text;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return;
    text.remove_prefix(static_cast<size_t>(put));
  }
}

void LogStream::write(std::string_view chunk) {
  rest_.append(chunk);
  std::string_view left = rest_;
  for (;;) {
    const size_t newline = left.find('\n');
    if (newline != std::string_view::npos && newline < kMaxPart) {
      put(left.substr(0, newline + 1));
      left.remove_prefix(newline + 1);
    } else if (left.size() >= kMaxPart) {
      const size_t length = part_length(left);
      put(left.substr(0, length));
      left.remove_prefix(length);
    } else {
      break;
    }
  }
  rest_.erase(0, rest_.size() - left.size());
}

void LogStream::finish() {
  if (!rest_.empty()) put(rest_);
  rest_.clear();
}

void LogStream::put(std::string_view part) {
  // One call, so that no reader sees half of it but at a full disk.
  write_all(log_fd_, "{\"log\":" + json_string(part) + ",\"stream\":\"" + name_ + "\",\"time\":\"" +
                         now_text() + "\"}\n");
}

}  // namespace lamina::monitor

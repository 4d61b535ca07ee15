// docker's json-file log, as src/runtime/log.ts reads and writes it.
#pragma once

#include <string>
#include <string_view>

#include "sys/unique_fd.h"

namespace lamina::monitor {

// `text` as a JSON string with its quotes. What is not UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);

// RFC 3339 in UTC with nanoseconds.
std::string now_text();

// One stream of a log: whole lines become entries, a long line one for each 16 KiB.
class LogStream {
 public:
  LogStream(int log_fd, const char* name) : log_fd_(log_fd), name_(name) {}

  void write(std::string_view chunk);
  // Writes what is left without a newline.
  void finish();

 private:
  void put(std::string_view part);

  int log_fd_;
  const char* name_;
  std::string rest_;
};

// Writes all of it, whatever interrupts; a full disk loses it.
void write_all(int fd, std::string_view text);

}  // namespace lamina::monitor

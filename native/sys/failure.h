// Why starting failed: the step that the caller is told by name, the errno, and a sentence for people.
#pragma once

#include <string>

namespace lamina {

struct Failure {
  const char* step = "";
  int error = 0;
  std::string message;

  bool set(const char* failed_step, int code, std::string sentence) {
    step = failed_step;
    error = code;
    message = std::move(sentence);
    return false;
  }
};

}  // namespace lamina

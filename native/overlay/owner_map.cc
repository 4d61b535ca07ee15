#include "overlay/owner_map.h"

#include <algorithm>
#include <charconv>

namespace lamina::overlay {

bool IdMap::parse(std::string_view text) {
  std::vector<uint32_t> numbers;
  ranges_.clear();
  // containers/storage begins with a colon where it added to an option.
  while (text.starts_with(':')) text.remove_prefix(1);
  while (!text.empty()) {
    const size_t end = std::min(text.find(':'), text.size());
    uint32_t number = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + end, number);
    if (error != std::errc() || rest != text.data() + end) return false;
    numbers.push_back(number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (numbers.empty() || numbers.size() % 3 != 0) return false;
  for (size_t at = 0; at < numbers.size(); at += 3) {
    ranges_.push_back({numbers[at], numbers[at + 1], numbers[at + 2]});
  }
  return true;
}

}  // namespace lamina::overlay

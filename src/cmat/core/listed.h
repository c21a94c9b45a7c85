// Lists as text.
#pragma once

#include <string>
#include <string_view>

#include "cmat/core/error.h"

namespace cmat {

/// "a, b, c"
template <typename List>
std::string listed(const List& values, std::string_view separator = ", ") {
  std::string result;
  for (const auto& value : values) {
    if (!result.empty()) result += separator;
    result += text(value);
  }
  return result;
}

}  // namespace cmat

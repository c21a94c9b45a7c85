#include "cmat/continual/find_task.h"

#include <algorithm>
#include <charconv>

#include "cmat/core/config.h"
#include "cmat/core/error.h"

namespace cmat::continual {
namespace {

/// "1: cats, 2: dogs"; of very many only the first ones.
std::string list_of(const std::vector<std::string>& names) {
  constexpr std::size_t longest = 30;
  std::string list;
  for (std::size_t i = 0; i < std::min(names.size(), longest); ++i) {
    list += text(i > 0 ? ", " : "", i + 1, ": ", names[i]);
  }
  return names.size() > longest ? text(list, ", ... (", names.size(), " in all)") : list;
}

}  // namespace

std::int64_t find_task(const std::vector<std::string>& names, const std::string& asked) {
  std::size_t number = 0;
  const char* end = asked.data() + asked.size();
  const auto [stop, error] = std::from_chars(asked.data(), end, number);
  const bool is_number = error == std::errc() && stop == end;
  if (is_number && number >= 1 && number <= names.size()) return static_cast<std::int64_t>(number);
  const auto found = std::find(names.begin(), names.end(), asked);
  if (found != names.end()) return found - names.begin() + 1;
  const std::string guess = is_number ? "" : nearest(asked, names);
  usage_error("the run has no task \"", asked, "\"",
              guess.empty() ? "" : text("; did you mean \"", guess, "\"?"), " (its tasks are ",
              list_of(names), ")");
}

}  // namespace cmat::continual

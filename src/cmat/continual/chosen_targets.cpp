#include "cmat/continual/chosen_targets.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <charconv>

#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::continual {

std::string ChosenTargets::in_words() const {
  if (asked == "next") return "the class after the label's";
  return one >= 0 ? text("class ", asked) : text("the classes of ", asked);
}

at::Tensor ChosenTargets::of(const defense::Batch& batch, std::int64_t classes) const {
  if (asked == "next") return (batch.labels + 1).remainder(classes);
  if (one >= 0) return at::full_like(batch.labels, one);
  std::vector<std::int64_t> rows;
  for (std::int64_t id : batch.sample_ids) rows.push_back(each.at(static_cast<std::size_t>(id)));
  return at::tensor(rows, at::kLong).to(batch.labels.device());
}

std::vector<std::int64_t> ChosenTargets::with_a_way(const std::vector<std::int64_t>& indices,
                                                    const std::vector<std::int64_t>& labels,
                                                    std::int64_t first_label,
                                                    std::int64_t& left_out) const {
  if (one < 0) return indices;
  std::vector<std::int64_t> kept;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if (labels.at(i) + first_label != one) kept.push_back(indices[i]);
  }
  if (kept.empty() && !indices.empty()) {
    usage_error("--targets ", asked,
                ": every image has that label already, so there is nothing to ",
                "reach: choose another class");
  }
  left_out += static_cast<std::int64_t>(indices.size() - kept.size());
  return kept;
}

ChosenTargets parse_targets(const std::string& asked, const std::string& or_else) {
  ChosenTargets targets{.asked = asked};
  if (asked.empty() || asked == "next") return targets;
  const auto read = std::from_chars(asked.data(), asked.data() + asked.size(), targets.one);
  if (read.ec != std::errc() || read.ptr != asked.data() + asked.size() || targets.one < 0) {
    usage_error("--targets wants a class, counted from 0, or \"next\"", or_else, ", not \"", asked,
                "\"");
  }
  return targets;
}

}  // namespace cmat::continual

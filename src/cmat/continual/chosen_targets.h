// The classes that attacks are sent to, from the words of a command.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cmat/defense/batch.h"

namespace cmat::continual {

/// Nothing asked: any wrong class counts.
struct ChosenTargets {
  std::string asked = {};               ///< "next", "3", or a file's name
  std::int64_t one = -1;                ///< one class for all images
  std::vector<std::int64_t> each = {};  ///< by sample id

  bool any() const { return !asked.empty(); }
  /// "the class after the label's", "class 3", "the classes of FILE"
  std::string in_words() const;
  /// One a row of the batch, [n] int64; `classes` of the network. "next" is (label + 1) mod
  /// classes.
  at::Tensor of(const defense::Batch& batch, std::int64_t classes) const;
  /// What `one` leaves of images with these labels (plus `first_label`): those of that class have
  /// nowhere to go. `left_out` counts the others. A usage Error where none is left.
  std::vector<std::int64_t> with_a_way(const std::vector<std::int64_t>& indices,
                                       const std::vector<std::int64_t>& labels,
                                       std::int64_t first_label, std::int64_t& left_out) const;
};

/// "", "next" or a class from 0 on; `or_else` ends the message on anything else: what it may be,
/// too.
ChosenTargets parse_targets(const std::string& asked, const std::string& or_else = "");

}  // namespace cmat::continual

// What an attack wants each image to be taken for: any class but its label's, or one chosen class.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>

namespace cmat::attack {

/// One goal an image. Both losses grow towards it and are differentiable in the logits [n,C].
struct Goal {
  at::Tensor labels;   ///< [n] int64
  at::Tensor targets;  ///< [n] int64; undefined: any class but the label's

  /// Labels alone are a goal: to be taken for anything else.
  Goal(at::Tensor wrong) : labels(std::move(wrong)) {}  // NOLINT(google-explicit-constructor)
  Goal(at::Tensor away_from, at::Tensor towards)
      : labels(std::move(away_from)), targets(std::move(towards)) {}

  bool targeted() const { return targets.defined(); }
  /// Of predicted classes [n], which are what is wanted: [n] bool.
  at::Tensor reached(const at::Tensor& predictions) const;
  /// -log softmax(z)_y; with targets log softmax(z)_t.
  at::Tensor cross_entropy(const at::Tensor& logits) const;
  /// max_{i != y} z_i - z_y; with targets z_t - max_{i != t} z_i. Positive exactly where it is
  /// reached, ties apart. (z_t - z_y, which APGD-T and FAB-T climb, says nothing of other classes.)
  at::Tensor margin(const at::Tensor& logits) const;
  /// Refuses labels and targets outside of 0..classes-1: a usage Error.
  void check(std::int64_t classes) const;
};

/// Refuses what cannot be the targets of these labels [n] int64: another shape or type, negative
/// numbers, an image's own label. Usage Errors.
void check_targets(const at::Tensor& labels, const at::Tensor& targets);

}  // namespace cmat::attack

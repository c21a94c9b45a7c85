// Losses that attacks maximise: one value an example, differentiable in the logits [n,C].
// Conventions and golden values: tests/golden/losses.json.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace cmat::attack {

/// -log softmax(z)_y
at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& labels);
/// max_{i != y} z_i - z_y (positive: misclassified). Carlini and Wagner, 2017.
at::Tensor margin(const at::Tensor& logits, const at::Tensor& labels);
/// Difference of logits ratio, margin / (z(1) - z(3) + 1e-12). REQUIRES C >= 3. Croce and Hein,
/// 2020.
at::Tensor dlr(const at::Tensor& logits, const at::Tensor& labels);
/// (z_t - z_y) / (z(1) - (z(3) + z(4)) / 2 + 1e-12). REQUIRES C >= 4.
at::Tensor dlr_targeted(const at::Tensor& logits, const at::Tensor& labels,
                        const at::Tensor& targets);
/// -cross_entropy(z, t)
at::Tensor cross_entropy_targeted(const at::Tensor& logits, const at::Tensor& targets);
/// z_t - z_y
at::Tensor margin_targeted(const at::Tensor& logits, const at::Tensor& labels,
                           const at::Tensor& targets);

/// What an attack climbs, by name.
enum class Loss {
  cross_entropy,
  margin,
  dlr,  ///< with 2 classes, where it is not defined, the margin
  cross_entropy_targeted,
  margin_targeted,
  dlr_targeted,  ///< with 2 and 3 classes, where it is not defined, the targeted margin
};
std::string loss_name(Loss loss);  ///< "cross-entropy", "targeted DLR"
bool is_targeted(Loss loss);
/// The loss itself. `targets` may be undefined for those that are not targeted.
///
/// The margin stands in for DLR because the scale that DLR divides by is there for comparing
/// images; an attack that follows the sign or the direction of one image's gradient sees only that
/// the margin's never vanishes. With 2 classes the cross-entropy is a growing function of the
/// margin, so both have the same direction, except where the former's gradient underflows to 0.
at::Tensor loss_values(Loss loss, const at::Tensor& logits, const at::Tensor& labels,
                       const at::Tensor& targets);

}  // namespace cmat::attack

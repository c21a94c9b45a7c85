// Losses that attacks maximise: one value an example, differentiable in the logits [n,C].
// Conventions and golden values: tests/golden/losses.json.
#pragma once

#include <ATen/core/Tensor.h>

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

}  // namespace cmat::attack

#include "cmat/attack/hyperplane.h"

#include <ATen/Functions.h>
#include <ATen/TensorIndexing.h>
#include <ATen/TensorOperators.h>

#include <limits>

namespace cmat::attack {
namespace {

constexpr double smallest_weight = 1e-8;

at::Tensor row_sum(const at::Tensor& values) { return values.sum(1, /*keepdim=*/true); }

/// The lambda with sum_i gain_i min(lambda, cap_i) = wanted, one a row; infinite where the caps
/// forbid it. The sum is concave and piecewise linear, so Newton's method from 0 climbs to the
/// root, passes each piece at most once, and is exact on the last. [n,p] and [n,1] to [n,1].
at::Tensor capped_root(const at::Tensor& gain, const at::Tensor& cap, const at::Tensor& wanted) {
  at::Tensor lambda = at::zeros_like(wanted);
  const at::Tensor full = gain * cap;
  while (true) {
    const at::Tensor free = cap > lambda;
    const at::Tensor slope = row_sum(gain * free);
    const at::Tensor missing = wanted - row_sum(full.masked_fill(free, 0));
    const at::Tensor next =
        at::where(slope > 0, missing / slope, std::numeric_limits<double>::infinity());
    if (!(next > lambda).any().item<bool>()) return lambda;
    lambda = at::maximum(lambda, next);
  }
}

/// The cheapest way in L1 is to move the coordinates of the largest weights first, each to its end.
at::Tensor greedy_moves(const at::Tensor& size, const at::Tensor& cap, const at::Tensor& wanted) {
  const at::Tensor gain = size * cap;
  const at::Tensor order = size.argsort(1, /*descending=*/true);
  const at::Tensor sorted_gain = gain.gather(1, order);
  const at::Tensor before = sorted_gain.cumsum(1) - sorted_gain;
  const at::Tensor used = (wanted - before).clamp_min(0);
  const at::Tensor sorted_size = size.gather(1, order);
  const at::Tensor sorted_moves = at::where(used >= sorted_gain, cap.gather(1, order),
                                            used / sorted_size.clamp_min(smallest_weight));
  return at::zeros_like(size).scatter(1, order, sorted_moves);
}

}  // namespace

at::Tensor hyperplane_step(const at::Tensor& points, const at::Tensor& normals,
                           const at::Tensor& excess, Norm norm) {
  const at::Tensor t = points.flatten(1).to(at::kDouble);
  const at::Tensor above = excess.to(at::kDouble).unsqueeze(1);
  const at::Tensor wanted = above.abs();
  // The form must shrink by `wanted`: each coordinate moves against its weight.
  const at::Tensor w = normals.flatten(1).to(at::kDouble) * at::where(above < 0, -1.0, 1.0);
  const at::Tensor moving = w.abs() > smallest_weight;
  const at::Tensor size = w.abs() * moving;
  const at::Tensor cap = at::where(w > 0, t, 1 - t) * moving;

  at::Tensor moves;
  if (norm == Norm::linf) moves = at::minimum(capped_root(size, cap, wanted), cap);
  if (norm == Norm::l2) {
    const at::Tensor scaled_cap = cap / size.clamp_min(smallest_weight);
    moves = at::minimum(capped_root(size * size, scaled_cap, wanted), scaled_cap) * size;
  }
  if (norm == Norm::l1) moves = greedy_moves(size, cap, wanted);
  return (moves * w.sign()).neg().view(points.sizes());
}

at::Tensor dual_length(const at::Tensor& gradients, Norm norm) {
  double order = norm == Norm::l2 ? 2 : 1;
  if (norm == Norm::l1) order = std::numeric_limits<double>::infinity();
  return at::linalg_vector_norm(gradients, order, {-3, -2, -1});
}

Plane nearest_plane(const at::Tensor& jacobian, const at::Tensor& logits, const at::Tensor& labels,
                    Norm norm) {
  const at::Tensor row = at::arange(labels.size(0), labels.options());
  const at::Tensor label_row = jacobian.index({row, labels}).unsqueeze(1);
  const at::Tensor normals = jacobian - label_row;
  const at::Tensor excess = logits - logits.gather(1, labels.unsqueeze(1));
  const at::Tensor distance =
      (excess.abs() / (dual_length(normals, norm) + 1e-12))
          .scatter(1, labels.unsqueeze(1), std::numeric_limits<double>::infinity());
  const at::Tensor nearest = distance.argmin(1);
  return {normals.index({row, nearest}), excess.gather(1, nearest.unsqueeze(1)).squeeze(1)};
}

}  // namespace cmat::attack

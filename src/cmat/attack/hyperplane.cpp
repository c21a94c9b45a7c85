#include "cmat/attack/hyperplane.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIndexing.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace cmat::attack {
namespace {

constexpr double smallest_weight = 1e-8;
constexpr double infinity = std::numeric_limits<double>::infinity();

at::Tensor row_sum(const at::Tensor& values) { return values.sum(1, /*keepdim=*/true); }

// The lambda with sum_i gain_i min(lambda, cap_i) = wanted, infinite where the caps forbid it;
// twice. The sum is concave and piecewise linear, so Newton's method from 0 climbs to the root,
// passes each piece at most once, and is exact on the last.

/// For each row: [n,p] and [n,1] to [n,1].
at::Tensor root_with_tensors(const at::Tensor& gain, const at::Tensor& cap,
                             const at::Tensor& wanted) {
  at::Tensor lambda = at::zeros_like(wanted);
  const at::Tensor full = gain * cap;
  while (true) {
    const at::Tensor free = cap > lambda;
    const at::Tensor slope = row_sum(gain * free);
    const at::Tensor missing = wanted - row_sum(full.masked_fill(free, 0));
    const at::Tensor next = at::where(slope > 0, missing / slope, infinity);
    if (!(next > lambda).any().item<bool>()) return lambda;
    lambda = at::maximum(lambda, next);
  }
}

/// For one row, whose length is a multiple of 8.
double root_of_row(const std::vector<double>& gain, const std::vector<double>& cap, double wanted) {
  double lambda = 0;
  while (true) {
    // Several sums side by side, so that no addition waits for the one before.
    constexpr std::size_t lanes = 8;
    double slope[lanes] = {}, full[lanes] = {};
    for (std::size_t i = 0; i < gain.size(); i += lanes) {
      for (std::size_t k = 0; k < lanes; ++k) {
        const bool free = cap[i + k] > lambda;
        slope[k] += free ? gain[i + k] : 0;
        full[k] += free ? 0 : gain[i + k] * cap[i + k];
      }
    }
    const double all_slope = std::accumulate(slope, slope + lanes, 0.0);
    const double missing = wanted - std::accumulate(full, full + lanes, 0.0);
    const double next = all_slope > 0 ? missing / all_slope : infinity;
    if (!(next > lambda)) return lambda;
    lambda = next;
  }
}

/// hyperplane_step of one row in Linf or L2.
void step_of_row(const double* t, const double* w, std::size_t size, double excess, Norm norm,
                 double* out) {
  const double sign = excess < 0 ? -1 : 1;
  const std::size_t padded = (size + 7) / 8 * 8;  // by coordinates that cannot move
  std::vector<double> gain(padded), cap(padded);
  for (std::size_t i = 0; i < size; ++i) {
    const double weight = std::abs(w[i]), room = sign * w[i] > 0 ? t[i] : 1 - t[i];
    if (weight <= smallest_weight) continue;
    gain[i] = norm == Norm::linf ? weight : weight * weight;
    cap[i] = norm == Norm::linf ? room : room / weight;
  }
  const double lambda = root_of_row(gain, cap, std::abs(excess));
  for (std::size_t i = 0; i < size; ++i) {
    const double move = std::min(lambda, cap[i]) * (norm == Norm::linf ? 1 : std::abs(w[i]));
    out[i] = sign * w[i] > 0 ? -move : move;
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

at::Tensor step_with_tensors(const at::Tensor& points, const at::Tensor& normals,
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
  if (norm == Norm::linf) moves = at::minimum(root_with_tensors(size, cap, wanted), cap);
  if (norm == Norm::l2) {
    const at::Tensor scaled_cap = cap / size.clamp_min(smallest_weight);
    moves = at::minimum(root_with_tensors(size * size, scaled_cap, wanted), scaled_cap) * size;
  }
  if (norm == Norm::l1) moves = greedy_moves(size, cap, wanted);
  return (moves * w.sign()).neg().view(points.sizes());
}

}  // namespace

at::Tensor hyperplane_step(const at::Tensor& points, const at::Tensor& normals,
                           const at::Tensor& excess, Norm norm, bool with_tensors) {
  if (with_tensors || !points.is_cpu() || norm == Norm::l1) {
    return step_with_tensors(points, normals, excess, norm);
  }
  const at::Tensor t = points.to(at::kDouble).contiguous();
  const at::Tensor w = normals.to(at::kDouble).contiguous();
  const at::Tensor above = excess.to(at::kDouble).contiguous();
  at::Tensor result = at::empty_like(t);
  const std::int64_t rows = t.size(0), size = t.numel() / std::max<std::int64_t>(rows, 1);
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      step_of_row(t.const_data_ptr<double>() + row * size, w.const_data_ptr<double>() + row * size,
                  static_cast<std::size_t>(size), above.const_data_ptr<double>()[row], norm,
                  result.mutable_data_ptr<double>() + row * size);
    }
  });
  return result;
}

at::Tensor dual_length(const at::Tensor& gradients, Norm norm) {
  double order = norm == Norm::l2 ? 2 : 1;
  if (norm == Norm::l1) order = infinity;
  return at::linalg_vector_norm(gradients, order, {-3, -2, -1});
}

Plane nearest_plane(const at::Tensor& jacobian, const at::Tensor& logits, const at::Tensor& labels,
                    Norm norm) {
  const at::Tensor row = at::arange(labels.size(0), labels.options());
  const at::Tensor label_row = jacobian.index({row, labels}).unsqueeze(1);
  const at::Tensor normals = jacobian - label_row;
  const at::Tensor excess = logits - logits.gather(1, labels.unsqueeze(1));
  const at::Tensor distance = (excess.abs() / (dual_length(normals, norm) + 1e-12))
                                  .scatter(1, labels.unsqueeze(1), infinity);
  const at::Tensor nearest = distance.argmin(1);
  return {normals.index({row, nearest}), excess.gather(1, nearest.unsqueeze(1)).squeeze(1)};
}

}  // namespace cmat::attack

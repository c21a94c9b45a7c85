#include "cmat/attack/apgd_step.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>

#include "cmat/attack/rows.h"

namespace cmat::attack {
namespace {

/// The values of one image. Written without branches, so that the compiler uses vectors.
template <typename T>
void step_image(const T* x, const T* dx, const T* previous, const T* low, const T* high, T step,
                T weight, std::int64_t values, T* next) {
  const T rest = 1 - weight;
  for (std::int64_t i = 0; i < values; ++i) {
    const T sign = static_cast<T>(dx[i] > 0) - static_cast<T>(dx[i] < 0);
    const T ahead = std::min(std::max(x[i] + sign * step, low[i]), high[i]);
    const T moved = x[i] + weight * (ahead - x[i]) + rest * (x[i] - previous[i]);
    next[i] = std::min(std::max(moved, low[i]), high[i]);
  }
}

template <typename T>
at::Tensor step_images(const at::Tensor& x, const at::Tensor& dx, const at::Tensor& previous,
                       const at::Tensor& low, const at::Tensor& high, const at::Tensor& step_size,
                       double weight) {
  at::Tensor next = at::empty_like(x);
  const std::int64_t images = x.size(0), values = images > 0 ? x.numel() / images : 0;
  const at::Tensor steps = step_size.contiguous();
  for (std::int64_t n = 0; n < images; ++n) {
    const auto row = [&](const at::Tensor& t) { return t.const_data_ptr<T>() + n * values; };
    step_image<T>(row(x), row(dx), row(previous), row(low), row(high), steps.const_data_ptr<T>()[n],
                  static_cast<T>(weight), values, next.data_ptr<T>() + n * values);
  }
  return next;
}

}  // namespace

ApgdStep::ApgdStep(const at::Tensor& images, const ThreatModel& threat)
    : images_(images), threat_(threat), project_(images, threat) {}

at::Tensor ApgdStep::operator()(const at::Tensor& x, const at::Tensor& dx,
                                const at::Tensor& previous, const at::Tensor& step_size,
                                double weight) const {
  const bool plain = threat_.norm == Norm::linf && lie_alike(dx, x) && lie_alike(previous, x) &&
                     lie_alike(project_.low(), x) && step_size.scalar_type() == x.scalar_type();
  if (plain && x.scalar_type() == at::kFloat) {
    return step_images<float>(x, dx, previous, project_.low(), project_.high(), step_size, weight);
  }
  if (plain && x.scalar_type() == at::kDouble) {
    return step_images<double>(x, dx, previous, project_.low(), project_.high(), step_size, weight);
  }
  return by_tensors(x, dx, previous, step_size, weight);
}

at::Tensor ApgdStep::by_tensors(const at::Tensor& x, const at::Tensor& dx,
                                const at::Tensor& previous, const at::Tensor& step_size,
                                double weight) const {
  const at::Tensor ahead = project(at::addcmul(x, direction(dx), spread(step_size)));
  at::Tensor next = x.lerp(ahead, weight);
  if (weight < 1) next.add_(x, 1 - weight).sub_(previous, 1 - weight);
  return project(next);
}

at::Tensor ApgdStep::direction(const at::Tensor& dx) const {
  if (threat_.norm == Norm::linf) return dx.sign();
  return dx / (at::linalg_vector_norm(dx, 2, {1, 2, 3}, /*keepdim=*/true) + 1e-12);
}

/// As project() does, but for L2 with the authors' 1e-12 in the divisor: near the end of a run the
/// losses of two iterates differ by that little, and the step size hangs on which is larger.
at::Tensor ApgdStep::project(const at::Tensor& moved) const {
  if (threat_.norm == Norm::linf) return project_(moved);
  const at::Tensor delta = moved - images_;
  const at::Tensor length = at::linalg_vector_norm(delta, 2, {1, 2, 3}, /*keepdim=*/true);
  const at::Tensor factor = length.clamp_max(threat_.eps_pixels) / (length + 1e-12);
  return at::addcmul(images_, delta, factor).clamp_(0, 1);
}

}  // namespace cmat::attack

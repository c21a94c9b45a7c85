#include "cmat/attack/apgd_step.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include <algorithm>

#include "cmat/attack/linf_values.h"
#include "cmat/attack/rows.h"
#include "cmat/nn/multiversion.h"

namespace cmat::attack {
namespace {

template <typename T>
struct Batch {
  const T *x, *dx, *previous, *images;
  const T* step;  ///< of each image
  T eps, weight;
  std::int64_t values;  ///< of an image
  T* next;
};

template <typename T>
inline __attribute__((always_inline)) void step_images(const Batch<T>& b, std::int64_t first,
                                                       std::int64_t last) {
  const T rest = 1 - b.weight;
  for (std::int64_t n = first; n < last; ++n) {
    const T step = b.step[n];
    for (std::int64_t i = n * b.values; i < (n + 1) * b.values; ++i) {
      const LinfInterval<T> allowed(b.images[i], b.eps);
      const T ahead = allowed.nearest(b.x[i] + sign_of(b.dx[i]) * step);
      const T moved = b.x[i] + b.weight * (ahead - b.x[i]) + rest * (b.x[i] - b.previous[i]);
      b.next[i] = allowed.nearest(moved);
    }
  }
}

CMAT_MULTIVERSION void step_images_float(const Batch<float>& b, std::int64_t first,
                                         std::int64_t last) {
  step_images(b, first, last);
}
CMAT_MULTIVERSION void step_images_double(const Batch<double>& b, std::int64_t first,
                                          std::int64_t last) {
  step_images(b, first, last);
}

template <typename T>
at::Tensor step_batch(const at::Tensor& x, const at::Tensor& dx, const at::Tensor& previous,
                      const Projector& project, const at::Tensor& step_size, double weight,
                      void (*loop)(const Batch<T>&, std::int64_t, std::int64_t)) {
  // Where its successor goes, a value of `previous` is read, and not again.
  const bool last_owner = previous.use_count() == 1 && previous.storage().use_count() == 1;
  at::Tensor next = last_owner ? previous : at::empty_like(x);
  const at::Tensor steps = step_size.contiguous();
  const Batch<T> batch{x.const_data_ptr<T>(),
                       dx.const_data_ptr<T>(),
                       previous.const_data_ptr<T>(),
                       project.images().const_data_ptr<T>(),
                       steps.const_data_ptr<T>(),
                       static_cast<T>(project.eps_pixels()),
                       static_cast<T>(weight),
                       x.size(0) > 0 ? x.numel() / x.size(0) : 0,
                       next.data_ptr<T>()};
  const std::int64_t grain = kValuesAThread / std::max<std::int64_t>(batch.values, 1) + 1;
  at::parallel_for(0, x.size(0), grain, [&](std::int64_t b, std::int64_t e) { loop(batch, b, e); });
  return next;
}

}  // namespace

ApgdStep::ApgdStep(const at::Tensor& images, const ThreatModel& threat)
    : images_(images), threat_(threat), project_(images, threat) {}

at::Tensor ApgdStep::operator()(const at::Tensor& x, const at::Tensor& dx, at::Tensor previous,
                                const at::Tensor& step_size, double weight) const {
  const bool plain = threat_.norm == Norm::linf && lie_alike(dx, x) && lie_alike(previous, x) &&
                     lie_alike(project_.images(), x) && step_size.scalar_type() == x.scalar_type();
  if (plain && x.scalar_type() == at::kFloat) {
    return step_batch<float>(x, dx, previous, project_, step_size, weight, step_images_float);
  }
  if (plain && x.scalar_type() == at::kDouble) {
    return step_batch<double>(x, dx, previous, project_, step_size, weight, step_images_double);
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

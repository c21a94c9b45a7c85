#include "cmat/attack/projection.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cmat/core/error.h"

namespace cmat::attack {
namespace {

/// One value an example, shaped so that it broadcasts over the images.
at::Tensor l2_norm(const at::Tensor& delta) {
  return at::linalg_vector_norm(delta, 2, {1, 2, 3}, /*keepdim=*/true);
}

/// Uniform in [-eps, eps]. Two values a draw: 32 random bits are more than a float can hold.
template <typename T>
void fill_cube(T* out, std::int64_t size, double eps, Random random) {
  const double scale = 2 * eps * 0x1.0p-32;
  for (std::int64_t i = 0; i < size; i += 2) {
    const std::uint64_t bits = random.bits();
    out[i] = static_cast<T>(scale * static_cast<double>(bits >> 32) - eps);
    if (i + 1 == size) break;
    out[i + 1] = static_cast<T>(scale * static_cast<double>(bits & 0xffffffffU) - eps);
  }
}

/// One that is exponential on both sides: vectors of these are uniform on spheres of L1.
double laplace(Random& random) {
  const double size = -std::log(1 - random.uniform());
  return random.bits() >> 63 ? size : -size;
}

/// A vector of normals (of Laplace's variables for L1) has a uniform direction; its length is
/// replaced by a uniform one.
template <typename T>
void fill_ball(T* out, std::int64_t size, Norm norm, double eps, Random random) {
  const double radius = eps * random.uniform();
  std::vector<double> direction(static_cast<std::size_t>(size));
  double length = 0;
  for (double& value : direction) {
    value = norm == Norm::l2 ? random.normal() : laplace(random);
    length += norm == Norm::l2 ? value * value : std::abs(value);
  }
  if (norm == Norm::l2) length = std::sqrt(length);
  const double scale = length > 0 ? radius / length : 0;
  for (std::size_t i = 0; i < direction.size(); ++i) out[i] = static_cast<T>(scale * direction[i]);
}

template <typename T>
void fill_start(at::Tensor& delta, const std::vector<std::int64_t>& sample_ids,
                const ThreatModel& threat, const Key& key) {
  if (sample_ids.empty()) return;
  const std::int64_t size = delta.numel() / static_cast<std::int64_t>(sample_ids.size());
  T* out = delta.data_ptr<T>();
  for (std::int64_t id : sample_ids) {
    const Key sample_key =
        key.for_sample(static_cast<std::uint64_t>(id)).for_purpose(Purpose::attack_start);
    if (threat.norm == Norm::linf) fill_cube(out, size, threat.eps_pixels, Random(sample_key));
    if (threat.norm != Norm::linf)
      fill_ball(out, size, threat.norm, threat.eps_pixels, Random(sample_key));
    out += size;
  }
}

/// The lambda >= 0 with sum_i min(max(size_i - lambda, 0), cap_i) = eps, one a row; 0 where the sum
/// is not larger than eps without it. The sum is linear between its breakpoints size_i and
/// size_i - cap_i, so sorting these finds it exactly. [n,p] float64 to [n,1].
at::Tensor shrinkage(const at::Tensor& size, const at::Tensor& cap, double eps) {
  // What lambda takes away: sum_i min(lambda, size_i) - min(lambda, max(size_i - cap_i, 0)).
  const at::Tensor wanted = at::minimum(size, cap).sum(1, /*keepdim=*/true) - eps;
  const auto [breakpoint, order] = at::cat({size, (size - cap).clamp_min(0)}, 1).sort(1);
  const at::Tensor weight = at::where(order < size.size(1), 1.0, -1.0).to(at::kDouble);
  const at::Tensor base = (weight * breakpoint).cumsum(1);
  const at::Tensor slope = weight.cumsum(1).neg();  // beyond each breakpoint; whole numbers
  const at::Tensor taken = base + breakpoint * slope;
  const at::Tensor last =
      (taken < wanted).sum(1, /*keepdim=*/true).sub_(1).clamp_(0, 2 * size.size(1) - 1);
  const at::Tensor lambda = (wanted - base.gather(1, last)) / slope.gather(1, last);
  return at::where(wanted > 0, lambda, 0.0);
}

at::Tensor project_l1(const at::Tensor& images, const at::Tensor& moved, double eps) {
  const at::Tensor x = images.flatten(1).to(at::kDouble);
  const at::Tensor delta = moved.flatten(1).to(at::kDouble) - x;
  const at::Tensor size = delta.abs();
  const at::Tensor cap = at::where(delta > 0, 1 - x, x);
  const at::Tensor kept = at::minimum((size - shrinkage(size, cap, eps)).clamp_min(0), cap);
  return (x + kept * delta.sign()).clamp_(0, 1).to(images.scalar_type()).view(images.sizes());
}

}  // namespace

Projector::Projector(const at::Tensor& images, const ThreatModel& threat) : threat_(threat) {
  if (threat.norm == Norm::linf) {
    low_ = (images - threat.eps_pixels).clamp_min_(0);
    high_ = (images + threat.eps_pixels).clamp_max_(1);
  } else {
    images_ = images;
  }
}

at::Tensor Projector::operator()(const at::Tensor& moved) const {
  if (threat_.norm == Norm::linf) return at::clamp(moved, low_, high_);
  if (threat_.norm == Norm::l1) return project_l1(images_, moved, threat_.eps_pixels);
  const at::Tensor delta = moved - images_;
  // Never a division by zero, so that radius zero gives back the images.
  const double floor = std::max<double>(threat_.eps_pixels, std::numeric_limits<float>::min());
  const at::Tensor factor = l2_norm(delta).clamp_min_(floor).reciprocal_().mul_(threat_.eps_pixels);
  return at::addcmul(images_, delta, factor).clamp_(0, 1);
}

at::Tensor project(const at::Tensor& images, const at::Tensor& moved, const ThreatModel& threat) {
  return Projector(images, threat)(moved);
}

at::Tensor distance(const at::Tensor& images, const at::Tensor& moved, Norm norm) {
  const at::Tensor delta = moved.to(at::kDouble) - images.to(at::kDouble);
  double order = norm == Norm::l2 ? 2 : 1;
  if (norm == Norm::linf) order = std::numeric_limits<double>::infinity();
  return at::linalg_vector_norm(delta, order, {1, 2, 3});
}

at::Tensor random_start(const at::Tensor& images, const std::vector<std::int64_t>& sample_ids,
                        const ThreatModel& threat, const Key& key) {
  if (static_cast<std::int64_t>(sample_ids.size()) != images.size(0)) {
    usage_error("a random start needs one sample id an image, but got ", sample_ids.size(), " for ",
                images.size(0), " images");
  }
  const at::ScalarType dtype = images.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor delta = at::empty(images.sizes(), at::TensorOptions().dtype(dtype));
  if (dtype == at::kDouble) fill_start<double>(delta, sample_ids, threat, key);
  if (dtype == at::kFloat) fill_start<float>(delta, sample_ids, threat, key);
  return project(images, images + delta.to(images.options()), threat);
}

}  // namespace cmat::attack

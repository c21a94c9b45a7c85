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
void fill_cube(T* out, std::int64_t size, double eps, Random& random) {
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

/// A vector of the given length in the norm. L2 and L1: normals and Laplace's variables have
/// uniform directions.
template <typename T>
void fill_sphere(T* out, std::int64_t size, Norm norm, double radius, Random& random) {
  std::vector<double> direction(static_cast<std::size_t>(size));
  double largest = 0, sum = 0;
  for (double& value : direction) {
    if (norm == Norm::linf) value = random.uniform(-1, 1);
    if (norm == Norm::l2) value = random.normal();
    if (norm == Norm::l1) value = laplace(random);
    largest = std::max(largest, std::abs(value));
    sum += norm == Norm::l2 ? value * value : std::abs(value);
  }
  double length = norm == Norm::l2 ? std::sqrt(sum) : sum;
  if (norm == Norm::linf) length = largest;
  const double scale = length > 0 ? radius / length : 0;
  for (std::size_t i = 0; i < direction.size(); ++i) out[i] = static_cast<T>(scale * direction[i]);
}

/// fill(out, size, random) for each image, on the CPU, with the image's own random numbers.
template <typename T, typename Fill>
void fill_rows(at::Tensor& delta, const std::vector<std::int64_t>& sample_ids, const Key& key,
               const Fill& fill) {
  if (sample_ids.empty()) return;
  const std::int64_t size = delta.numel() / static_cast<std::int64_t>(sample_ids.size());
  T* out = delta.data_ptr<T>();
  for (std::int64_t id : sample_ids) {
    Random random(
        key.for_sample(static_cast<std::uint64_t>(id)).for_purpose(Purpose::attack_start));
    fill(out, size, random);
    out += size;
  }
}

/// A tensor like `images` whose rows fill() draws, in float32 or float64.
template <typename Fill>
at::Tensor drawn(const at::Tensor& images, const std::vector<std::int64_t>& sample_ids,
                 const Key& key, const Fill& fill) {
  if (static_cast<std::int64_t>(sample_ids.size()) != images.size(0)) {
    usage_error("a random start needs one sample id an image, but got ", sample_ids.size(), " for ",
                images.size(0), " images");
  }
  const at::ScalarType dtype = images.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor delta = at::empty(images.sizes(), at::TensorOptions().dtype(dtype));
  if (dtype == at::kDouble) fill_rows<double>(delta, sample_ids, key, fill);
  if (dtype == at::kFloat) fill_rows<float>(delta, sample_ids, key, fill);
  return delta.to(images.options());
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

Projector::Projector(const at::Tensor& images, const ThreatModel& threat)
    : threat_(threat), images_(images) {}

const at::Tensor& Projector::low() const {
  if (!low_.defined()) low_ = (images_ - threat_.eps_pixels).clamp_min_(0);
  return low_;
}

const at::Tensor& Projector::high() const {
  if (!high_.defined()) high_ = (images_ + threat_.eps_pixels).clamp_max_(1);
  return high_;
}

at::Tensor Projector::operator()(const at::Tensor& moved) const {
  if (threat_.norm == Norm::linf) return at::clamp(moved, low(), high());
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

at::Tensor length(const at::Tensor& delta, Norm norm) {
  double order = norm == Norm::l2 ? 2 : 1;
  if (norm == Norm::linf) order = std::numeric_limits<double>::infinity();
  return at::linalg_vector_norm(delta, order, {1, 2, 3});
}

at::Tensor distance(const at::Tensor& images, const at::Tensor& moved, Norm norm) {
  return length(moved.to(at::kDouble) - images.to(at::kDouble), norm);
}

at::Tensor random_start(const at::Tensor& images, const std::vector<std::int64_t>& sample_ids,
                        const ThreatModel& threat, const Key& key) {
  const double eps = threat.eps_pixels;
  const at::Tensor delta =
      drawn(images, sample_ids, key, [&](auto* out, std::int64_t size, Random& random) {
        if (threat.norm == Norm::linf) return fill_cube(out, size, eps, random);
        const double radius = eps * random.uniform();
        fill_sphere(out, size, threat.norm, radius, random);
      });
  return project(images, images + delta, threat);
}

at::Tensor random_directions(const at::Tensor& images, const std::vector<std::int64_t>& sample_ids,
                             Norm norm, const Key& key) {
  return drawn(images, sample_ids, key, [&](auto* out, std::int64_t size, Random& random) {
    fill_sphere(out, size, norm, 1, random);
  });
}

}  // namespace cmat::attack

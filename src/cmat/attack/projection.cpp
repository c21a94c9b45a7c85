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

/// A normal vector has a uniform direction; its length is replaced by a uniform one.
template <typename T>
void fill_ball(T* out, std::int64_t size, double eps, Random random) {
  const double radius = eps * random.uniform();
  std::vector<double> direction(static_cast<std::size_t>(size));
  double squares = 0;
  for (double& value : direction) {
    value = random.normal();
    squares += value * value;
  }
  const double scale = squares > 0 ? radius / std::sqrt(squares) : 0;
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
    if (threat.norm == Norm::l2) fill_ball(out, size, threat.eps_pixels, Random(sample_key));
    out += size;
  }
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
  const double order = norm == Norm::linf ? std::numeric_limits<double>::infinity() : 2;
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

// Back into the ball and the box. Golden values: tests/golden/projections.json.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "cmat/attack/threat_model.h"
#include "cmat/core/random.h"

namespace cmat::attack {

/// `moved` brought back to within eps of `images` and into [0,1]. Linf: exact. L2: scaled into the
/// ball, then clamped (what PGD and APGD do; inside both sets, though not the nearest such point).
/// L1: the nearest point of ball and box, computed in float64. (Scaling would shrink the few pixels
/// that an L1 attack moves; some public code is wrong where few pixels stay inside the box.)
at::Tensor project(const at::Tensor& images, const at::Tensor& moved, const ThreatModel& threat);

/// project() for the same images again and again: what depends on them alone is computed once, when
/// it is first asked for. Not for several threads at once.
class Projector {
 public:
  Projector(const at::Tensor& images, const ThreatModel& threat);
  at::Tensor operator()(const at::Tensor& moved) const;
  const at::Tensor& images() const { return images_; }
  double eps_pixels() const { return threat_.eps_pixels; }
  /// Linf: the smallest and largest values that the ball and [0,1] leave.
  const at::Tensor& low() const;
  const at::Tensor& high() const;

 private:
  ThreatModel threat_;
  at::Tensor images_;
  mutable at::Tensor low_, high_;  ///< Linf: ball and box are one box; undefined: not asked for
};

/// |delta| of each example in the norm, [n].
at::Tensor length(const at::Tensor& delta, Norm norm);

/// |moved - images| of each example in the norm, [n], in float64.
at::Tensor distance(const at::Tensor& images, const at::Tensor& moved, Norm norm);

/// A uniform start for each example inside ball and box, drawn from
/// key.for_sample(sample_ids[i]).for_purpose(attack_start): independent of the batch. Linf: uniform
/// in the cube, then clamped to the box. L2, L1: a direction uniform on the sphere of the norm,
/// uniform radius in [0, eps], then clamped.
at::Tensor random_start(const at::Tensor& images, const std::vector<std::int64_t>& sample_ids,
                        const ThreatModel& threat, const Key& key);

/// A random vector of length 1 in the norm for each example, drawn by the same key: for Linf a
/// uniform vector of the cube, scaled until one pixel is at 1 or -1 (not uniform on the sphere, but
/// what APGD and FAB start with); for L2 and L1 uniform on the sphere.
at::Tensor random_directions(const at::Tensor& images, const std::vector<std::int64_t>& sample_ids,
                             Norm norm, const Key& key);

}  // namespace cmat::attack

// The attack of the program that CMAT was published with, faults included, so that its numbers can be
// put beside honest ones. Its threat model is another one: do not compare across (docs/attacks.md).
#pragma once

#include <memory>
#include <vector>

#include "cmat/attack/attack.h"

namespace cmat::attack {

struct AsPublishedOptions {
  /// Of the network's normalisation, by channel; empty: none. There z = (x - mean) / std.
  std::vector<double> mean, std;
  double eps_normalised = 2.0 / 255;  ///< in units of z
  double step_normalised = 1.5;       ///< 191 times eps: each step ends in a corner of the ball
  int steps = 7;
};

/// "as-published". From a uniform start in the ball around z: steps along the gradient's signs, back
/// to within eps of z, then clamped to [0,1] IN UNITS OF z. The clamp comes last and moves most pixels
/// far out of the ball (all below the channel's mean become the mean), so neither ball nor box is
/// checked, and x' = z' std + mean may lie above 1. Distances are in pixels, linf.
std::unique_ptr<Attack> make_as_published(const AsPublishedOptions& options);

/// The iteration alone, from a start in units of z; returns z'.
at::Tensor as_published_iterate(Classifier& model, const at::Tensor& z, const at::Tensor& start,
                                const at::Tensor& labels, const AsPublishedOptions& options);

}  // namespace cmat::attack

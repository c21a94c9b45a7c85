// The attack of the program that CMAT was published with, faults included, so that its numbers can
// be put beside honest ones. Its threat model is another one: do not compare across
// (docs/attacks.md).
#pragma once

#include <memory>
#include <vector>

#include "cmat/attack/attack.h"
#include "cmat/attack/pgd.h"

namespace cmat::attack {

struct AsPublishedOptions {
  /// Of the normalisation z = (x - mean) / std, by channel; both empty: the network's own.
  std::vector<double> mean = {}, std = {};
  double eps_normalised = 2.0 / 255;  ///< in units of z
  double step_normalised = 1.5;       ///< 191 times eps: each step ends in a corner of the ball
  int steps = 7;
};

/// "as-published". From a uniform start in the ball around z: steps along the gradient's signs,
/// back to within eps of z, then clamped to [0,1] IN UNITS OF z. The clamp comes last and moves
/// most pixels far out of the ball (all below the channel's mean become the mean), so neither ball
/// nor box is checked, and x' = z' std + mean may lie above 1. Distances are in pixels, linf.
std::unique_ptr<Attack> make_as_published(const AsPublishedOptions& options);

/// x' alone, without a verdict: what training takes.
at::Tensor as_published_images(Classifier& model, const at::Tensor& images,
                               const at::Tensor& labels,
                               const std::vector<std::int64_t>& sample_ids, const Key& key,
                               const AsPublishedOptions& options);

/// Radius and number of steps of a config's PGD under that threat model. Its step is the published
/// one.
AsPublishedOptions as_published_options(const PgdOptions& options);
/// The PGD that a config describes, under the threat model that it names.
std::unique_ptr<Attack> make_config_pgd(const PgdOptions& options);

/// The iteration alone, from a start in units of z; returns z'. Empty options.mean and std: z = x.
at::Tensor as_published_iterate(Classifier& model, const at::Tensor& z, const at::Tensor& start,
                                const at::Tensor& labels, const AsPublishedOptions& options);

}  // namespace cmat::attack

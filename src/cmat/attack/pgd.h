// Projected gradient descent (Madry et al., 2018) and its relatives: FGSM (Goodfellow et al.,
// 2015), BIM (Kurakin et al., 2017), MIM (Dong et al., 2018), FGSM-RS (Wong et al., 2020).
#pragma once

#include <memory>

#include "cmat/attack/attack.h"
#include "cmat/core/config.h"

namespace cmat::attack {

struct PgdOptions {
  ThreatModel threat{};
  int steps = 10;  ///< gradient steps a restart; FGSM is one step of eps without a start
  double step_pixels = 2.0 / 255;  ///< length of a step (Linf: per pixel; L2: of the whole image)
  bool random_start = true;
  int restarts = 1;  ///< later ones change only the images that still resist; need `best`
  /// Runs 2, 4, ... climb the margin instead of the cross-entropy. A confident network's
  /// cross-entropy gradient underflows to exactly 0 in float32, and the attack stands still where
  /// it could succeed; the margin's does not.
  bool alternate_losses = false;
  /// MIM: steps follow g <- decay * g + gradient / mean |gradient|. Negative: PGD, no memory.
  double decay = -1;
  /// L1: the share of the pixels' values that one step moves.
  double l1_share = 0.05;
  /// last: the final iterate, as training uses. best: the first misclassified iterate if any, else
  /// the one with the highest loss, over iterates and restarts, as evaluation should. A run ends as
  /// soon as every image is misclassified, which changes no result.
  enum class Keep { last, best } keep = Keep::last;
};

/// 2.5 * eps / steps, the rule of Madry et al.
double default_step_pixels(double eps_pixels, int steps);

/// Reads PREFIX.steps, PREFIX.step, PREFIX.random_start and, for evaluation, PREFIX.restarts.
/// PREFIX.step is a text like "2/255"; "auto", its default, means default_step_pixels. Evaluation
/// keeps the best iterate and alternates losses.
PgdOptions read_pgd_options(Config& config, const std::string& prefix, const ThreatModel& threat,
                            bool evaluation, int default_steps);

/// Iterates x <- project(x + step * direction(gradient of the cross-entropy)); the direction is
/// sign(g) with sign(0) = 0 for Linf and g / (|g| + 1e-10) for L2; for L1 the signs of the largest
/// |g| among the values that are not at the end of the box already, divided by their number
/// (Tramèr and Boneh, 2019: the steepest step would move one value). g is the gradient of each
/// image's OWN loss. Some libraries take that of the batch's mean, 1/n of it, so that the 1e-10
/// shortens the steps of images with a tiny gradient by how many others happen to be in the batch.
///
/// Every forward pass sees the whole batch: the network is given one batch size only, so that an
/// image's result depends neither on which others were fooled before it nor on their order.
std::unique_ptr<Attack> make_pgd(const PgdOptions& options);
std::unique_ptr<Attack> make_fgsm(const ThreatModel& threat);

/// The iteration alone, from given start points, without checks or re-prediction: for training,
/// where a batch is known to be good and every pass counts. `losses`, if given, receives the
/// per-example loss at each iterate 0..steps ([steps+1, n]; costs one more forward).
at::Tensor pgd_iterate(Classifier& model, const at::Tensor& images, const at::Tensor& start,
                       const at::Tensor& labels, const PgdOptions& options,
                       at::Tensor* losses = nullptr);
/// The same on another loss.
at::Tensor pgd_iterate(Classifier& model, const at::Tensor& images, const at::Tensor& start,
                       const LossFunction& loss, const PgdOptions& options);

}  // namespace cmat::attack

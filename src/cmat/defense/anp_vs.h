// ANP-VS: adversarial neural pruning with vulnerability suppression (Madaan, Shin and Hwang, ICML
// 2020). Masks drop the channels whose features an attack distorts most, and what is left is
// trained to be distorted little. docs/objectives.md tells where this differs from the published
// code.
#pragma once

#include <memory>

#include "cmat/defense/objective.h"
#include "cmat/defense/training_attack.h"

namespace cmat::defense {

/// Weights minimise (CE(f(x)) + adversarial CE(f(x'))) / (1 + adversarial) + vulnerability
/// VS(x,x'), masks CE(f(x')) + divergence KL / (training images).
struct AnpVsOptions {
  double adversarial = 2;
  double vulnerability = 0.1;
  double divergence = 1;
  double mask_lr = 0.01;       ///< Adam's; a tenth from half of a stage on, a hundredth from 0.8
  bool shared_noise = false;   ///< both passes draw the same masks
  double label_smoothing = 0;  ///< of the weights' cross-entropies
};

/// The network holds the masks' means in its norms (ChannelMasks), so step() changes their weights
/// and biases a little, as far as the means move; what is left to the caller is the step along
/// StepLoss::gradients. A failure where the network has no norms to mask.
std::unique_ptr<Objective> make_anp_vs(std::unique_ptr<TrainingAttack> attack,
                                       const AnpVsOptions& options);

}  // namespace cmat::defense

// Every objective but anp-vs: an attack that finds x', a loss on x and x', and three options that
// any of them can have.
#pragma once

#include <memory>
#include <string>

#include "cmat/defense/objective.h"
#include "cmat/defense/training_attack.h"

namespace cmat::defense {

enum class LossKind { cross_entropy, trades, mart };

struct LossOptions {
  LossKind kind = LossKind::cross_entropy;
  double beta = 0;             ///< weight of the divergence; TRADES and MART
  double label_smoothing = 0;  ///< of the cross-entropy that the weights see; attacks see none
  double distillation = 0;     ///< share d of the teacher: (1 - d) loss + d distillation
  double temperature = 1;      ///< of the distillation
  double awp = 0;              ///< gamma of WeightPerturbation; 0: none
  double awp_warmup = 0;       ///< share of a stage without it
};

/// "trades" with options becomes "trades+awp".
std::unique_ptr<Objective> make_composed(const std::string& name,
                                         std::unique_ptr<TrainingAttack> attack,
                                         const LossOptions& options);

}  // namespace cmat::defense

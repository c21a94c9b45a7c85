// A training objective turns a batch into a loss, asking an attack for x' where it needs one. Every
// continual method can be trained with every objective.
#pragma once

#include <memory>
#include <string>

#include "cmat/attack/attack.h"
#include "cmat/core/config.h"
#include "cmat/defense/batch.h"
#include "cmat/nn/network.h"

namespace cmat::defense {

struct StepLoss {
  at::Tensor loss;                           ///< scalar, with its graph
  at::Tensor logits;                         ///< of the images that the loss was taken on, detached
  std::int64_t forwards = 0, backwards = 0;  ///< images, the weight step included
};

class Objective {
 public:
  virtual ~Objective() = default;
  /// Told before each step which share of the stage lies behind, in [0,1).
  virtual void set_progress(double share) { (void)share; }
  /// Leaves the network in train mode. `key` names the random draws of this batch.
  virtual StepLoss step(nn::Network& network, const Batch& batch, const Key& key) = 0;
  /// The attack that decisions are made under (validation loss): the training attack. Null for
  /// objectives without one, whose decisions are made on clean images.
  virtual std::unique_ptr<attack::Attack> validation_attack() const = 0;
  /// Forward-and-input-gradient passes before each weight step.
  virtual int attack_steps() const = 0;
  virtual std::string name() const = 0;
};

/// standard, pgd-at
const std::vector<std::string>& objective_names();

/// Reads objective.name and, for pgd-at, objective.steps, objective.step, objective.random_start
/// and objective.attack_mode ("eval": norm layers use their running statistics while attacking, as
/// at test time; "train": batch statistics) and objective.eps_warmup (share of each stage over
/// which radius and step grow linearly from 0: without it a large eps can leave a fresh network
/// stuck at a constant answer). FGSM-RS (Wong et al., 2020) is pgd-at with one step of 1.25 eps.
std::unique_ptr<Objective> make_objective(Config& config, const attack::ThreatModel& threat);

}  // namespace cmat::defense

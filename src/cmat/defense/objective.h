// A training objective turns a batch into a loss, asking an attack for x' where it needs one. Every
// continual method can be trained with every objective. docs/objectives.md has formulae, costs and
// papers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cmat/attack/attack.h"
#include "cmat/core/config.h"
#include "cmat/core/tensor_file.h"
#include "cmat/defense/batch.h"
#include "cmat/nn/network.h"

namespace cmat::defense {

struct StepLoss {
  at::Tensor loss = {};    ///< scalar, with its graph while there are no gradients
  at::Tensor logits = {};  ///< of the images that the loss was taken on, detached
  std::int64_t forwards = 0, backwards = 0;  ///< images, the weight step included
  /// What the weights follow, one a parameter in the network's order: there where it is not, or not
  /// only, the gradient of `loss` at the weights as they are. Empty: it is.
  std::vector<at::Tensor> gradients = {};
};

/// What the optimiser steps along, one tensor a parameter of `network` in its order. Once a step:
/// it may use up the graph of the loss.
std::vector<at::Tensor> weight_gradients(const StepLoss& step, const nn::Network& network);

/// Passes through the network that one optimiser step makes, each over all images of the batch; a
/// mean where steps differ.
struct Passes {
  double attack = 0;          ///< forward, and back to the images, as attacks compute
  double look = 0;            ///< forward in the attack's mode, with no way back
  double train_forward = 0;   ///< in train mode, with its graph
  double train_backward = 0;  ///< back to the weights
  double forwards() const { return attack + look + train_forward; }
  double backwards() const { return attack + train_backward; }
};

/// What an objective may ask of the model that the network is part of. An empty function: there is
/// no such thing, the network stands alone.
struct ModelView {
  /// Which entries of each parameter, in the network's order, the active task may change (bool,
  /// the parameter's shape); an undefined tensor: all of them.
  std::function<std::vector<at::Tensor>()> changeable = {};
  /// Logits [n,C] of the moving average of the weights, in eval mode, without a graph. Leaves the
  /// network in either mode.
  std::function<at::Tensor(const at::Tensor& images)> average_logits = {};
};

class Objective {
 public:
  virtual ~Objective() = default;
  /// Told before the first step. What it asks must stay alive.
  virtual void set_model(ModelView model) { (void)model; }
  /// A task begins, before its first stage: what the one before it left in the network may change.
  virtual void begin_task(nn::Network& network) { (void)network; }
  /// A stage begins, or begins again: what earlier steps left behind is forgotten.
  virtual void begin_stage() {}
  /// Told before each step which share of the stage lies behind, in [0,1).
  virtual void set_progress(double share) { (void)share; }
  /// Leaves the network in train mode. `key` names the random draws of this batch.
  virtual StepLoss step(nn::Network& network, const Batch& batch, const Key& key) = 0;
  /// The network of this instant (or its moving average) is the stage's best so far, and what the
  /// stage will hand on unless a better one comes.
  virtual void keep_epoch() {}
  /// The stage is over and the network what it hands on, before it is validated.
  virtual void end_stage(nn::Network& network) { (void)network; }
  /// Optimiser steps in a row that want the same batch.
  virtual int replays() const { return 1; }
  /// What step() adds to StepLoss's counts, for each image of the batch.
  virtual Passes passes() const = 0;
  /// What the steps of this stage leave behind for the next ones: part of a checkpoint.
  virtual void save(TensorFile& file) const { (void)file; }
  /// The way back. A failure when the tensors are not what save() wrote.
  virtual void load(const TensorFile& file) { (void)file; }
  /// What to tell of the stage so far, for events.jsonl.
  virtual std::map<std::string, double> figures() const { return {}; }
  /// The attack that decisions are made under (validation loss): the training attack, or the
  /// stronger PGD where that is a single step. Null for objectives without one, whose decisions are
  /// made on clean images.
  virtual std::unique_ptr<attack::Attack> validation_attack() const = 0;
  virtual std::string name() const = 0;
};

const std::vector<std::string>& objective_names();

/// Reads [objective]. Every key is read whatever objective.name says, so that a config can switch
/// objectives with one override.
std::unique_ptr<Objective> make_objective(Config& config, const attack::ThreatModel& threat);

}  // namespace cmat::defense

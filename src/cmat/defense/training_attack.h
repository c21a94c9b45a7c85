// Where the images of the weight step come from: the attacks as training makes them, without
// checks or re-prediction, some with a memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "cmat/attack/classifier.h"
#include "cmat/attack/pgd.h"
#include "cmat/core/tensor_file.h"
#include "cmat/defense/batch.h"
#include "cmat/defense/objective.h"
#include "cmat/nn/network.h"

namespace cmat::defense {

/// The images of a weight step, and what finding them took.
struct Found {
  at::Tensor images = {};                    ///< x', [n,c,h,w]
  std::int64_t forwards = 0, backwards = 0;  ///< images
  /// A leaf that `images` depend on and whose gradient of the mean loss take_gradient() wants;
  /// undefined where none does.
  at::Tensor leaf = {};
};

class TrainingAttack {
 public:
  virtual ~TrainingAttack() = default;
  virtual Found find(nn::Network& network, const Batch& batch, const Key& key) = 0;
  virtual void take_gradient(const at::Tensor& gradient) { (void)gradient; }
  // As in Objective:
  virtual void begin_stage() {}
  virtual void set_progress(double share) { (void)share; }
  virtual int replays() const { return 1; }
  virtual Passes passes() const = 0;  ///< of find() alone
  virtual void save(TensorFile& file) const { (void)file; }
  virtual void load(const TensorFile& file) { (void)file; }
  virtual std::map<std::string, double> figures() const { return {}; }
  virtual std::unique_ptr<attack::Attack> validation_attack() const { return nullptr; }
};

/// The batch as it is.
std::unique_ptr<TrainingAttack> make_no_attack();

/// How the iterated attacks begin and what they climb.
enum class Climb {
  cross_entropy,   ///< from a uniform start in the ball (or the image): Madry et al., ICLR 2018
  from_noise,      ///< the cross-entropy from x + 0.001 N(0,1), as MART does
  from_prediction  ///< KL(p(x) || p(x')) from there, as TRADES does; costs a look at x
};

struct TrainingPgdOptions {
  attack::PgdOptions pgd;
  attack::NetworkClassifier::Mode mode = attack::NetworkClassifier::Mode::eval;
  double eps_warmup = 0;  ///< share of a stage over which radius and step grow from 0
  Climb climb = Climb::cross_entropy;
};
std::unique_ptr<TrainingAttack> make_training_pgd(const TrainingPgdOptions& options);

/// One step from a uniform start (Wong et al., ICLR 2020). Such training can collapse within a few
/// steps to a network that resists its own attack and no other; so every guard_every-th step its
/// accuracy under `pgd` is measured on the batch at hand. From a fall by more than `guard_drop`
/// since the check before, until it is made good, steps use `pgd` (Li et al., 2020).
struct FastOptions {
  TrainingPgdOptions pgd;
  double step_pixels = 0;  ///< of the single step
  int guard_every = 50;    ///< optimiser steps; 0: no guard
  double guard_drop = 0.2;
};
std::unique_ptr<TrainingAttack> make_fast(const FastOptions& options);

/// Free adversarial training (Shafahi et al., NeurIPS 2019): the perturbation outlives the batch
/// and takes a step of eps along the gradient that the weight step computes anyway; each batch is
/// used `replays` times. Linf and L2.
struct FreeOptions {
  TrainingPgdOptions pgd;  ///< radius and warm-up, and what decisions are made under
  int replays = 8;
};
std::unique_ptr<TrainingAttack> make_free(const FreeOptions& options);

}  // namespace cmat::defense

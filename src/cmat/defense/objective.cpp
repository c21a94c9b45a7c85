#include "cmat/defense/objective.h"

#include <ATen/Functions.h>

#include "cmat/attack/pgd.h"
#include "cmat/attack/projection.h"
#include "cmat/core/error.h"

namespace cmat::defense {
namespace {

using attack::NetworkClassifier;

/// The weight step's forward pass, in train mode.
StepLoss cross_entropy_step(nn::Network& network, const at::Tensor& images,
                            const at::Tensor& labels) {
  network.set_training(true);
  const at::Tensor logits = network.forward(images);
  return {at::cross_entropy_loss(logits, labels), logits.detach(), images.size(0), images.size(0)};
}

class Standard : public Objective {
 public:
  StepLoss step(nn::Network& network, const Batch& batch, const Key&) override {
    return cross_entropy_step(network, batch.images, batch.labels);
  }
  std::unique_ptr<attack::Attack> validation_attack() const override { return nullptr; }
  int attack_steps() const override { return 0; }
  std::string name() const override { return "standard"; }
};

/// Madry et al., ICLR 2018: min over weights of the loss at the worst x' that PGD finds.
class PgdAt : public Objective {
 public:
  PgdAt(const attack::PgdOptions& options, NetworkClassifier::Mode mode, double eps_warmup)
      : full_(options), options_(options), mode_(mode), eps_warmup_(eps_warmup) {}

  void set_progress(double share) override {
    const double grown = share < eps_warmup_ ? share / eps_warmup_ : 1;
    options_.threat.eps_pixels = full_.threat.eps_pixels * grown;
    options_.step_pixels = full_.step_pixels * grown;
  }

  StepLoss step(nn::Network& network, const Batch& batch, const Key& key) override {
    at::Tensor adversarial = batch.images;
    std::int64_t forwards = 0, backwards = 0;
    {
      const std::unique_ptr<attack::Classifier> model = attack::make_classifier(network, mode_);
      const at::Tensor start =
          options_.random_start
              ? attack::random_start(batch.images, batch.sample_ids, options_.threat, key)
              : batch.images;
      adversarial = attack::pgd_iterate(*model, batch.images, start, batch.labels, options_);
      forwards = model->forwards();
      backwards = model->backwards();
    }
    StepLoss result = cross_entropy_step(network, adversarial, batch.labels);
    result.forwards += forwards;
    result.backwards += backwards;
    return result;
  }
  std::unique_ptr<attack::Attack> validation_attack() const override {
    return attack::make_pgd(full_);
  }
  int attack_steps() const override { return full_.steps; }
  std::string name() const override { return "pgd-at"; }

 private:
  attack::PgdOptions full_;     // as configured
  attack::PgdOptions options_;  // as the present step uses it
  NetworkClassifier::Mode mode_;
  double eps_warmup_;
};

}  // namespace

const std::vector<std::string>& objective_names() {
  static const std::vector<std::string> names = {"standard", "pgd-at"};
  return names;
}

std::unique_ptr<Objective> make_objective(Config& config, const attack::ThreatModel& threat) {
  const std::string name = config.string("objective.name", "pgd-at", objective_names());
  // Read in any case, so that a config can switch objectives with one override.
  const attack::PgdOptions options =
      attack::read_pgd_options(config, "objective", threat, /*evaluation=*/false, 10);
  const std::string mode = config.string("objective.attack_mode", "eval", {"eval", "train"});
  const double eps_warmup = config.number("objective.eps_warmup", 0, 0, 1);
  if (name == "standard") return std::make_unique<Standard>();
  return std::make_unique<PgdAt>(
      options, mode == "eval" ? NetworkClassifier::Mode::eval : NetworkClassifier::Mode::train,
      eps_warmup);
}

}  // namespace cmat::defense

// What a training step should take, from what its passes take one by one.
#include <torch/csrc/autograd/autograd.h>

#include "cmat/attack/classifier.h"
#include "cmat/attack/losses.h"
#include "cmat/bench/workload.h"
#include "cmat/defense/batch.h"

namespace cmat::bench {
namespace {

/// Seconds of one pass over the batch, by its kind; `freeze`: of loading the weights, once a step.
struct PassSeconds {
  double freeze = 0, attack = 0, look = 0, train_forward = 0, train_backward = 0, batch = 0;
};

PassSeconds measure_passes(continual::Setup& setup, const Options& options) {
  const defense::Batch batch = first_batch(setup, options);
  nn::Network& network = setup.model->network();
  const attack::LossFunction loss = [&](const at::Tensor& logits) {
    return attack::cross_entropy(logits, batch.labels);
  };
  PassSeconds seconds;
  seconds.batch = median_seconds(options.repeats, [&] { first_batch(setup, options); });
  seconds.freeze = median_seconds(options.repeats, [&] { attack::make_classifier(network); });
  {
    const auto classifier = attack::make_classifier(network);
    seconds.attack =
        median_seconds(options.repeats, [&] { classifier->gradient(batch.images, loss); });
    seconds.look = median_seconds(options.repeats, [&] { classifier->logits(batch.images); });
  }  // which gives the weights back their gradients
  network.set_training(true);
  const nn::HeldWeights held(network);  // as an objective's step does
  const std::vector<at::Tensor> weights = nn::tensors_of(network.parameters());
  at::Tensor mean_loss;
  const auto forward = [&] { mean_loss = loss(network.forward(batch.images)).mean(); };
  seconds.train_forward = median_seconds(options.repeats, forward);
  seconds.train_backward = median_seconds(
      options.repeats, [&] { torch::autograd::grad({mean_loss}, weights); }, forward);
  return seconds;
}

}  // namespace

nlohmann::json predicted_step(continual::Setup& setup, const Options& options, double around) {
  const PassSeconds s = measure_passes(setup, options);
  const defense::Passes p = setup.objective->passes();
  const double predicted = around + s.batch + s.freeze + p.attack * s.attack + p.look * s.look +
                           p.train_forward * s.train_forward + p.train_backward * s.train_backward;
  return {{"passes",
           {{"attack", p.attack},
            {"look", p.look},
            {"train_forward", p.train_forward},
            {"train_backward", p.train_backward}}},
          {"predicted_seconds", predicted}};
}

}  // namespace cmat::bench

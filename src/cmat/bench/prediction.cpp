// What a training step should take, from what its passes take one by one.
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "cmat/attack/classifier.h"
#include "cmat/attack/losses.h"
#include "cmat/bench/workload.h"
#include "cmat/defense/batch.h"

namespace cmat::bench {

PassTimes::PassTimes(continual::Setup& setup, const Options& options)
    : setup_(setup), options_(options), batch_(first_batch(setup, options)) {}

void PassTimes::measure() {
  nn::Network& network = setup_.model->network();
  const attack::LossFunction loss = [&](const at::Tensor& logits) {
    return attack::cross_entropy(logits, batch_.labels);
  };
  const defense::Passes p = setup_.objective->passes();
  double seconds = seconds_of([&] { first_batch(setup_, options_); });
  std::unique_ptr<attack::Classifier> classifier;
  seconds += seconds_of([&] { classifier = attack::make_classifier(network); });
  // As many after each other as in a step: a processor that works for longer is slower.
  const auto several = [&](double count, const std::function<void()>& pass) {
    const int times = std::max(1, static_cast<int>(std::lround(count)));
    const double all = seconds_of([&] {
      for (int i = 0; i < times; ++i) pass();
    });
    return count / times * all;
  };
  if (p.attack > 0) {
    seconds += several(p.attack, [&] { classifier->gradient(batch_.images, loss); });
  }
  if (p.look > 0) seconds += several(p.look, [&] { classifier->logits(batch_.images); });
  classifier.reset();  // which gives the weights back their gradients
  network.set_training(true);
  const nn::HeldWeights held(network);  // as an objective's step does
  const std::vector<at::Tensor> weights = nn::tensors_of(network.parameters());
  double forward = 0, backward = 0;
  const int times = std::max(1, static_cast<int>(std::lround(p.train_forward)));
  for (int i = 0; i < times; ++i) {
    at::Tensor mean_loss;
    forward += seconds_of([&] { mean_loss = loss(network.forward(batch_.images)).mean(); });
    backward += seconds_of([&] { torch::autograd::grad({mean_loss}, weights); });
  }
  seconds += p.train_forward * forward / times + p.train_backward * backward / times;
  sums_.push_back(seconds);
}

}  // namespace cmat::bench

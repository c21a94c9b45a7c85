// A Classifier over a network's frozen form.
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "cmat/attack/classifier.h"
#include "cmat/nn/frozen/frozen_network.h"

namespace cmat::attack {
namespace {

using nn::frozen::FrozenNetwork;

class FrozenClassifier : public NetworkClassifier {
 public:
  FrozenClassifier(nn::Network& network, FrozenNetwork& frozen)
      : NetworkClassifier(network), frozen_(frozen) {}
  bool rows_are_independent(const at::Tensor& images) const override {
    return frozen_.takes(images);
  }

 protected:
  at::Tensor do_logits(const at::Tensor& images) override {
    return frozen_.takes(images) ? frozen_.logits(images) : do_verdict_logits(images);
  }
  at::Tensor do_verdict_logits(const at::Tensor& images) override {
    return NetworkClassifier::do_logits(images);
  }
  at::Tensor do_features(const at::Tensor& images) override {
    return frozen_.takes(images) ? frozen_.features(images)
                                 : NetworkClassifier::do_features(images);
  }
  Gradient do_gradient(const at::Tensor& images, const LossFunction& loss) override;
  at::Tensor do_jacobian(const at::Tensor& images) override;

 private:
  FrozenNetwork& frozen_;
};

/// autograd goes from the loss to the logits, the frozen network from there to the images.
Gradient FrozenClassifier::do_gradient(const at::Tensor& images, const LossFunction& loss) {
  if (!frozen_.takes(images)) return NetworkClassifier::do_gradient(images, loss);
  const at::AutoGradMode with_grad(true);
  const at::Tensor logits = frozen_.logits(images).requires_grad_(true);
  const at::Tensor losses = loss(logits);
  if (!losses.requires_grad()) return {at::zeros_like(images), logits.detach(), losses.detach()};
  const at::Tensor slope =
      torch::autograd::grad({losses}, {logits}, {at::ones_like(losses)}, /*retain_graph=*/false,
                            /*create_graph=*/false, /*allow_unused=*/true)[0];
  const at::Tensor dx = slope.defined() ? frozen_.input_gradient(slope) : at::zeros_like(images);
  return {dx, logits.detach(), losses.detach()};
}

at::Tensor FrozenClassifier::do_jacobian(const at::Tensor& images) {
  if (!frozen_.takes(images)) return NetworkClassifier::do_jacobian(images);
  const at::NoGradGuard no_grad;
  const at::Tensor logits = frozen_.logits(images);
  std::vector<at::Tensor> rows;
  for (std::int64_t c = 0; c < logits.size(1); ++c) {
    at::Tensor slope = at::zeros_like(logits);
    slope.select(1, c).fill_(1);
    rows.push_back(frozen_.input_gradient(slope));
  }
  return at::stack(rows, 1);
}

}  // namespace

std::unique_ptr<Classifier> make_classifier(nn::Network& network, NetworkClassifier::Mode mode) {
  if (mode == NetworkClassifier::Mode::eval) {
    if (FrozenNetwork* frozen = network.freeze()) {
      return std::make_unique<FrozenClassifier>(network, *frozen);
    }
  }
  return std::make_unique<NetworkClassifier>(network, mode);
}

}  // namespace cmat::attack

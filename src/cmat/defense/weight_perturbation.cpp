#include "cmat/defense/weight_perturbation.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

namespace cmat::defense {
namespace {

/// The rate of the one step of ascent whose direction counts. Its length hardly matters, being
/// scaled away but for the 1e-20, which keeps a gradient of zero from becoming 0/0.
constexpr double kAscent = 0.01;

}  // namespace

WeightPerturbation::WeightPerturbation(const nn::Network& network,
                                       const std::vector<at::Tensor>& gradients,
                                       const std::vector<at::Tensor>& changeable, double gamma) {
  const c10::NoGradGuard no_grad;
  const std::vector<nn::NamedTensor> parameters = network.parameters();
  // Everything that can fail comes first: no destructor runs for a half-made object.
  std::vector<at::Tensor> directions;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor weight = parameters[i].tensor.detach();
    if (weight.dim() < 2 || !gradients[i].defined()) continue;
    at::Tensor own = weight, step = gradients[i] * kAscent;
    if (!changeable.empty() && changeable[i].defined()) {
      own = own * changeable[i];
      step = step * changeable[i];
    }
    directions.push_back(step * (own.norm() / (step.norm() + 1e-20) * gamma));
    moved_.push_back(weight);
    kept_.push_back(weight.clone());
  }
  for (std::size_t i = 0; i < moved_.size(); ++i) moved_[i].add_(directions[i]);
}

WeightPerturbation::~WeightPerturbation() {
  const c10::NoGradGuard no_grad;
  for (std::size_t i = 0; i < moved_.size(); ++i) moved_[i].copy_(kept_[i]);
}

}  // namespace cmat::defense

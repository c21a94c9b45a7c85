// Adversarial weight perturbation (Wu, Xia and Wang, NeurIPS 2020): weights moved a little in the
// direction that raises the loss. Golden values: tests/golden/objectives.json.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "cmat/nn/network.h"

namespace cmat::defense {

/// While it lives, each weight of two or more dimensions is w + gamma |w| g/|g| (Frobenius norms of
/// the whole tensor); the destructor puts every value back, bit for bit. Of a tensor only the
/// entries that `changeable` marks move, and the norms are theirs: a task that owns a tenth of a
/// layer is perturbed as a layer of that size would be. No entry, no gradient: nothing moves.
class WeightPerturbation {
 public:
  /// `gradients` of the loss and `changeable` (ModelView), one a parameter in the network's order.
  /// An empty `changeable` and its undefined tensors stand for all entries.
  WeightPerturbation(const nn::Network& network, const std::vector<at::Tensor>& gradients,
                     const std::vector<at::Tensor>& changeable, double gamma);
  ~WeightPerturbation();
  WeightPerturbation(const WeightPerturbation&) = delete;
  WeightPerturbation& operator=(const WeightPerturbation&) = delete;

 private:
  std::vector<at::Tensor> moved_, kept_;
};

}  // namespace cmat::defense

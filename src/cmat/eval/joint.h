// Several networks as one: all their logits side by side. What an attacker faces where nobody says
// which task an image belongs to.
#pragma once

#include <vector>

#include "cmat/attack/classifier.h"

namespace cmat::eval {

/// Logits [n, C1 + C2 + ...], in the order of the members; gradients go through all of them. A pass
/// counts once, though each member makes one (and for a gradient one more forward, since the loss
/// needs all logits first).
class JointClassifier : public attack::Classifier {
 public:
  explicit JointClassifier(std::vector<attack::Classifier*> members)
      : members_(std::move(members)) {}

 protected:
  at::Tensor do_logits(const at::Tensor& images) override;
  at::Tensor do_verdict_logits(const at::Tensor& images) override;
  attack::Gradient do_gradient(const at::Tensor& images, const attack::LossFunction& loss) override;
  at::Tensor do_jacobian(const at::Tensor& images) override;
  at::Tensor do_features(const at::Tensor& images) override;

 private:
  template <typename Part>
  at::Tensor side_by_side(const Part& part);

  std::vector<attack::Classifier*> members_;
};

}  // namespace cmat::eval

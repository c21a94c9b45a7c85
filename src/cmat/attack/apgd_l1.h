// The ascent of Auto-PGD in L1 (Croce and Hein, 2021): sparse steps whose sparsity follows that of
// the best point so far. Used by apgd.cpp alone.
#pragma once

#include <vector>

#include "cmat/attack/attack.h"
#include "cmat/attack/projection.h"

namespace cmat::attack {

/// One run over a batch, iteration by iteration. A step moves the values with the largest gradients
/// by the same amount, eps in all at first. At each checkpoint an image whose best point became
/// sparser returns to it and takes long steps again; for the others the steps become shorter.
class SparseAscent {
 public:
  SparseAscent(Classifier& model, const at::Tensor& images, const at::Tensor& start,
               const LossFunction& loss, double eps, int steps);
  bool done() const { return iteration_ == steps_; }
  void advance();

  const at::Tensor& seen() const { return seen_; }  ///< what logits() and loss() speak of
  const at::Tensor& logits() const { return logits_; }
  const at::Tensor& loss() const { return loss_; }
  const at::Tensor& best() const { return best_; }
  const at::Tensor& best_loss() const { return best_loss_; }
  const at::Tensor& step_size() const { return step_size_; }  ///< of the next step, [n]
  /// Of the values of an image, those that the next step moves; [n].
  const at::Tensor& share() const { return share_; }

 private:
  void look();
  void checkpoint();
  at::Tensor support(const at::Tensor& x) const;
  at::Tensor direction() const;

  Classifier& model_;
  const at::Tensor& images_;
  const LossFunction& loss_function_;
  double eps_;
  int steps_, window_, iteration_ = 0;
  Projector project_;
  at::Tensor x_, dx_, seen_, logits_, loss_;
  at::Tensor best_, best_loss_, best_dx_, step_size_, share_, support_at_check_;
};

/// The radii, as multiples of eps, and the steps at each: large first, so that the ascent does not
/// stay where it starts. 30, 30 and 40% of the steps; all at eps if there are fewer than three.
struct RadiusPhase {
  double factor;
  int steps;
};
std::vector<RadiusPhase> l1_phases(int steps);

}  // namespace cmat::attack

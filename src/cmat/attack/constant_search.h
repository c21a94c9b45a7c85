// The binary search of attacks that weigh "be misclassified" against "stay near" by a constant, one
// for each image (Carlini and Wagner, 2017).
#pragma once

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <utility>

#include "cmat/attack/rows.h"

namespace cmat::attack {

class ConstantSearch {
 public:
  /// For `n` images, starting at `first` for each.
  ConstantSearch(double first, int searches, const at::Tensor& images);
  const at::Tensor& constants() const { return constant_; }  ///< [n], of the images' type
  /// [n] bool: which images were fooled at their constant. Those take a smaller one next, halfway
  /// to the largest that failed, the others ten times as much until one has succeeded.
  void learn(const at::Tensor& fooled);

 private:
  int left_;
  bool ends_high_;  ///< of 10 searches and more the last takes the largest constant
  at::Tensor constant_, low_, high_;
};

/// Which images of a descent are worth going on with: those whose loss has fallen by a
/// ten-thousandth since the last look.
class FallingLoss {
 public:
  explicit FallingLoss(const at::Tensor& going) : going_(going) {}
  void look(const at::Tensor& loss);
  const at::Tensor& going() const { return going_; }  ///< [n] bool
  bool any() const { return going_.any().item<bool>(); }

 private:
  at::Tensor going_, before_;
};

/// Which images were fooled while a descent at their constants ran to its end. A descent
/// advance()s, and then says what it has seen(): the point's logits() and loss().
template <typename Descent, typename Options>
at::Tensor descend(Descent descent, const Goal& goal, const Options& options,
                   NearestFooled& nearest) {
  at::Tensor success = at::zeros_like(goal.labels, at::kBool);
  FallingLoss falling(nearest.distance() > 0);  // not misclassified as it is
  const int look_every = std::max(options.steps / 10, 1);
  for (int k = 0; k < options.steps; ++k) {
    descent.advance();
    const at::Tensor fooled = goal.reached(descent.logits().argmax(1))
                                  .logical_and(goal.margin(descent.logits()) >= options.kappa)
                                  .logical_and(falling.going());
    nearest.observe(descent.seen(), fooled);
    success = success.logical_or(fooled);
    if (!options.stop_early || k % look_every != 0) continue;
    falling.look(descent.loss());
    if (!falling.any()) break;
  }
  return success;
}

/// The whole attack: a descent for each constant, and the nearest point that any of them met.
template <typename Descent, typename Options>
AttackResult search_nearest(Classifier& model, const at::Tensor& images, const Goal& goal,
                            const Options& options) {
  const std::int64_t forwards = model.forwards(), backwards = model.backwards();
  const at::Tensor clean = model.logits(images);
  goal.check(clean.size(1));
  NearestFooled nearest(images, options.threat.norm);
  nearest.observe(images, goal.reached(clean.argmax(1)));
  ConstantSearch search(options.first_constant, options.searches, images);
  for (int k = 0; k < options.searches; ++k) {
    Descent descent(model, images, goal, search.constants(), options);
    search.learn(descend(std::move(descent), goal, options, nearest));
  }
  AttackResult result = nearest.finish(model, goal, options.threat);
  result.forwards = model.forwards() - forwards;
  result.backwards = model.backwards() - backwards;
  return result;
}

}  // namespace cmat::attack

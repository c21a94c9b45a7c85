// The binary search of attacks that weigh "be misclassified" against "stay near" by a constant, one
// for each image (Carlini and Wagner, 2017).
#pragma once

#include <ATen/core/Tensor.h>

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

}  // namespace cmat::attack

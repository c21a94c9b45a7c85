// Square attack (Andriushchenko et al., 2020): random search with square windows; sees logits only.
#pragma once

#include <memory>

#include "cmat/attack/attack.h"

namespace cmat::attack {

struct SquareOptions {
  ThreatModel threat{};  ///< linf or l2
  int queries = 5000;    ///< after the start
  int restarts = 1;
  int first_restart = 0;
  double first_share = 0.8;  ///< of the image that the first windows cover
  /// Shrinks the windows by the share of the queries done instead of by their number, as the paper
  /// does for other budgets than 10,000. AutoAttack does not.
  bool rescale = false;
};

/// "square". Maximises the margin. Windows and signs are drawn for each image by itself, from its
/// own key, so that the batch does not matter; the authors' program shares them among the images of
/// a batch, and never puts a window at the last position. An image is left alone once
/// misclassified. Every pass sees the whole batch. Usage Errors for options out of range.
std::unique_ptr<Attack> make_square(const SquareOptions& options);

/// The share of the image that a window covers in this iteration, from 0.
double square_share(int iteration, const SquareOptions& options);
/// The side of such a window: for L2 odd and at least 3, if the image has room.
std::int64_t square_side(double share, std::int64_t height, std::int64_t width, Norm norm);
/// Concentric rectangles of height 1/k^2, of L2 norm 1, row by row.
std::vector<double> square_rectangle(std::int64_t height, std::int64_t width);
/// What L2 adds in a window: such a rectangle above its negative, of L2 norm 1.
std::vector<double> square_bump(std::int64_t side);

}  // namespace cmat::attack

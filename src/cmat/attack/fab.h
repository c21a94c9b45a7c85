// Fast Adaptive Boundary attack (Croce and Hein, 2020): looks for the NEAREST misclassified point
// by steps onto the linearised boundary, biased towards the image.
#pragma once

#include <memory>

#include "cmat/attack/attack.h"

namespace cmat::attack {

struct FabOptions {
  /// The radius only decides what counts (and scales the starts of restarts); infinite: everything.
  ThreatModel threat{};
  int steps = 100;
  int restarts = 1;  ///< the first starts at the image, later ones at half the distance known
  /// FAB-T: towards single classes, one backward a step instead of one a class.
  bool targeted = false;
  int targets = 9;  ///< classes of rank first_rank, first_rank + 1, ... of the clean logits
  int first_rank = 2;
  int first_restart = 0;
  double alpha_max = 0.1, eta = 1.05, beta = 0.9;
  /// An image is done when it is fooled within the radius; the attack ends when all are. For
  /// verdicts at one radius; `nearest` is then not the nearest.
  bool stop_inside = false;
};

/// "fab" or "fab-t". Attacks images that are classified correctly; every pass sees the whole batch.
/// Fills AttackResult::nearest. Usage Errors for options out of range.
std::unique_ptr<Attack> make_fab(const FabOptions& options);

}  // namespace cmat::attack

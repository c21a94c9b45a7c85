// The elastic-net attack (Chen et al., "EAD", AAAI 2018): minimises
//   |x' - x|_2^2 + beta |x' - x|_1 + c max(0, z_y - max other + kappa)
// inside the box by FISTA (Beck and Teboulle, 2009), with a binary search for c, image by image.
// The nearest point in L1 that it meets counts.
#pragma once

#include <memory>

#include "cmat/attack/attack.h"

namespace cmat::attack {

struct EadOptions {
  /// l1; the radius only decides what counts; infinite: everything.
  ThreatModel threat{Norm::l1, 12};
  int steps = 1000;             ///< of FISTA for each c
  int searches = 9;             ///< values of c
  double learning_rate = 0.01;  ///< of the first step; falls with the root of the steps left
  double first_constant = 1e-3;
  double beta = 1e-3;  ///< weight of L1: what a value must move by to move at all
  double kappa = 0;    ///< margin that a success needs
  /// An image whose loss has not fallen for a tenth of the steps waits for its next c.
  bool stop_early = true;
};

/// "ead". Fills AttackResult::nearest. Every pass sees the whole batch.
std::unique_ptr<Attack> make_ead(const EadOptions& options);

/// The descent at one c an image ([n], the images' type), to the end.
struct EadRun {
  std::vector<at::Tensor> x, y;            ///< the point and the look-ahead after each step
  at::Tensor l1, l2_squared, predictions;  ///< [steps, n], of x
};
EadRun ead_run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
               const at::Tensor& constants, const EadOptions& options);

}  // namespace cmat::attack

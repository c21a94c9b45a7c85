// Carlini and Wagner's L2 attack (2017): minimises |x' - x|^2 + c max(0, z_y - max other + kappa)
// over w with x' = (tanh w + 1) / 2, with a binary search for c, image by image.
#pragma once

#include <memory>

#include "cmat/attack/attack.h"

namespace cmat::attack {

struct CwOptions {
  /// l2; the radius only decides what counts; infinite: everything.
  ThreatModel threat{Norm::l2, 0.5};
  int steps = 1000;  ///< of Adam for each c; the paper takes 10,000
  int searches = 9;  ///< values of c
  double learning_rate = 0.01;
  double first_constant = 1e-3;
  double kappa = 0;  ///< margin that a success needs
  /// An image whose loss has not fallen for a tenth of the steps waits for its next c. (Public
  /// programs let the batch's sum decide, so that the other images matter.)
  bool stop_early = true;
};

/// "cw". Fills AttackResult::nearest. Every pass sees the whole batch.
std::unique_ptr<Attack> make_cw(const CwOptions& options);

/// The descent at one c an image ([n], the images' type), to the end.
struct CwRun {
  at::Tensor l2_squared, f, predictions;  ///< [steps, n], each BEFORE the step of its row
  at::Tensor w, x;                        ///< after the last step
};
CwRun cw_run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
             const at::Tensor& constants, const CwOptions& options);

/// w of the images, drawn in by 1e-6 so that pixels of 0 and 1 can move.
at::Tensor cw_variables(const at::Tensor& images);

}  // namespace cmat::attack

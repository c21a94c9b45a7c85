// Auto-PGD (Croce and Hein, 2020): projected gradient ascent with momentum whose step is halved,
// for each image by itself, whenever the ascent oscillates or stands still. In L1 (Croce and Hein,
// 2021) without momentum, by sparse steps (apgd_l1.h); rho and eot mean nothing there.
#pragma once

#include <memory>

#include "cmat/attack/attack.h"
#include "cmat/attack/losses.h"

namespace cmat::attack {

struct ApgdOptions {
  ThreatModel threat{};
  Loss loss = Loss::cross_entropy;
  int steps = 100;
  int restarts = 1;  ///< later ones change only the images that still resist
  /// Targeted losses: runs towards the classes of rank first_rank, first_rank + 1, ... of the clean
  /// logits, as many as this or the classes allow. Success is any wrong class.
  int targets = 9;
  int first_rank = 2;
  int first_restart = 0;  ///< numbers the random starts
  int eot = 1;            ///< passes a gradient is averaged over, for networks that are random
  double rho = 0.75;      ///< share of a window's steps that must increase the loss
  double momentum = 0.75;
  /// L1 only: the first 60% of the steps at three and two times the radius.
  bool large_radii = true;

  /// Two differences between the paper and its authors' program, both about when a step is halved.
  /// Whether the first window compares the first iterate with the start. The program compares it
  /// with 0, so that the cross-entropy always seems to have grown, and the outcome hangs on where
  /// the loss has its zero. Default: the start, as the paper says.
  bool start_in_first_window = true;
  /// Whether exactly rho * window increases are enough to keep the step, as the paper says. The
  /// program halves it then, and so does the default: of the 19 golden images where this matters,
  /// 16 end at a higher loss (docs/attacks.md).
  bool keep_step_at_equality = false;
};

/// After how many iterations the steps are reconsidered.
std::vector<int> apgd_checkpoints(int steps);

/// "apgd-ce", "apgd-dlr" or, for targeted losses, "apgd-t". Starts lie on the sphere of the ball
/// (a uniform or normal vector, scaled to length eps, then clamped; L1: a normal vector, projected
/// onto ball and box); misclassified images are left
/// as they are; the result is the first misclassified iterate, or else the image. Every pass sees
/// the whole batch. Usage Errors for options out of range.
std::unique_ptr<Attack> make_apgd(const ApgdOptions& options);

/// All that a run from given starts went through; in L1 at the one radius.
struct ApgdRun {
  at::Tensor best, best_loss;  ///< the iterates with the highest loss, what training wants
  at::Tensor last_fooled;      ///< the last misclassified iterates, or else the starts
  at::Tensor always_correct;   ///< [n] bool
  at::Tensor step_sizes;       ///< [steps+1, n]: row i before iteration i, the last row after all
  at::Tensor losses;           ///< [steps, n]: row i after iteration i
  at::Tensor best_losses;      ///< [steps+1, n]: row 0 at the start
  at::Tensor shares;           ///< L1, like step_sizes: of the values of an image that a step moves
};
ApgdRun apgd_run(Classifier& model, const at::Tensor& images, const at::Tensor& start,
                 const at::Tensor& labels, const at::Tensor& targets, const ApgdOptions& options);

}  // namespace cmat::attack

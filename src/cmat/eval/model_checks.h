// What a network itself must fulfil before a number under attack means anything, looked at on a few
// images. Each check speaks one sentence, like those of checks.h.
#pragma once

#include <vector>

#include "cmat/attack/classifier.h"
#include "cmat/attack/threat_model.h"
#include "cmat/eval/checks.h"
#include "cmat/eval/watch.h"

namespace cmat::eval {

/// "randomised": five passes over the same images differ (another number of them is right, or the
/// rows of logits, each scaled to length 1, are more than 1e-4 apart).
Finding check_randomised(attack::Classifier& model, const at::Tensor& images,
                         const at::Tensor& labels);

/// "softmax-output": the outputs are probabilities, all within 1e-5 of [0,1] and of sum 1.
Finding check_softmax(const at::Tensor& logits);

/// "zero-gradients": images whose margin has no gradient at all.
Finding check_zero_gradients(attack::Classifier& model, const at::Tensor& images,
                             const at::Tensor& labels);

/// "batch-statistics": an image's logits depend on the other images of its batch, by more than a
/// thousandth of the largest logit.
Finding check_batch_statistics(attack::Classifier& model, const at::Tensor& images);

/// "train-mode": `found`, whether the network came in train mode.
Finding check_train_mode(bool found);

/// "eps-zero": an attack of radius 0 leaves another accuracy than there is without one.
Finding check_eps_zero(attack::Classifier& model, const at::Tensor& images,
                       const at::Tensor& labels);

/// "unbounded": PGD that may change every pixel at will (20 steps, 2 runs) leaves more than a
/// twentieth of the images right.
Finding check_unbounded(attack::Classifier& model, const at::Tensor& images,
                        const at::Tensor& labels, attack::Norm norm);

/// All of them but check_train_mode, on images [n,c,h,w] in [0,1]; a batch of 16 to 32 is enough.
std::vector<Finding> check_model(attack::Classifier& model, const at::Tensor& images,
                                 const at::Tensor& labels, attack::Norm norm);

/// "silent-success": an attack misclassified images on the way and returned others. `targeted`:
/// here and below success is a chosen class.
Finding check_silent_success(const std::string& attack, double eps_pixels,
                             std::int64_t silent_successes, bool targeted = false);

/// "still-rising": more than a twentieth of what the margin of the images that were not broken rose
/// came in the last tenth of the steps. Says nothing of fewer than 4 steps.
Finding check_still_rising(const std::string& attack, double eps_pixels, const Observed& observed,
                           bool targeted = false);

}  // namespace cmat::eval

// The Jacobian-based saliency map attack (Papernot et al., EuroS&P 2016): sets few values, but
// those wholly, two at a time, each time the pair that raises the target's logit and lowers the
// others' most.
#pragma once

#include <cstdint>
#include <memory>

#include "cmat/attack/attack.h"

namespace cmat::attack {

struct JsmaOptions {
  /// l1, as the smallest ball that we have for few large changes; the radius only decides what
  /// counts.
  ThreatModel threat{Norm::l1, 12};
  double theta = 1;  ///< what is added to a value, which then stays in [0,1] and is not taken again
  double gamma = 0.1;  ///< share of the values that may be changed
};

/// "jsma". Goes to the chosen targets; without any to each image's second class. Fills
/// AttackResult::nearest. Values of 0.99 and more as they are are never taken.
std::unique_ptr<Attack> make_jsma(const JsmaOptions& options);

/// The images after the last change, as they are where the goal is reached already; targets [n],
/// the classes to go to.
at::Tensor jsma_run(Classifier& model, const at::Tensor& images, const Goal& goal,
                    const at::Tensor& targets, const JsmaOptions& options);

/// The best pair of an image's values to change.
struct SaliencyPair {
  std::int64_t first = -1, second = -1;  ///< first < second; -1: no pair helps
  double score = 0;
};
/// jacobian [C, values] of the logits; domain [values] bool, those that may be changed. A pair's
/// score is alpha |beta|, alpha the sum of its entries for the target, beta for all other classes,
/// and 0 unless alpha > 0 > beta.
SaliencyPair best_saliency_pair(const at::Tensor& jacobian, std::int64_t target,
                                const at::Tensor& domain);

}  // namespace cmat::attack

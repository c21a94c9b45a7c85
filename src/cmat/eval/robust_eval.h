// One task, one attack, every image: what the network says, and what it says under attack.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cmat/attack/attack.h"
#include "cmat/attack/pgd.h"
#include "cmat/core/config.h"
#include "cmat/data/stream.h"
#include "cmat/defense/batch.h"
#include "cmat/eval/watch.h"
#include "cmat/nn/network.h"

namespace cmat::eval {

struct EvalOptions {
  std::int64_t batch =
      250;  ///< every batch is padded to this size, so no result depends on the last one
  at::Device device = at::kCPU;
  /// Batches that an attack is given in one call: more than one for attacks that regroup the images
  /// they have not broken, and that keep to `batch` themselves (AutoAttack).
  std::int64_t batches_at_once = 1;
};

/// Row i speaks of image samples[i] of the split that was evaluated.
struct Verdicts {
  std::vector<std::int64_t> samples, labels, predictions;
  std::vector<std::int64_t> targets;  ///< where EvalHooks::targets chose them; else empty
  std::vector<double>
      losses;  ///< cross-entropy on the image as it was shown (clean or adversarial)
  /// What the verdict cost, in passes of an image through the network: 1 and 0 for clean images,
  /// the attack's otherwise. A mean over images.
  double forwards = 0, backwards = 0;
  /// Attacks made of several: what each did to these images (passes count those that pad a batch),
  /// and which one broke image i, -1: none, or it is misclassified as it is. Else empty.
  std::vector<attack::AttackPart> parts;
  std::vector<std::int64_t> broken_by;
  std::optional<Observed> observed;  ///< where EvalHooks::threat asked for it
  std::int64_t correct() const;
  /// Images that are taken for what the attack wanted: their target, or without one anything wrong.
  std::int64_t reached() const;
  bool reached(std::size_t row) const;
  std::int64_t total() const { return static_cast<std::int64_t>(samples.size()); }
  double mean_loss() const;
};

/// Called with the number of images done.
using EvalProgress = std::function<void(std::int64_t)>;

/// What else an evaluation may be asked for; all may be left out.
struct EvalHooks {
  EvalProgress progress{};
  /// Called within an attack, with the number of images done and the share of those under attack.
  /// Needs `most_passes`: forwards and backwards of an image that is never broken.
  std::function<void(double)> within{};
  double most_passes = 0;
  /// Look on while attacks run (WatchedClassifier::observe). REQUIRES an attack that sees the whole
  /// batch in every pass.
  std::optional<attack::ThreatModel> threat{};
  /// Labels that the attack moves away from, where they are not the images' own (which the verdict
  /// always goes by).
  std::function<at::Tensor(const at::Tensor& images, const at::Tensor& labels)> attack_labels{};
  /// The classes [n] that the attack is sent to (Attack::run_targeted); of clean images they are
  /// only kept. None: any wrong class.
  std::function<at::Tensor(const defense::Batch& batch)> targets{};
  /// Receives what the attack made of each image.
  std::function<void(std::span<const std::int64_t> samples, const at::Tensor& adversarial)> keep{};
  /// Verdicts on the first images, from an evaluation that was interrupted, and a call after each
  /// group of images with what is there so far (forwards and backwards being sums / total).
  Verdicts begun{};
  std::function<void(const Verdicts&)> group_done{};
};

/// Makes a batch of the images with these indices.
using BatchMaker = std::function<defense::Batch(std::span<const std::int64_t> indices)>;

/// `judge` gives the verdict; `attacked`, the same or another network, is what the attack sees
/// (null: clean images, no attack). Random starts are drawn from `key` by image, so the same call
/// gives the same verdicts.
Verdicts evaluate(attack::Classifier& judge, attack::Classifier* attacked, attack::Attack* attack,
                  const BatchMaker& batches, std::span<const std::int64_t> indices,
                  const EvalOptions& options, const Key& key, const EvalHooks& hooks = {});

/// The same for a network under its own attack. `attack` null: clean images. The network runs in
/// eval mode and is left as it was.
Verdicts evaluate(nn::Network& network, const data::ImageSet& images, const data::Task& task,
                  std::span<const std::int64_t> indices, attack::Attack* attack,
                  const EvalOptions& options, const Key& key, const EvalProgress& progress = {});

/// Logits of clean images, [n, C], in batches of `batch` (padded).
at::Tensor clean_logits(nn::Network& network, const data::ImageSet& images, const data::Task& task,
                        std::span<const std::int64_t> indices, const EvalOptions& options);

/// mean(a - b) and its standard error, over pairs.
struct PairedDifference {
  double mean = 0, standard_error = 0;
};
PairedDifference paired_difference(std::span<const double> a, std::span<const double> b);

}  // namespace cmat::eval

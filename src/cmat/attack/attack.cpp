#include "cmat/attack/attack.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <cmath>

#include "cmat/attack/projection.h"
#include "cmat/attack/registry.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::attack {
namespace {

void check_shapes(const at::Tensor& images, const at::Tensor& labels,
                  const std::vector<std::int64_t>& sample_ids) {
  if (images.dim() != 4 || images.numel() == 0 || !images.is_floating_point()) {
    usage_error("an attack takes images as floating-point numbers of the shape [n, c, h, w], not ",
                at::toString(images.scalar_type()), " of the shape ", images.sizes());
  }
  const std::int64_t n = images.size(0);
  if (labels.dim() != 1 || labels.size(0) != n || labels.scalar_type() != at::kLong) {
    usage_error("an attack on ", n, " images takes ", n, " labels as 64-bit integers, not ",
                at::toString(labels.scalar_type()), " of the shape ", labels.sizes());
  }
  if (static_cast<std::int64_t>(sample_ids.size()) != n) {
    usage_error("an attack on ", n, " images takes ", n, " sample ids, not ", sample_ids.size());
  }
}

void check_pixels(const at::Tensor& images) {
  const auto [low_tensor, high_tensor] = at::aminmax(images);
  const double low = low_tensor.item<double>(), high = high_tensor.item<double>();
  if (!std::isfinite(low) || !std::isfinite(high)) {
    usage_error("an attack takes images with pixels in [0,1], but some are not finite");
  }
  if (low >= 0 && high <= 1) return;
  const char* cause = "normalise in the network's first layer, not before the network";
  if (low > -1e-3 && high < 1 + 1e-3) cause = "clamp them after rounding";
  if (low >= 0 && high > 2) cause = "divide values of 0 to 255 by 255";
  usage_error("an attack takes images with pixels in [0,1], but these range from ", low, " to ",
              high, ": ", cause);
}

/// How much rounding each pixel of x' to its type can add to the distance.
double rounding(const at::Tensor& images, Norm norm) {
  const double pixel = images.scalar_type() == at::kDouble ? 0x1.0p-52 : 0x1.0p-23;
  const auto pixels = static_cast<double>(images.numel() / images.size(0));
  if (norm == Norm::linf) return pixel;
  return norm == Norm::l2 ? pixel * std::sqrt(pixels) : pixel * pixels;
}

void check_box(const at::Tensor& adversarial) {
  const auto [low_tensor, high_tensor] = at::aminmax(adversarial);
  const double low = low_tensor.item<double>(), high = high_tensor.item<double>();
  // Written so that NaN fails as well.
  if (!(low >= 0 && high <= 1)) {
    failure("an attack left the pixel range [0,1]: its result ranges from ", low, " to ", high);
  }
}

void check_ball(const at::Tensor& images, const at::Tensor& distances, const ThreatModel& threat) {
  const double allowed = threat.eps_pixels * (1 + 1e-5) + rounding(images, threat.norm);
  const auto [largest, row] = distances.max(0);
  if (largest.item<double>() <= allowed) return;
  failure("an attack moved image ", row.item<std::int64_t>(), " of a batch by ",
          largest.item<double>(), " in ", norm_name(threat.norm),
          ", more than eps = ", format_eps(threat.eps_pixels));
}

}  // namespace

AttackResult Attack::run_targeted(Classifier&, const at::Tensor&, const at::Tensor&,
                                  const at::Tensor&, const std::vector<std::int64_t>&, const Key&) {
  refuse_targets(name());
}

AttackResult GoalAttack::run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
                             const std::vector<std::int64_t>& sample_ids, const Key& key) {
  check_inputs(images, labels, sample_ids);
  return pursue(model, images, labels, sample_ids, key);
}

AttackResult GoalAttack::run_targeted(Classifier& model, const at::Tensor& images,
                                      const at::Tensor& labels, const at::Tensor& targets,
                                      const std::vector<std::int64_t>& sample_ids, const Key& key) {
  check_inputs(images, labels, sample_ids);
  check_targets(labels, targets);
  return pursue(model, images, {labels, targets}, sample_ids, key);
}

void check_inputs(const at::Tensor& images, const at::Tensor& labels,
                  const std::vector<std::int64_t>& sample_ids) {
  check_shapes(images, labels, sample_ids);
  check_pixels(images);
  const auto lowest = labels.min().item<std::int64_t>();
  if (lowest < 0) usage_error("an attack takes labels from 0 on, but one is ", lowest);
}

void check_labels(const at::Tensor& labels, std::int64_t classes) {
  const auto [low, high] = at::aminmax(labels);
  const bool too_low = low.item<std::int64_t>() < 0;
  if (!too_low && high.item<std::int64_t>() < classes) return;
  usage_error("label ", (too_low ? low : high).item<std::int64_t>(),
              " is not among the network's classes, 0 to ", classes - 1);
}

AttackResult finish(Classifier& model, const at::Tensor& images, const Goal& goal,
                    const at::Tensor& adversarial, const ThreatModel& threat) {
  AttackResult result;
  result.adversarial = adversarial;
  result.distance = distance(images, adversarial, threat.norm);
  check_box(adversarial);
  check_ball(images, result.distance, threat);
  result.predictions = model.verdict_logits(adversarial).argmax(1);
  result.fooled = goal.reached(result.predictions);
  result.forwards = images.size(0);
  return result;
}

}  // namespace cmat::attack

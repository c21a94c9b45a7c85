#include "cmat/eval/model_checks.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cmat/attack/losses.h"
#include "cmat/attack/pgd.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::eval {
namespace {

std::int64_t count_right(const at::Tensor& logits, const at::Tensor& labels) {
  return (logits.argmax(1) == labels).sum().item<std::int64_t>();
}

Finding finding(const char* check, std::int64_t images, const std::string& raised,
                const std::string& fine) {
  return {check, images > 0, images, images > 0 ? raised : fine};
}

std::vector<std::int64_t> numbers(std::int64_t n) {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(n));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

/// Of the rows of two lists of logits, how many differ by more than that share of the largest.
std::int64_t rows_apart(const at::Tensor& a, const at::Tensor& b, double share) {
  const double scale = a.abs().max().item<double>();
  return (std::get<0>((a - b).abs().max(1)) > share * scale).sum().item<std::int64_t>();
}

}  // namespace

Finding check_randomised(attack::Classifier& model, const at::Tensor& images,
                         const at::Tensor& labels) {
  const auto unit = [](const at::Tensor& logits) {
    return logits / (logits.norm(2, {1}, /*keepdim=*/true) + 1e-10);
  };
  const at::Tensor first = model.logits(images);
  std::int64_t differ = 0;
  for (int pass = 1; pass < 5; ++pass) {
    const at::Tensor again = model.logits(images);
    const at::Tensor apart = (unit(first) - unit(again)).norm(2, {1}) > 1e-4;
    differ = std::max(differ, apart.sum().item<std::int64_t>());
    if (count_right(first, labels) != count_right(again, labels)) {
      differ = std::max<std::int64_t>(differ, 1);
    }
  }
  const std::int64_t n = images.size(0);
  return finding("randomised", differ,
                 text("the network gives other logits each time for ", differ, " of ", n,
                      " images, so attacks follow gradients of a network that is gone and one pass "
                      "decides: use aa-rand, or make the network deterministic (dropout off, no "
                      "noise)"),
                 text("five passes give ", n, " images the same logits"));
}

Finding check_softmax(const at::Tensor& logits) {
  const bool inside =
      logits.min().item<double>() >= -1e-5 && logits.max().item<double>() <= 1 + 1e-5;
  const bool sums = (logits.sum(1) - 1).abs().max().item<double>() <= 1e-5;
  return finding(
      "softmax-output", inside && sums ? logits.size(0) : 0,
      "the network's outputs are probabilities, whose gradients vanish where it is sure, "
      "so losses on logits are too weak: attack the layer before the softmax",
      "the network's outputs are no probabilities");
}

Finding check_zero_gradients(attack::Classifier& model, const at::Tensor& images,
                             const at::Tensor& labels) {
  const auto g = model.gradient(
      images, [&](const at::Tensor& logits) { return attack::margin(logits, labels); });
  const at::Tensor size = std::get<0>(g.dx.flatten(1).abs().max(1));
  // Written so that NaN counts as well.
  const auto zero =
      (size > 0).logical_and(size.isfinite()).logical_not().sum().item<std::int64_t>();
  const std::int64_t n = images.size(0);
  return finding(
      "zero-gradients", zero,
      text("the margin of ", zero, " of ", n, " images has a gradient of zero or none, so ",
           "attacks that follow gradients stand still there: look for a step, rounding "
           "or detach in the network, and believe square only"),
      text("the margin has a gradient at all of ", n, " images"));
}

Finding check_batch_statistics(attack::Classifier& model, const at::Tensor& images) {
  const std::int64_t n = images.size(0);
  if (n == 0) failure("a check of a network needs at least one image");
  // The same image among itself and its like, and among white ones: an even batch, half of it new.
  const std::int64_t kept = std::max<std::int64_t>(n / 2, 1);
  const at::Tensor own = images.narrow(0, 0, kept);
  const at::Tensor among = model.logits(at::cat({own, own}));
  const at::Tensor other = model.logits(at::cat({own, at::ones_like(own)}));
  const std::int64_t apart =
      rows_apart(among.narrow(0, 0, kept), other.narrow(0, 0, kept), /*share=*/1e-3);
  return finding(
      "batch-statistics", apart,
      text("the logits of ", apart, " of ", kept, " images depend on the other images of ",
           "their batch, so norm layers use the batch's statistics and no verdict is the ",
           "image's own: save the network in eval mode, with running statistics"),
      "an image's logits do not depend on its batch");
}

Finding check_train_mode(bool found) {
  return finding("train-mode", found ? 1 : 0,
                 "the network was saved in train mode and was put into eval mode, which is not how "
                 "it was traced if dropout or norm layers are fixed in it: save it after eval()",
                 "the network is in eval mode");
}

Finding check_eps_zero(attack::Classifier& model, const at::Tensor& images,
                       const at::Tensor& labels) {
  attack::PgdOptions options;
  options.threat = {attack::Norm::linf, 0};
  options.steps = 1;
  options.step_pixels = 0.01;
  options.keep = attack::PgdOptions::Keep::best;
  const at::Tensor clean = model.verdict_logits(images).argmax(1);
  const auto result =
      attack::make_pgd(options)->run(model, images, labels, numbers(images.size(0)), {.seed = 1});
  const std::int64_t right = (clean == labels).sum().item<std::int64_t>();
  const std::int64_t left = result.fooled.logical_not().sum().item<std::int64_t>();
  const std::int64_t other =
      std::max((clean != result.predictions).sum().item<std::int64_t>(), std::abs(right - left));
  return finding("eps-zero", other,
                 text("an attack of radius 0 leaves ", left, " of ", images.size(0),
                      " images right where ", right,
                      " are, so the images or the network that are attacked are not those that are "
                      "measured: look for preprocessing, modes or randomness that differ"),
                 "an attack of radius 0 leaves the clean accuracy");
}

Finding check_unbounded(attack::Classifier& model, const at::Tensor& images,
                        const at::Tensor& labels, attack::Norm norm) {
  const auto values = static_cast<double>(images.numel() / images.size(0));
  attack::PgdOptions options;
  options.threat = {norm, norm == attack::Norm::linf ? 1.0
                          : norm == attack::Norm::l2 ? std::sqrt(values)
                                                     : values};
  options.steps = 20;
  options.restarts = 2;
  options.step_pixels = attack::default_step_pixels(options.threat.eps_pixels, options.steps);
  options.alternate_losses = true;
  options.keep = attack::PgdOptions::Keep::best;
  const auto result =
      attack::make_pgd(options)->run(model, images, labels, numbers(images.size(0)), {.seed = 1});
  const std::int64_t n = images.size(0);
  const std::int64_t left = result.fooled.logical_not().sum().item<std::int64_t>();
  return finding(
      "unbounded", 20 * left > n ? left : 0,
      text("an attack that may change every pixel at will leaves ", left, " of ", n,
           " images right, which no network can stand, so the gradients mislead: believe "
           "square and transfer only, and look for what hides them"),
      text("an attack that may change every pixel at will leaves ", left, " of ", n,
           " images right"));
}

std::vector<Finding> check_model(attack::Classifier& model, const at::Tensor& images,
                                 const at::Tensor& labels, attack::Norm norm) {
  std::vector<Finding> findings = {check_randomised(model, images, labels),
                                   check_softmax(model.logits(images)),
                                   check_zero_gradients(model, images, labels)};
  // A random network differs from pass to pass, whatever stands in its batch.
  if (!findings.front().raised) findings.push_back(check_batch_statistics(model, images));
  findings.push_back(check_eps_zero(model, images, labels));
  findings.push_back(check_unbounded(model, images, labels, norm));
  return findings;
}

Finding check_silent_success(const std::string& attack, double eps_pixels,
                             std::int64_t silent_successes, bool targeted) {
  return finding(
      "silent-success", silent_successes,
      text(attack, " at eps ", format_eps(eps_pixels),
           targeted ? " reached the target of " : " misclassified ", silent_successes,
           silent_successes == 1 ? " image" : " images",
           " on its way and returned others, which counts them as robust: keep the first "
           "such iterate, not the last"),
      text(attack, " returned what it ", targeted ? "reached" : "misclassified"));
}

Finding check_still_rising(const std::string& attack, double eps_pixels, const Observed& observed,
                           bool targeted) {
  const bool rising = observed.passes >= 4 && observed.late_rise > 0.05 * observed.rise;
  const auto percent =
      observed.rise > 0 ? std::llround(100 * observed.late_rise / observed.rise) : 0;
  return finding(
      "still-rising", rising ? 1 : 0,
      text(attack, " at eps ", format_eps(eps_pixels), " was still getting on when it ended (",
           percent, "% of what it gained on the images it left came in the last tenth of ",
           "its steps), so the ", targeted ? "success is too low" : "accuracy is too high",
           ": take more steps"),
      text(attack, " had stopped getting on when it ended"));
}

}  // namespace cmat::eval

#include "cmat/attack/pgd.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "cmat/attack/linf_step.h"
#include "cmat/attack/losses.h"
#include "cmat/attack/projection.h"
#include "cmat/attack/rows.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::attack {
namespace {

/// The signs of the largest |dx| that can still move, of length 1 in L1.
at::Tensor sparse_direction(const at::Tensor& dx, const at::Tensor& x, double share) {
  const at::Tensor stuck = (dx > 0).logical_and(x >= 1).logical_or((dx < 0).logical_and(x <= 0));
  const at::Tensor g = dx.masked_fill(stuck, 0).flatten(1), size = g.abs();
  const auto count =
      std::max<std::int64_t>(std::llrint(share * static_cast<double>(size.size(1))), 1);
  const at::Tensor smallest = std::get<0>(size.topk(count, 1)).narrow(1, count - 1, 1);
  const at::Tensor signs = g.sign() * (size >= smallest);
  return (signs / signs.abs().sum(1, /*keepdim=*/true).clamp_min(1)).view(dx.sizes());
}

/// Of length 1 in L2 and L1.
at::Tensor direction(const at::Tensor& dx, const at::Tensor& x, const PgdOptions& options) {
  if (options.threat.norm == Norm::l1) return sparse_direction(dx, x, options.l1_share);
  return dx / (at::linalg_vector_norm(dx, 2, {1, 2, 3}, /*keepdim=*/true) + 1e-10);
}

/// The gradient that MIM follows. A gradient of zero adds nothing (and is no division by zero).
at::Tensor with_momentum(const at::Tensor& dx, const at::Tensor& momentum, double decay) {
  const at::Tensor mean = dx.abs().mean({1, 2, 3}, /*keepdim=*/true);
  const at::Tensor scaled = dx / at::where(mean > 0, mean, at::ones_like(mean));
  return momentum.defined() ? scaled.add(momentum, decay) : scaled;
}

/// Sees each iterate, the start included, with its logits and losses. True ends the iteration.
using Observer =
    std::function<bool(const at::Tensor& x, const at::Tensor& logits, const at::Tensor& loss)>;

/// The iteration of every attack in this file. Returns the last iterate. An observer costs one more
/// forward pass, because the last iterate has no gradient step of its own.
at::Tensor iterate(Classifier& model, const at::Tensor& images, const at::Tensor& start,
                   const LossFunction& loss, const PgdOptions& options, const Observer& observer) {
  const Projector project_back(images, options.threat);
  at::Tensor x = start, momentum;
  for (int step = 0; step < options.steps; ++step) {
    const Gradient g = model.gradient(x, loss);
    if (observer && observer(x, g.logits, g.loss)) return x;
    at::Tensor dx = g.dx;
    if (options.decay >= 0) dx = momentum = with_momentum(dx, momentum, options.decay);
    x = options.threat.norm == Norm::linf
            ? linf_step(project_back, x, dx, options.step_pixels)
            : project_back(x.add(direction(dx, x, options), options.step_pixels));
  }
  if (observer) {
    const at::Tensor logits = model.logits(x);
    observer(x, logits, loss(logits));
  }
  return x;
}

/// For each image the first iterate seen that reached its goal or else the one with the highest
/// loss.
class BestIterates {
 public:
  BestIterates(const at::Tensor& images, const Goal& goal)
      : goal_(goal),
        x_(images.clone()),
        fooled_(at::zeros_like(goal.labels, at::kBool)),
        loss_(at::full(goal.labels.sizes(), -std::numeric_limits<double>::infinity(),
                       images.options())) {}

  /// Whether every image has reached its goal, so that nothing can improve any more. `loss` is the
  /// cross-entropy, whatever loss a run climbs, so that runs can be compared.
  bool observe(const at::Tensor& x, const at::Tensor& logits, const at::Tensor& loss) {
    const at::Tensor fooled_now = goal_.reached(logits.argmax(1));
    const at::Tensor better =
        fooled_.logical_not().logical_and_(fooled_now.logical_or(loss > loss_));
    take_rows(better, x, x_);
    loss_ = at::where(better, loss, loss_);
    fooled_ = fooled_.logical_or(fooled_now);
    return all_fooled();
  }
  bool all_fooled() const { return fooled_.all().item<bool>(); }
  const at::Tensor& x() const { return x_; }

 private:
  Goal goal_;
  at::Tensor x_, fooled_, loss_;
};

class Pgd : public GoalAttack {
 public:
  explicit Pgd(const PgdOptions& options) : options_(options) {}

  std::string name() const override;
  std::string recipe() const override;
  double most_passes(std::int64_t) const override {
    return options_.restarts * (2.0 * options_.steps + 1) + 1;
  }

 protected:
  AttackResult pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                      const std::vector<std::int64_t>& sample_ids, const Key& key) override;

 private:
  at::Tensor start(const at::Tensor& images, const std::vector<std::int64_t>& sample_ids,
                   const Key& key, int restart) const {
    if (!options_.random_start) return images;
    return random_start(images, sample_ids, options_.threat,
                        key.for_step(static_cast<std::uint64_t>(restart)));
  }

  PgdOptions options_;
};

AttackResult Pgd::pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                         const std::vector<std::int64_t>& sample_ids, const Key& key) {
  const std::int64_t forwards = model.forwards(), backwards = model.backwards();
  bool checked = false;
  const LossFunction loss = [&](const at::Tensor& logits) {
    if (!std::exchange(checked, true)) goal.check(logits.size(1));
    return goal.cross_entropy(logits);
  };
  const LossFunction margin_loss = [&](const at::Tensor& logits) { return goal.margin(logits); };

  at::Tensor adversarial;
  if (options_.keep == PgdOptions::Keep::last) {
    adversarial = iterate(model, images, start(images, sample_ids, key, 0), loss, options_, {});
  } else {
    BestIterates best(images, goal);
    for (int restart = 0; restart < options_.restarts && !(restart > 0 && best.all_fooled());
         ++restart) {
      const bool climb_margin = options_.alternate_losses && restart % 2 == 1;
      const Observer observer = [&](const at::Tensor& x, const at::Tensor& logits,
                                    const at::Tensor& climbed) {
        return best.observe(x, logits, climb_margin ? goal.cross_entropy(logits) : climbed);
      };
      iterate(model, images, start(images, sample_ids, key, restart),
              climb_margin ? margin_loss : loss, options_, observer);
    }
    adversarial = best.x();
  }

  AttackResult result = finish(model, images, goal, adversarial, options_.threat);
  result.forwards = model.forwards() - forwards;
  result.backwards = model.backwards() - backwards;
  return result;
}

std::string Pgd::name() const {
  std::string result = text(options_.random_start ? "pgd" : "bim", options_.steps);
  if (options_.decay >= 0) result = text("mim", options_.steps);
  if (options_.steps == 1 && options_.decay < 0)
    result = options_.random_start ? "fgsm-rs" : "fgsm";
  if (options_.restarts > 1) result += text("x", options_.restarts);
  return result;
}

std::string Pgd::recipe() const {
  const PgdOptions& o = options_;
  return text(
      "projected gradient ascent on the cross-entropy, ", norm_name(o.threat.norm),
      " eps = ", format_eps(o.threat.eps_pixels), ", ", o.steps,
      o.steps == 1 ? " step of " : " steps of ", format_eps(o.step_pixels),
      o.decay >= 0 ? text(", momentum ", o.decay) : "",
      o.threat.norm == Norm::l1 ? text(", each on ", o.l1_share, " of the values") : "", ", ",
      o.random_start ? "uniform start in the ball, clamped to the box" : "start at the image", ", ",
      o.restarts, o.restarts == 1 ? " run" : " runs",
      o.restarts > 1 && o.alternate_losses ? " (every second one on the margin)" : "", ", keeps ",
      o.keep == PgdOptions::Keep::last ? "the last iterate"
                                       : "the first misclassified or else the worst iterate");
}

void check_options(const PgdOptions& o) {
  if (o.steps < 1) usage_error("PGD needs at least one step, not ", o.steps);
  if (o.restarts < 1) usage_error("PGD needs at least one run, not ", o.restarts);
  if (!(o.threat.eps_pixels >= 0) || !(o.step_pixels >= 0) || !std::isfinite(o.threat.eps_pixels) ||
      !std::isfinite(o.step_pixels)) {
    usage_error("PGD needs a radius and a step that are finite and not negative, not ",
                o.threat.eps_pixels, " and ", o.step_pixels);
  }
  if (!(o.l1_share > 0) || o.l1_share > 1) {
    usage_error("PGD in l1 moves a share of the values between 0 and 1 at a step, not ",
                o.l1_share);
  }
  if (o.restarts > 1 && o.keep == PgdOptions::Keep::last) {
    usage_error("PGD with ", o.restarts, " runs must keep the best iterate, not the last one");
  }
  if (o.restarts > 1 && !o.random_start) {
    usage_error("PGD with ", o.restarts,
                " runs needs random starts: from the same start every run would be the same");
  }
}

}  // namespace

double default_step_pixels(double eps_pixels, int steps) { return 2.5 * eps_pixels / steps; }

PgdOptions read_pgd_options(Config& config, const std::string& prefix, const ThreatModel& threat,
                            bool evaluation, int default_steps) {
  PgdOptions options;
  options.threat = threat;
  options.steps = static_cast<int>(config.integer(prefix + ".steps", default_steps, 1, 100000));
  const std::string step_key = prefix + ".step";
  const std::string step = config.string(step_key, "auto");
  options.step_pixels = step == "auto"
                            ? default_step_pixels(threat.eps_pixels, options.steps)
                            : parse_eps_pixels(step, step_key, largest_eps_pixels(threat.norm));
  options.random_start = config.boolean(prefix + ".random_start", true);
  if (evaluation) {
    options.restarts = static_cast<int>(config.integer(prefix + ".restarts", 1, 1, 10000));
    options.keep = PgdOptions::Keep::best;
    options.alternate_losses = true;
  }
  check_options(options);
  return options;
}

std::unique_ptr<Attack> make_pgd(const PgdOptions& options) {
  check_options(options);
  return std::make_unique<Pgd>(options);
}

std::unique_ptr<Attack> make_fgsm(const ThreatModel& threat) {
  PgdOptions options;
  options.threat = threat;
  options.steps = 1;
  options.step_pixels = threat.eps_pixels;
  options.random_start = false;
  return make_pgd(options);
}

at::Tensor pgd_iterate(Classifier& model, const at::Tensor& images, const at::Tensor& start,
                       const at::Tensor& labels, const PgdOptions& options, at::Tensor* losses) {
  std::vector<at::Tensor> seen;
  Observer observer;
  if (losses) {
    observer = [&](const at::Tensor&, const at::Tensor&, const at::Tensor& loss) {
      seen.push_back(loss);
      return false;
    };
  }
  const LossFunction loss = [&](const at::Tensor& logits) { return cross_entropy(logits, labels); };
  at::Tensor x = iterate(model, images, start, loss, options, observer);
  if (losses) *losses = at::stack(seen);
  return x;
}

at::Tensor pgd_iterate(Classifier& model, const at::Tensor& images, const at::Tensor& start,
                       const LossFunction& loss, const PgdOptions& options) {
  return iterate(model, images, start, loss, options, {});
}

}  // namespace cmat::attack

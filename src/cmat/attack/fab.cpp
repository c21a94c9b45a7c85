#include "cmat/attack/fab.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>

#include "cmat/attack/hyperplane.h"
#include "cmat/attack/losses.h"
#include "cmat/attack/projection.h"
#include "cmat/attack/rows.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::attack {
namespace {

class Fab : public GoalAttack {
 public:
  explicit Fab(const FabOptions& options) : options_(options) {}
  std::string name() const override;
  std::string recipe() const override;
  double most_passes(std::int64_t classes) const override {
    const double steps = options_.restarts * static_cast<double>(options_.steps);
    const auto targets = static_cast<double>(std::min<std::int64_t>(options_.targets, classes - 1));
    return 2 + steps * (options_.targeted ? 3 * targets : 2 + static_cast<double>(classes));
  }

 protected:
  AttackResult pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                      const std::vector<std::int64_t>& sample_ids, const Key& key) override;

 private:
  FabOptions options_;
};

/// One attack on one batch.
class Search {
 public:
  Search(Classifier& model, const at::Tensor& images, const Goal& goal, const FabOptions& options)
      : model_(model),
        images_(images),
        goal_(goal),
        options_(options),
        nearest_(images, options.threat.norm) {}

  /// Whether more steps could change the result.
  bool wants_more() const { return !done().all().item<bool>(); }
  void observe(const at::Tensor& x, const at::Tensor& fooled) {
    nearest_.observe(x, fooled.logical_and(done().logical_not()));
  }
  /// Towards where `excess` is 0; empty: the nearest boundary at each step, whichever class lies
  /// behind it.
  void run(at::Tensor x, const LossFunction& excess);
  at::Tensor start(const at::Tensor& direction) const;
  const NearestFooled& nearest() const { return nearest_; }

 private:
  at::Tensor done() const {
    return nearest_.distance() <= (options_.stop_inside ? options_.threat.eps_pixels : 0.0);
  }
  Plane plane(const at::Tensor& x, const LossFunction& excess, const at::Tensor& logits);
  at::Tensor step(const at::Tensor& x, const Plane& plane) const;

  Classifier& model_;
  const at::Tensor& images_;
  const Goal& goal_;
  const FabOptions& options_;
  NearestFooled nearest_;
};

/// Half as far from the image as the radius or the best point known, in a random direction.
at::Tensor Search::start(const at::Tensor& direction) const {
  const at::Tensor known = nearest_.distance().clamp_max(options_.threat.eps_pixels);
  const at::Tensor radius = at::where(known.isfinite(), known, 1.0).mul(0.5);
  return (images_ + direction * spread(radius).to(images_.scalar_type())).clamp_(0, 1);
}

Plane Search::plane(const at::Tensor& x, const LossFunction& excess, const at::Tensor& logits) {
  if (excess) {
    const Gradient g = model_.gradient(x, excess);
    return {g.dx.contiguous(), g.loss};
  }
  const at::Tensor z = logits.defined() ? logits : model_.logits(x);
  return nearest_plane(model_.jacobian(x).contiguous(), z, goal_.labels, options_.threat.norm);
}

/// Between a step onto the plane from x and one from the image, the more of the latter the closer
/// the former is to the plane already; both a little too long.
at::Tensor Search::step(const at::Tensor& x, const Plane& plane) const {
  const Norm norm = options_.threat.norm;
  const at::Tensor here = x.to(at::kDouble), home = images_.to(at::kDouble);
  const at::Tensor normal = plane.normal.to(at::kDouble), excess = plane.excess.to(at::kDouble);
  const at::Tensor home_excess = excess + (normal * (home - here)).flatten(1).sum(1);
  const at::Tensor from_here = hyperplane_step(here, normal, excess, norm);
  const at::Tensor from_home = hyperplane_step(home, normal, home_excess, norm);
  const at::Tensor a = length(from_here, norm).clamp_min(1e-8);
  const at::Tensor b = length(from_home, norm).clamp_min(1e-8);
  const at::Tensor alpha = spread((a / (a + b)).clamp_max(options_.alpha_max));
  const at::Tensor near = here.add(from_here, options_.eta);
  const at::Tensor far = home.add(from_home, options_.eta);
  return near.lerp(far, alpha).clamp_(0, 1).to(x.scalar_type());
}

void Search::run(at::Tensor x, const LossFunction& excess) {
  at::Tensor logits;
  for (int k = 0; k < options_.steps && wants_more(); ++k) {
    x = step(x, plane(x, excess, logits));
    logits = model_.logits(x);
    const at::Tensor fooled = goal_.reached(logits.argmax(1));
    if (!fooled.any().item<bool>()) continue;
    observe(x, fooled);
    x = at::where(spread(fooled), images_ + options_.beta * (x - images_), x);
    logits = at::Tensor();  // of another point
  }
}

AttackResult Fab::pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                         const std::vector<std::int64_t>& sample_ids, const Key& key) {
  const std::int64_t forwards = model.forwards(), backwards = model.backwards();
  const at::Tensor clean = model.logits(images);
  const std::int64_t classes = clean.size(1);
  goal.check(classes);
  Search search(model, images, goal, options_);
  search.observe(images, goal.reached(clean.argmax(1)));

  const at::Tensor ranked = clean.argsort(1, /*descending=*/true);
  // A chosen class takes the place of those that FAB-T goes through.
  const bool targeted = options_.targeted && !goal.targeted();
  const std::int64_t first = targeted ? options_.first_rank : 1;
  const std::int64_t last =
      targeted ? std::min<std::int64_t>(first + options_.targets - 1, classes) : 1;
  for (std::int64_t rank = first; rank <= last; ++rank) {
    const at::Tensor targets = ranked.select(1, rank - 1);
    LossFunction excess;
    if (targeted)
      excess = [&](const at::Tensor& z) { return margin_targeted(z, goal.labels, targets); };
    if (goal.targeted()) excess = [&](const at::Tensor& z) { return goal.margin(z); };
    for (int r = options_.first_restart; r < options_.first_restart + options_.restarts; ++r) {
      if (!search.wants_more()) break;
      at::Tensor start = images;
      if (r > 0) {
        start = search.start(random_directions(images, sample_ids, options_.threat.norm,
                                               part_key(key, (rank - 1) * 10000 + r)));
      }
      search.run(start, excess);
    }
  }

  AttackResult result = search.nearest().finish(model, goal, options_.threat);
  result.forwards = model.forwards() - forwards;
  result.backwards = model.backwards() - backwards;
  return result;
}

std::string Fab::name() const {
  std::string result = options_.targeted ? "fab-t" : "fab";
  if (options_.steps != 100) result += text(options_.steps);
  if (options_.restarts > 1) result += text("x", options_.restarts);
  return result;
}

std::string Fab::recipe() const {
  const FabOptions& o = options_;
  std::string result = text("FAB, ", norm_name(o.threat.norm), ", what counts is within ",
                            format_eps(o.threat.eps_pixels), ", ", o.steps, " steps, ", o.restarts,
                            o.restarts == 1 ? " run" : " runs");
  if (o.targeted) {
    result += text(" for each of at most ", o.targets, " target classes from rank ", o.first_rank);
  }
  return result + text(", alpha_max ", o.alpha_max, ", eta ", o.eta, ", beta ", o.beta,
                       o.stop_inside ? ", ends at the first point inside" : "");
}

}  // namespace

std::unique_ptr<Attack> make_fab(const FabOptions& options) {
  const FabOptions& o = options;
  if (o.steps < 1 || o.restarts < 1 || o.first_restart < 0) {
    usage_error("FAB needs at least one step and one run, not ", o.steps, " and ", o.restarts);
  }
  if (o.targets < 1 || o.first_rank < 2) {
    usage_error("FAB needs at least one target, of rank 2 or more");
  }
  if (!(o.threat.eps_pixels >= 0)) {
    usage_error("FAB needs a radius that is not negative, not ", o.threat.eps_pixels);
  }
  return std::make_unique<Fab>(options);
}

}  // namespace cmat::attack

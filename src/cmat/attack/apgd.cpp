#include "cmat/attack/apgd.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "cmat/attack/apgd_l1.h"
#include "cmat/attack/apgd_step.h"
#include "cmat/attack/projection.h"
#include "cmat/attack/rows.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::attack {
namespace {

/// The windows between checkpoints: the first is the longest, and each is shorter by a constant.
class Windows {
 public:
  explicit Windows(int steps)
      : length_(share(steps, 0.22)), shrink_(share(steps, 0.03)), shortest_(share(steps, 0.06)) {}
  int length() const { return length_; }
  void next() { length_ = std::max(length_ - shrink_, shortest_); }

 private:
  static int share(int steps, double part) { return std::max(static_cast<int>(part * steps), 1); }
  int length_, shrink_, shortest_;
};

/// One run over a batch, iteration by iteration.
class Ascent {
 public:
  Ascent(Classifier& model, const at::Tensor& images, const at::Tensor& start,
         const LossFunction& loss, const ApgdOptions& options);
  bool done() const { return iteration_ == options_.steps; }
  void advance();

  /// The iterate that logits() and loss() speak of.
  const at::Tensor& seen() const { return seen_; }
  const at::Tensor& logits() const { return logits_; }
  const at::Tensor& loss() const { return loss_; }
  const at::Tensor& best() const { return best_; }
  const at::Tensor& best_loss() const { return best_loss_; }
  const at::Tensor& step_size() const { return step_size_; }

 private:
  void look();  ///< evaluates x_
  void take_step();
  void checkpoint();

  Classifier& model_;
  const LossFunction& loss_function_;
  const ApgdOptions& options_;
  const ApgdStep step_;
  Windows windows_;
  int iteration_ = 0, in_window_ = 0;
  at::Tensor x_, previous_, dx_;  ///< where the next step starts
  at::Tensor seen_, logits_, loss_;
  at::Tensor best_, best_loss_, best_dx_, step_size_;
  at::Tensor increases_;               ///< in the present window
  at::Tensor halved_, best_at_check_;  ///< at the last checkpoint
};

Ascent::Ascent(Classifier& model, const at::Tensor& images, const at::Tensor& start,
               const LossFunction& loss, const ApgdOptions& options)
    : model_(model),
      loss_function_(loss),
      options_(options),
      step_(images, options.threat),
      windows_(options.steps),
      x_(start),
      previous_(start) {
  look();
  best_ = x_.clone();
  best_loss_ = best_at_check_ = loss_;
  best_dx_ = dx_.clone();
  step_size_ = at::full_like(loss_, 2 * options.threat.eps_pixels);
  increases_ = at::zeros_like(loss_);
  // As if the step had been halved just now: standing still is no reason at the first checkpoint.
  halved_ = at::ones_like(loss_, at::kBool);
  if (!options.start_in_first_window) loss_ = at::zeros_like(loss_);
}

void Ascent::look() {
  seen_ = x_;
  if (done() && options_.eot == 1) {  // no step follows
    logits_ = model_.logits(x_);
    loss_ = loss_function_(logits_);
    return;
  }
  const Gradient first = model_.gradient(x_, loss_function_);
  // Networks may return another memory layout, which would slow down every operation with it.
  dx_ = first.dx.contiguous();
  logits_ = first.logits;
  loss_ = first.loss;
  for (int pass = 1; pass < options_.eot; ++pass) {
    const Gradient g = model_.gradient(x_, loss_function_);
    dx_ = dx_ + g.dx.contiguous();
    logits_ = logits_ + g.logits;
    loss_ = loss_ + g.loss;
  }
  if (options_.eot == 1) return;
  dx_ = dx_ / options_.eot;
  logits_ = logits_ / options_.eot;
  loss_ = loss_ / options_.eot;
}

void Ascent::take_step() {
  const double weight = iteration_ == 0 ? 1 : options_.momentum;
  at::Tensor next = step_(x_, dx_, std::move(previous_), step_size_, weight);
  previous_ = std::exchange(x_, std::move(next));
}

void Ascent::advance() {
  take_step();
  ++iteration_;
  const at::Tensor before = loss_;
  look();
  increases_.add_(loss_ > before);
  const at::Tensor better = loss_ > best_loss_;
  take_rows(better, x_, best_);
  take_rows(better, dx_, best_dx_);
  best_loss_ = at::where(better, loss_, best_loss_);
  if (++in_window_ == windows_.length()) checkpoint();
}

void Ascent::checkpoint() {
  const double enough = options_.rho * windows_.length();
  const at::Tensor oscillates =
      options_.keep_step_at_equality ? increases_ < enough : increases_ <= enough;
  const at::Tensor stands_still = halved_.logical_not().logical_and_(best_at_check_ >= best_loss_);
  halved_ = oscillates.logical_or(stands_still);
  best_at_check_ = best_loss_;
  step_size_ = at::where(halved_, step_size_ / 2, step_size_);
  x_ = at::where(spread(halved_), best_, x_);
  dx_ = at::where(spread(halved_), best_dx_, dx_);
  increases_ = at::zeros_like(increases_);
  in_window_ = 0;
  windows_.next();
}

/// Follows a run until it ends or every image has been fooled.
template <typename Run>
void follow(Run run, FirstFooled& found) {
  found.observe(run.seen(), run.logits());
  while (!run.done() && !found.all()) {
    run.advance();
    found.observe(run.seen(), run.logits());
  }
}

at::Tensor sphere_start(const at::Tensor& images, const std::vector<std::int64_t>& sample_ids,
                        const ThreatModel& threat, const Key& key) {
  const at::Tensor direction = random_directions(images, sample_ids, threat.norm, key);
  return project(images, images + direction * threat.eps_pixels, threat);
}

/// L1: phases of shrinking radius, each from the best point of the one before. Only the last, at
/// the radius itself, can fool.
void climb_l1(Classifier& model, const at::Tensor& images, const at::Tensor& directions,
              const LossFunction& loss, const ApgdOptions& options, FirstFooled& found) {
  const double pixels = static_cast<double>(images.numel() / images.size(0));
  at::Tensor start = images + directions * std::sqrt(pixels);  // about a standard normal vector
  std::vector<RadiusPhase> phases = {{1, options.steps}};
  if (options.large_radii) phases = l1_phases(options.steps);
  for (const RadiusPhase& phase : phases) {
    const double eps = phase.factor * options.threat.eps_pixels;
    start = project(images, start, {Norm::l1, eps});
    SparseAscent ascent(model, images, start, loss, eps, phase.steps);
    if (phase.factor == 1) return follow(std::move(ascent), found);
    while (!ascent.done()) ascent.advance();
    start = ascent.best();
  }
}

LossFunction bind_loss(Loss loss, const at::Tensor& labels, const at::Tensor& targets) {
  return [=](const at::Tensor& logits) { return loss_values(loss, logits, labels, targets); };
}

/// What is climbed towards chosen classes: the margin in place of DLR and targeted DLR, whose scale
/// depends on the image as well and can lead away from a class that is far off (docs/attacks.md).
LossFunction towards(const Goal& goal, Loss loss) {
  if (loss == Loss::cross_entropy)
    return [=](const at::Tensor& logits) { return goal.cross_entropy(logits); };
  return [=](const at::Tensor& logits) { return goal.margin(logits); };
}

class Apgd : public GoalAttack {
 public:
  explicit Apgd(const ApgdOptions& options) : options_(options) {}
  std::string name() const override;
  std::string recipe() const override;
  double most_passes(std::int64_t classes) const override {
    const std::int64_t targets =
        is_targeted(options_.loss) ? std::min<std::int64_t>(options_.targets, classes - 1) : 1;
    return 2.0 + static_cast<double>(targets) * options_.restarts *
                     (2.0 * options_.steps * options_.eot + 1);
  }

 protected:
  AttackResult pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                      const std::vector<std::int64_t>& sample_ids, const Key& key) override;

 private:
  ApgdOptions options_;
};

AttackResult Apgd::pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                          const std::vector<std::int64_t>& sample_ids, const Key& key) {
  const std::int64_t forwards = model.forwards(), backwards = model.backwards();
  const at::Tensor clean = model.logits(images);
  const std::int64_t classes = clean.size(1);
  goal.check(classes);
  const at::Tensor ranked = clean.argsort(1, /*descending=*/true);
  FirstFooled found(images, goal);
  found.observe(images, clean);

  // A chosen class takes the place of those that APGD-T goes through.
  const bool targeted = is_targeted(options_.loss) && !goal.targeted();
  const std::int64_t first = targeted ? options_.first_rank : 1;
  const std::int64_t last =
      targeted ? std::min<std::int64_t>(first + options_.targets - 1, classes) : 1;
  for (std::int64_t rank = first; rank <= last; ++rank) {
    const at::Tensor targets = ranked.select(1, rank - 1);
    const LossFunction loss = goal.targeted() ? towards(goal, options_.loss)
                                              : bind_loss(options_.loss, goal.labels, targets);
    for (int r = 0; r < options_.restarts && !found.all(); ++r) {
      const std::int64_t use = (rank - 1) * 10000 + options_.first_restart + r;
      const Key start_key = part_key(key, use);
      if (options_.threat.norm == Norm::l1) {
        const at::Tensor directions = random_directions(images, sample_ids, Norm::l2, start_key);
        climb_l1(model, images, directions, loss, options_, found);
      } else {
        const at::Tensor start = sphere_start(images, sample_ids, options_.threat, start_key);
        follow(Ascent(model, images, start, loss, options_), found);
      }
    }
  }

  AttackResult result = finish(model, images, goal, found.x(), options_.threat);
  result.forwards = model.forwards() - forwards;
  result.backwards = model.backwards() - backwards;
  return result;
}

std::string Apgd::name() const {
  std::string result = is_targeted(options_.loss) ? "apgd-t" : "apgd-dlr";
  if (options_.loss == Loss::cross_entropy) result = "apgd-ce";
  if (options_.loss == Loss::margin) result = "apgd-margin";
  if (options_.steps != 100) result += text(options_.steps);
  if (options_.restarts > 1) result += text("x", options_.restarts);
  return result;
}

std::string Apgd::recipe() const {
  const ApgdOptions& o = options_;
  std::string result = text("APGD on the ", loss_name(o.loss));
  if (o.loss == Loss::dlr) result += " (2 classes: margin)";
  if (o.loss == Loss::dlr_targeted) result += " (2 and 3 classes: targeted margin)";
  result += text(", ", norm_name(o.threat.norm), " eps = ", format_eps(o.threat.eps_pixels), ", ",
                 o.steps, " steps, ", o.restarts, o.restarts == 1 ? " run" : " runs");
  if (is_targeted(o.loss)) {
    result += text(" for each of at most ", o.targets, " target classes from rank ", o.first_rank);
  }
  if (o.eot > 1) result += text(", gradients averaged over ", o.eot, " passes");
  if (o.threat.norm == Norm::l1) {
    return result + text(", sparse steps, normal start projected onto ball and box",
                         o.large_radii ? ", at 3, 2 and 1 times the radius" : "");
  }
  result += text(", start on the sphere, clamped to the box, rho ", o.rho, ", momentum ",
                 o.momentum, ", first window from ", o.start_in_first_window ? "the start" : "zero",
                 ", step ", o.keep_step_at_equality ? "kept" : "halved", " at equality");
  return result;
}

void check_options(const ApgdOptions& o) {
  if (o.steps < 1 || o.restarts < 1 || o.eot < 1) {
    usage_error("APGD needs at least one step, one run and one pass a gradient, not ", o.steps,
                ", ", o.restarts, " and ", o.eot);
  }
  if (o.targets < 1 || o.first_rank < 2 || o.first_restart < 0 ||
      o.first_restart + o.restarts > 10000) {
    usage_error("APGD needs at least one target, of rank 2 or more, and at most 10000 runs");
  }
  if (o.threat.norm == Norm::l1 && o.eot > 1) {
    usage_error("APGD in l1 does not average gradients over passes");
  }
  if (!(o.threat.eps_pixels >= 0) || !std::isfinite(o.threat.eps_pixels)) {
    usage_error("APGD needs a radius that is finite and not negative, not ", o.threat.eps_pixels);
  }
}

}  // namespace

std::vector<int> apgd_checkpoints(int steps) {
  std::vector<int> result;
  Windows windows(steps);
  for (int at = windows.length(); at <= steps; at += windows.length()) {
    result.push_back(at);
    windows.next();
  }
  return result;
}

std::unique_ptr<Attack> make_apgd(const ApgdOptions& options) {
  check_options(options);
  return std::make_unique<Apgd>(options);
}

namespace {

template <typename Run>
ApgdRun traced(Run run, const at::Tensor& labels) {
  ApgdRun trace;
  trace.last_fooled = run.seen();
  trace.always_correct = at::ones_like(labels, at::kBool);
  std::vector<at::Tensor> steps, losses, bests, shares;
  while (true) {
    const at::Tensor correct = run.logits().argmax(1) == labels;
    trace.last_fooled = at::where(spread(correct), trace.last_fooled, run.seen());
    trace.always_correct = trace.always_correct.logical_and(correct);
    steps.push_back(run.step_size());
    bests.push_back(run.best_loss());
    if constexpr (std::is_same_v<Run, SparseAscent>) shares.push_back(run.share());
    if (run.done()) break;
    run.advance();
    losses.push_back(run.loss());
  }
  trace.best = run.best();
  trace.best_loss = run.best_loss();
  trace.step_sizes = at::stack(steps);
  trace.losses = at::stack(losses);
  trace.best_losses = at::stack(bests);
  if (!shares.empty()) trace.shares = at::stack(shares);
  return trace;
}

}  // namespace

ApgdRun apgd_run(Classifier& model, const at::Tensor& images, const at::Tensor& start,
                 const at::Tensor& labels, const at::Tensor& targets, const ApgdOptions& options) {
  check_options(options);
  const LossFunction loss = bind_loss(options.loss, labels, targets);
  if (options.threat.norm == Norm::l1) {
    const double eps = options.threat.eps_pixels;
    return traced(SparseAscent(model, images, start, loss, eps, options.steps), labels);
  }
  return traced(Ascent(model, images, start, loss, options), labels);
}

}  // namespace cmat::attack

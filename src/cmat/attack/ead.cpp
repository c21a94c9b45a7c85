#include "cmat/attack/ead.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>

#include "cmat/attack/constant_search.h"
#include "cmat/attack/rows.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::attack {
namespace {

/// FISTA at one c an image.
class ElasticDescent {
 public:
  ElasticDescent(Classifier& model, const at::Tensor& images, const Goal& goal,
                 const at::Tensor& constants, const EadOptions& options)
      : model_(model),
        images_(images),
        goal_(goal),
        constants_(constants),
        options_(options),
        x_(images),
        y_(images) {}

  /// One step, and a look at where it leads.
  void advance() {
    const double left = 1 - static_cast<double>(steps_) / options_.steps;
    const Gradient g = model_.gradient(y_, [&](const at::Tensor& z) { return hinge(z); });
    const at::Tensor slope = spread(constants_) * g.dx.contiguous() + 2 * (y_ - images_);
    const at::Tensor next = shrink(y_ - options_.learning_rate * std::sqrt(left) * slope);
    y_ = next + (next - x_) * ((steps_ + 1.0) / (steps_ + 4.0));
    x_ = next;
    ++steps_;
    logits_ = model_.logits(x_);
    const at::Tensor delta = (x_ - images_).flatten(1);
    l1_ = delta.abs().sum(1);
    l2_squared_ = delta.square().sum(1);
  }

  const at::Tensor& seen() const { return x_; }  ///< what the next four speak of
  const at::Tensor& logits() const { return logits_; }
  const at::Tensor& l1() const { return l1_; }
  const at::Tensor& l2_squared() const { return l2_squared_; }
  at::Tensor loss() const {
    return l2_squared_ + options_.beta * l1_ + constants_ * hinge(logits_);
  }
  const at::Tensor& y() const { return y_; }

 private:
  at::Tensor hinge(const at::Tensor& logits) const {
    return (options_.kappa - goal_.margin(logits)).clamp_min(0);
  }

  /// The proximal step of beta |x' - x|_1: values that moved by no more than beta go back, the
  /// others by beta, into the box.
  at::Tensor shrink(const at::Tensor& z) const {
    const at::Tensor delta = z - images_;
    const at::Tensor moved = (z - options_.beta * delta.sign()).clamp(0, 1);
    return at::where(delta.abs() > options_.beta, moved, images_);
  }

  Classifier& model_;
  const at::Tensor& images_;
  const Goal goal_;
  const at::Tensor& constants_;
  const EadOptions options_;
  int steps_ = 0;
  at::Tensor x_, y_;
  at::Tensor logits_, l1_, l2_squared_;
};

class Ead : public GoalAttack {
 public:
  explicit Ead(const EadOptions& options) : options_(options) {}
  std::string name() const override {
    return options_.steps == 1000 ? "ead" : text("ead", options_.steps);
  }
  std::string recipe() const override;
  double most_passes(std::int64_t) const override {
    return 3.0 * options_.searches * options_.steps + 1;
  }

 protected:
  AttackResult pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                      const std::vector<std::int64_t>&, const Key&) override {
    return search_nearest<ElasticDescent>(model, images, goal, options_);
  }

 private:
  EadOptions options_;
};

std::string Ead::recipe() const {
  const EadOptions& o = options_;
  return text("elastic net, l1, what counts is within ", format_eps(o.threat.eps_pixels), ", ",
              o.searches, " values of c from ", o.first_constant, ", ", o.steps,
              " steps of FISTA at ", o.learning_rate, ", beta ", o.beta, ", kappa ", o.kappa,
              o.stop_early ? ", images stop early" : "");
}

void check_ead_options(const EadOptions& o) {
  if (o.threat.norm != Norm::l1) {
    usage_error("the elastic-net attack works in l1, not in ", norm_name(o.threat.norm));
  }
  if (o.steps < 1 || o.searches < 1) {
    usage_error("the elastic-net attack needs at least one step and one search, not ", o.steps,
                " and ", o.searches);
  }
  if (!(o.learning_rate > 0) || !(o.first_constant > 0) || !(o.beta >= 0) || !(o.kappa >= 0) ||
      !(o.threat.eps_pixels >= 0)) {
    usage_error(
        "the elastic-net attack needs a learning rate and a first constant above 0, and a beta, a "
        "kappa and a radius that are not negative");
  }
}

}  // namespace

std::unique_ptr<Attack> make_ead(const EadOptions& options) {
  check_ead_options(options);
  return std::make_unique<Ead>(options);
}

EadRun ead_run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
               const at::Tensor& constants, const EadOptions& options) {
  check_ead_options(options);
  ElasticDescent descent(model, images, labels, constants, options);
  EadRun run;
  std::vector<at::Tensor> l1, l2_squared, predictions;
  for (int k = 0; k < options.steps; ++k) {
    descent.advance();
    run.x.push_back(descent.seen());
    run.y.push_back(descent.y());
    l1.push_back(descent.l1());
    l2_squared.push_back(descent.l2_squared());
    predictions.push_back(descent.logits().argmax(1));
  }
  run.l1 = at::stack(l1);
  run.l2_squared = at::stack(l2_squared);
  run.predictions = at::stack(predictions);
  return run;
}

}  // namespace cmat::attack

#include "cmat/attack/cw.h"

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

/// Adam (Kingma and Ba, 2015) with its published constants.
class Adam {
 public:
  Adam(const at::Tensor& like, double rate)
      : first_(at::zeros_like(like)), second_(at::zeros_like(like)), rate_(rate) {}
  /// The change of the variables for this gradient.
  at::Tensor step(const at::Tensor& gradient) {
    ++steps_;
    first_.mul_(0.9).add_(gradient, 0.1);
    second_.mul_(0.999).addcmul_(gradient, gradient, 0.001);
    const double correction = std::sqrt(1 - std::pow(0.999, steps_));
    const at::Tensor scale = (second_.sqrt() / correction).add_(1e-8);
    return first_ / scale * (-rate_ / (1 - std::pow(0.9, steps_)));
  }

 private:
  at::Tensor first_, second_;
  double rate_;
  int steps_ = 0;
};

/// Gradient descent on w at one c an image.
class Descent {
 public:
  Descent(Classifier& model, const at::Tensor& images, const Goal& goal,
          const at::Tensor& constants, const CwOptions& options)
      : model_(model),
        images_(images),
        goal_(goal),
        constants_(constants),
        kappa_(options.kappa),
        w_(cw_variables(images)),
        adam_(images, options.learning_rate) {
    see();
  }

  /// Evaluates where w stands, then moves on.
  void advance() {
    const Gradient g = model_.gradient(
        x_, [&](const at::Tensor& z) { return (kappa_ - goal_.margin(z)).clamp_min(0); });
    seen_ = x_;
    logits_ = g.logits;
    f_ = g.loss;
    const at::Tensor delta = x_ - images_;
    l2_squared_ = delta.square().flatten(1).sum(1);
    const at::Tensor dx = 2 * delta + spread(constants_) * g.dx.contiguous();
    w_ = w_ + adam_.step(dx * (1 - tanh_.square()) / 2);
    see();
  }

  const at::Tensor& seen() const { return seen_; }  ///< what the next four speak of
  const at::Tensor& logits() const { return logits_; }
  const at::Tensor& f() const { return f_; }
  const at::Tensor& l2_squared() const { return l2_squared_; }
  at::Tensor loss() const { return l2_squared_ + constants_ * f_; }
  const at::Tensor& w() const { return w_; }
  const at::Tensor& x() const { return x_; }

 private:
  void see() {
    tanh_ = w_.tanh();
    x_ = (tanh_ + 1) / 2;
  }

  Classifier& model_;
  const at::Tensor& images_;
  const Goal goal_;
  const at::Tensor& constants_;
  double kappa_;
  at::Tensor w_, tanh_, x_;
  Adam adam_;
  at::Tensor seen_, logits_, f_, l2_squared_;
};

class Cw : public GoalAttack {
 public:
  explicit Cw(const CwOptions& options) : options_(options) {}
  std::string name() const override {
    return options_.steps == 1000 ? "cw" : text("cw", options_.steps);
  }
  std::string recipe() const override;
  double most_passes(std::int64_t) const override {
    return 2.0 * options_.searches * options_.steps + 1;
  }

 protected:
  AttackResult pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                      const std::vector<std::int64_t>&, const Key&) override {
    return search_nearest<Descent>(model, images, goal, options_);
  }

 private:
  CwOptions options_;
};

std::string Cw::recipe() const {
  const CwOptions& o = options_;
  return text("Carlini and Wagner, l2, what counts is within ", format_eps(o.threat.eps_pixels),
              ", ", o.searches, " values of c from ", o.first_constant, ", ", o.steps,
              " steps of Adam at ", o.learning_rate, ", kappa ", o.kappa,
              o.stop_early ? ", images stop early" : "");
}

void check_cw_options(const CwOptions& o) {
  if (o.threat.norm != Norm::l2) {
    usage_error("Carlini and Wagner's attack works in l2, not in ", norm_name(o.threat.norm));
  }
  if (o.steps < 1 || o.searches < 1) {
    usage_error("Carlini and Wagner's attack needs at least one step and one search, not ", o.steps,
                " and ", o.searches);
  }
  if (!(o.learning_rate > 0) || !(o.first_constant > 0) || !(o.kappa >= 0) ||
      !(o.threat.eps_pixels >= 0)) {
    usage_error(
        "Carlini and Wagner's attack needs a learning rate and a first constant above 0, "
        "and a kappa and a radius that are not negative");
  }
}

}  // namespace

at::Tensor cw_variables(const at::Tensor& images) { return ((2 * images - 1) * 0.999999).atanh(); }

std::unique_ptr<Attack> make_cw(const CwOptions& options) {
  check_cw_options(options);
  return std::make_unique<Cw>(options);
}

CwRun cw_run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
             const at::Tensor& constants, const CwOptions& options) {
  check_cw_options(options);
  Descent descent(model, images, labels, constants, options);
  std::vector<at::Tensor> l2_squared, f, predictions;
  for (int k = 0; k < options.steps; ++k) {
    descent.advance();
    l2_squared.push_back(descent.l2_squared());
    f.push_back(descent.f());
    predictions.push_back(descent.logits().argmax(1));
  }
  return {at::stack(l2_squared), at::stack(f), at::stack(predictions), descent.w(), descent.x()};
}

}  // namespace cmat::attack

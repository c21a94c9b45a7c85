#include "cmat/attack/jsma.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <cmath>

#include "cmat/attack/rows.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::attack {
namespace {

constexpr double kNearlyOne = 0.99;

/// The second largest logit's class, which is the label's where the image is misclassified.
at::Tensor second_class(const at::Tensor& logits) {
  return std::get<1>(logits.topk(2, 1)).select(1, 1).contiguous();
}

class Jsma : public GoalAttack {
 public:
  explicit Jsma(const JsmaOptions& options) : options_(options) {}
  std::string name() const override { return "jsma"; }
  std::string recipe() const override {
    const JsmaOptions& o = options_;
    return text("saliency map, l1, what counts is within ", format_eps(o.threat.eps_pixels),
                ", pairs of values moved by ", o.theta, ", at most ", o.gamma, " of all values");
  }

 protected:
  AttackResult pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                      const std::vector<std::int64_t>&, const Key&) override;

 private:
  JsmaOptions options_;
};

AttackResult Jsma::pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                          const std::vector<std::int64_t>&, const Key&) {
  const std::int64_t forwards = model.forwards(), backwards = model.backwards();
  const at::Tensor logits = model.logits(images);
  goal.check(logits.size(1));
  NearestFooled nearest(images, Norm::l1);
  const at::Tensor targets = goal.targeted() ? goal.targets : second_class(logits);
  const at::Tensor x = jsma_run(model, images, goal, targets, options_);
  nearest.observe(x, goal.reached(model.logits(x).argmax(1)));
  AttackResult result = nearest.finish(model, goal, options_.threat);
  result.forwards = model.forwards() - forwards;
  result.backwards = model.backwards() - backwards;
  return result;
}

/// Changes one more pair of values in each row that is `going`; rows without a pair that helps
/// stop.
at::Tensor change_pairs(Classifier& model, const at::Tensor& x, const at::Tensor& targets,
                        double theta, at::Tensor& domain, at::Tensor& going) {
  const at::Tensor rows = going.nonzero().squeeze(1);
  const at::Tensor jacobian = model.jacobian(x.index_select(0, rows)).flatten(2);
  at::Tensor values = x.flatten(1).clone();
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    const auto row = rows[i].item<std::int64_t>();
    const SaliencyPair pair =
        best_saliency_pair(jacobian[i], targets[row].item<std::int64_t>(), domain[row]);
    if (pair.first < 0) {
      going[row].fill_(false);
      continue;
    }
    for (const std::int64_t value : {pair.first, pair.second}) {
      values[row][value].add_(theta).clamp_(0, 1);
      domain[row][value].fill_(false);
    }
  }
  return values.view_as(x);
}

}  // namespace

SaliencyPair best_saliency_pair(const at::Tensor& jacobian, std::int64_t target,
                                const at::Tensor& domain) {
  const at::Tensor values = domain.nonzero().squeeze(1);
  const std::int64_t n = values.size(0);
  if (n < 2) return {};
  const at::Tensor columns = jacobian.index_select(1, values);
  const at::Tensor own = columns[target], others = columns.sum(0) - own;
  const at::Tensor alpha = own.unsqueeze(1) + own, beta = others.unsqueeze(1) + others;
  const at::Tensor helps = (alpha > 0).logical_and(beta < 0);
  const at::Tensor score = at::where(helps, -alpha * beta, at::zeros_like(alpha)).triu(1);
  const auto best = score.argmax().item<std::int64_t>();
  const double highest = score.flatten()[best].item<double>();
  if (!(highest > 0)) return {};
  return {values[best / n].item<std::int64_t>(), values[best % n].item<std::int64_t>(), highest};
}

at::Tensor jsma_run(Classifier& model, const at::Tensor& images, const Goal& goal,
                    const at::Tensor& targets, const JsmaOptions& options) {
  const auto size = static_cast<double>(images[0].numel());
  const auto pairs = static_cast<std::int64_t>(std::ceil(size * options.gamma / 2));
  at::Tensor x = images, domain = images.flatten(1) < kNearlyOne;
  at::Tensor going = goal.reached(model.logits(x).argmax(1)).logical_not();
  for (std::int64_t k = 0; k < pairs && going.any().item<bool>(); ++k) {
    x = change_pairs(model, x, targets, options.theta, domain, going);
    going = going.logical_and(goal.reached(model.logits(x).argmax(1)).logical_not());
  }
  return x;
}

std::unique_ptr<Attack> make_jsma(const JsmaOptions& options) {
  if (options.threat.norm != Norm::l1) {
    usage_error("the saliency map attack works in l1, not in ", norm_name(options.threat.norm));
  }
  if (!(options.gamma > 0) || !(options.gamma <= 1) || options.theta == 0 ||
      !std::isfinite(options.theta) || !(options.threat.eps_pixels >= 0)) {
    usage_error(
        "the saliency map attack needs a share of values above 0 and up to 1, a step other "
        "than 0, and a radius that is not negative, not ",
        options.gamma, ", ", options.theta, " and ", options.threat.eps_pixels);
  }
  return std::make_unique<Jsma>(options);
}

}  // namespace cmat::attack

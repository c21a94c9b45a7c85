#include "cmat/attack/deepfool.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include "cmat/attack/hyperplane.h"
#include "cmat/attack/rows.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::attack {
namespace {

using Form = DeepFoolOptions::Form;

/// The shortest step onto the plane without a box, `extra` longer.
at::Tensor free_step(const Plane& plane, Norm norm, double extra) {
  const at::Tensor length = dual_length(plane.normal, norm).clamp_min(1e-12);
  const at::Tensor size = plane.excess.abs() / length + extra;
  if (norm == Norm::linf) return plane.normal.sign() * spread(size);
  return plane.normal * spread(size / length);
}

class DeepFool : public Attack {
 public:
  explicit DeepFool(const DeepFoolOptions& options) : options_(options) {}
  AttackResult run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
                   const std::vector<std::int64_t>& sample_ids, const Key&) override;
  std::string name() const override {
    return options_.steps == 50 ? "deepfool" : text("deepfool", options_.steps);
  }
  std::string recipe() const override;
  double most_passes(std::int64_t classes) const override {
    return options_.steps * (2.0 + static_cast<double>(classes)) + 1;
  }

 private:
  DeepFoolOptions options_;
};

AttackResult DeepFool::run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
                           const std::vector<std::int64_t>& sample_ids, const Key&) {
  check_inputs(images, labels, sample_ids);
  const std::int64_t forwards = model.forwards(), backwards = model.backwards();
  const at::Tensor clean = model.logits(images);
  check_labels(labels, clean.size(1));
  NearestFooled nearest(images, options_.threat.norm);
  nearest.observe(images, clean.argmax(1) != labels);
  const at::Tensor x = deepfool_run(model, images, labels, options_).x.clamp(0, 1);
  nearest.observe(x, model.logits(x).argmax(1) != labels);
  AttackResult result = nearest.finish(model, labels, options_.threat);
  result.forwards = model.forwards() - forwards;
  result.backwards = model.backwards() - backwards;
  return result;
}

std::string DeepFool::recipe() const {
  const DeepFoolOptions& o = options_;
  std::string form = "steps inside the box";
  if (o.form == Form::clip_each_step) form = "each step clamped to the box";
  if (o.form == Form::sum_of_steps) form = "sum of steps, clamped at the end";
  return text("DeepFool, ", norm_name(o.threat.norm), ", what counts is within ",
              format_eps(o.threat.eps_pixels), ", at most ", o.steps, " steps, overshoot ",
              o.overshoot, ", ", form);
}

}  // namespace

DeepFoolRun deepfool_run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
                         const DeepFoolOptions& options) {
  const Norm norm = options.threat.norm;
  const bool sums = options.form == Form::sum_of_steps;
  at::Tensor x = images, total = at::zeros_like(images);
  at::Tensor logits = model.logits(x);
  const at::Tensor from = sums ? logits.argmax(1) : labels;
  DeepFoolRun run{x, at::zeros_like(labels)};
  for (int k = 0; k < options.steps; ++k) {
    const at::Tensor going = logits.argmax(1) == from;
    if (!going.any().item<bool>()) break;
    const Plane plane = nearest_plane(model.jacobian(x).contiguous(), logits, from, norm);
    at::Tensor next;
    if (sums) {
      total = total + free_step(plane, norm, 1e-4);
      next = images + (1 + options.overshoot) * total;
    } else {
      const at::Tensor step =
          options.form == Form::box
              ? hyperplane_step(x, plane.normal, plane.excess, norm).to(x.scalar_type())
              : free_step(plane, norm, 0);
      next = (x + (1 + options.overshoot) * step).clamp(0, 1);
    }
    x = at::where(spread(going), next, x);
    run.steps = run.steps + going;
    logits = model.logits(x);
  }
  run.x = x;
  return run;
}

std::unique_ptr<Attack> make_deepfool(const DeepFoolOptions& options) {
  if (options.steps < 1) usage_error("DeepFool needs at least one step, not ", options.steps);
  if (options.threat.norm == Norm::l1) usage_error("DeepFool attacks in linf and l2, not in l1");
  if (!(options.overshoot >= 0) || !(options.threat.eps_pixels >= 0)) {
    usage_error("DeepFool needs an overshoot and a radius that are not negative, not ",
                options.overshoot, " and ", options.threat.eps_pixels);
  }
  return std::make_unique<DeepFool>(options);
}

}  // namespace cmat::attack

#include "cmat/attack/as_published.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include "cmat/attack/losses.h"
#include "cmat/attack/projection.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::attack {
namespace {

at::Tensor channels(const std::vector<double>& values, double missing, const at::Tensor& images) {
  const std::vector<double> all = values.empty() ? std::vector<double>{missing} : values;
  return at::tensor(all, at::kDouble).to(images.options()).view({1, -1, 1, 1});
}

class AsPublished : public Attack {
 public:
  explicit AsPublished(AsPublishedOptions options) : options_(std::move(options)) {}

  AttackResult run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
                   const std::vector<std::int64_t>& sample_ids, const Key& key) override {
    check_inputs(images, labels, sample_ids);
    const std::int64_t forwards = model.forwards(), backwards = model.backwards();
    AttackResult result;
    result.adversarial = as_published_images(model, images, labels, sample_ids, key, options_);
    result.predictions = model.verdict_logits(result.adversarial).argmax(1);
    result.fooled = result.predictions != labels;
    result.distance = distance(images, result.adversarial, Norm::linf);
    result.forwards = model.forwards() - forwards;
    result.backwards = model.backwards() - backwards;
    return result;
  }
  std::string name() const override { return "as-published"; }
  std::string recipe() const override {
    return text("the original program's attack, in units of normalised images: ", options_.steps,
                " steps of ", options_.step_normalised,
                " along the signs, eps = ", format_eps(options_.eps_normalised),
                " normalised, then clamped to [0,1] normalised, the last iterate; not comparable "
                "with radii in pixels");
  }
  double most_passes(std::int64_t) const override { return 2.0 * options_.steps + 1; }

 private:
  AsPublishedOptions options_;
};

}  // namespace

at::Tensor as_published_images(Classifier& model, const at::Tensor& images,
                               const at::Tensor& labels,
                               const std::vector<std::int64_t>& sample_ids, const Key& key,
                               const AsPublishedOptions& options) {
  AsPublishedOptions known = options;
  if (known.mean.empty() && known.std.empty()) {
    const Normalisation own = model.normalisation();
    known.mean = own.mean;
    known.std = own.std;
  }
  const at::Tensor mean = channels(known.mean, 0, images), std = channels(known.std, 1, images);
  const at::Tensor z = (images - mean) / std;
  // Uniform in the cube: the box of random_start, from 0 to 1, must not cut it.
  const at::Tensor middle = at::full_like(images, 0.5);
  const at::Tensor noise =
      random_start(middle, sample_ids, {Norm::linf, known.eps_normalised}, key) - middle;
  return as_published_iterate(model, z, z + noise, labels, known) * std + mean;
}

AsPublishedOptions as_published_options(const PgdOptions& options) {
  return {.eps_normalised = options.threat.eps_pixels, .steps = options.steps};
}

std::unique_ptr<Attack> make_config_pgd(const PgdOptions& options) {
  if (options.threat.as_published) return make_as_published(as_published_options(options));
  return make_pgd(options);
}

at::Tensor as_published_iterate(Classifier& model, const at::Tensor& z, const at::Tensor& start,
                                const at::Tensor& labels, const AsPublishedOptions& options) {
  const at::Tensor mean = channels(options.mean, 0, z), std = channels(options.std, 1, z);
  const at::Tensor low = z - options.eps_normalised, high = z + options.eps_normalised;
  at::Tensor x = start;
  for (int step = 0; step < options.steps; ++step) {
    // The gradient with respect to z is std > 0 times that with respect to the pixels.
    const Gradient g = model.gradient(
        x * std + mean, [&](const at::Tensor& logits) { return cross_entropy(logits, labels); });
    x = (x + options.step_normalised * g.dx.sign()).clamp(low, high).clamp(0, 1);
  }
  return x;
}

std::unique_ptr<Attack> make_as_published(const AsPublishedOptions& options) {
  for (double std : options.std) {
    if (!(std > 0)) usage_error("a normalisation divides by numbers above 0, not by ", std);
  }
  if (options.steps < 1 || !(options.eps_normalised > 0) || !(options.eps_normalised <= 0.5))
    usage_error("the attack as published needs steps and a radius above 0 and up to 0.5");
  return std::make_unique<AsPublished>(options);
}

}  // namespace cmat::attack

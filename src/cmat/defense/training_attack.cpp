#include "cmat/defense/training_attack.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include "cmat/attack/as_published.h"
#include "cmat/attack/losses.h"
#include "cmat/attack/projection.h"
#include "cmat/core/error.h"
#include "cmat/defense/losses.h"
#include "cmat/nn/tensors.h"

namespace cmat::defense {
namespace {

/// Radius and step as far as the warm-up of a stage allows them.
attack::PgdOptions grown(const TrainingPgdOptions& options, double share) {
  attack::PgdOptions pgd = options.pgd;
  const double factor = share < options.eps_warmup ? share / options.eps_warmup : 1;
  pgd.threat.eps_pixels *= factor;
  pgd.step_pixels *= factor;
  return pgd;
}

/// x + 0.001 N(0,1), drawn image by image: the divergence has no gradient at x itself.
at::Tensor noisy_start(const Batch& batch, const Key& key) {
  at::Tensor noise = at::empty(batch.images.sizes(), at::TensorOptions(at::kFloat));
  auto* value = noise.data_ptr<float>();
  const std::int64_t size = noise.numel() / noise.size(0);
  for (std::int64_t id : batch.sample_ids) {
    Random random(
        key.for_sample(static_cast<std::uint64_t>(id)).for_purpose(Purpose::attack_start));
    for (std::int64_t i = 0; i < size; ++i) *value++ = static_cast<float>(1e-3 * random.normal());
  }
  return batch.images + noise.to(batch.images.options());
}

class NoAttack : public TrainingAttack {
 public:
  Found find(nn::Network&, const Batch& batch, const Key&) override {
    return {.images = batch.images};
  }
  Passes passes() const override { return {}; }
};

class TrainingPgd : public TrainingAttack {
 public:
  explicit TrainingPgd(const TrainingPgdOptions& options) : options_(options), now_(options.pgd) {}

  void set_progress(double share) override { now_ = grown(options_, share); }

  Found find(nn::Network& network, const Batch& batch, const Key& key) override {
    const std::unique_ptr<attack::Classifier> model =
        attack::make_classifier(network, options_.mode);
    if (now_.threat.as_published) {
      const at::Tensor x =
          attack::as_published_images(*model, batch.images, batch.labels, batch.sample_ids, key,
                                      attack::as_published_options(now_));
      return {.images = x, .forwards = model->forwards(), .backwards = model->backwards()};
    }
    attack::LossFunction loss = [&](const at::Tensor& logits) {
      return attack::cross_entropy(logits, batch.labels);
    };
    at::Tensor prediction;
    if (options_.climb == Climb::from_prediction) {
      prediction = model->logits(batch.images);
      loss = [&](const at::Tensor& logits) { return divergence(prediction, logits); };
    }
    const at::Tensor x = attack::pgd_iterate(*model, batch.images, start(batch, key), loss, now_);
    return {.images = x, .forwards = model->forwards(), .backwards = model->backwards()};
  }
  Passes passes() const override {
    return {.attack = static_cast<double>(options_.pgd.steps),
            .look = options_.climb == Climb::from_prediction ? 1.0 : 0.0};
  }
  std::unique_ptr<attack::Attack> validation_attack() const override {
    return attack::make_config_pgd(options_.pgd);
  }

 private:
  at::Tensor start(const Batch& batch, const Key& key) const {
    if (options_.climb != Climb::cross_entropy) return noisy_start(batch, key);
    if (!now_.random_start) return batch.images;
    return attack::random_start(batch.images, batch.sample_ids, now_.threat, key);
  }

  TrainingPgdOptions options_;
  attack::PgdOptions now_;  ///< as the present step uses it
};

TrainingPgdOptions single_step(const FastOptions& options) {
  TrainingPgdOptions single = options.pgd;
  single.pgd.steps = 1;
  single.pgd.step_pixels = options.step_pixels;
  single.pgd.random_start = true;
  return single;
}

class Fast : public TrainingAttack {
 public:
  explicit Fast(const FastOptions& options)
      : options_(options), single_(single_step(options)), pgd_(options.pgd) {}

  void begin_stage() override {
    steps_ = rescued_ = 0;
    rescuing_ = false;
    accuracy_ = 0;
  }
  void set_progress(double share) override {
    single_.set_progress(share);
    pgd_.set_progress(share);
  }

  Found find(nn::Network& network, const Batch& batch, const Key& key) override {
    const bool due = options_.guard_every > 0 && steps_++ % options_.guard_every == 0;
    Found found;
    if (due) found = check(network, batch, key);
    if (rescuing_) ++rescued_;
    if (due && rescuing_) return found;  // the check has already made what this step needs
    const Found step =
        rescuing_ ? pgd_.find(network, batch, key) : single_.find(network, batch, key);
    return {.images = step.images,
            .forwards = found.forwards + step.forwards,
            .backwards = found.backwards + step.backwards};
  }

  Passes passes() const override {
    Passes p = single_.passes();
    if (options_.guard_every > 0) {
      p.attack += pgd_.passes().attack / options_.guard_every;
      p.look += 1.0 / options_.guard_every;
    }
    return p;
  }

  void save(TensorFile& file) const override {
    const std::vector<double> state = {static_cast<double>(steps_), static_cast<double>(rescued_),
                                       rescuing_ ? 1.0 : 0.0, accuracy_};
    file.tensors["guard"] = nn::to_bytes(at::tensor(state, at::kDouble));
  }
  void load(const TensorFile& file) override {
    const at::Tensor state = at::zeros({4}, at::TensorOptions(at::kDouble));
    nn::load_into(state, nn::require(file, "guard"), "the guard of fast");
    const auto* value = state.const_data_ptr<double>();
    steps_ = static_cast<std::int64_t>(value[0]);
    rescued_ = static_cast<std::int64_t>(value[1]);
    rescuing_ = value[2] != 0;
    accuracy_ = value[3];
  }

  std::map<std::string, double> figures() const override {
    if (options_.guard_every == 0) return {};
    return {{"guard_accuracy", accuracy_}, {"guard_steps", static_cast<double>(rescued_)}};
  }
  std::unique_ptr<attack::Attack> validation_attack() const override {
    return pgd_.validation_attack();
  }

 private:
  /// Returns the images of the check.
  Found check(nn::Network& network, const Batch& batch, const Key& key) {
    Found found = pgd_.find(network, batch, key);
    const std::unique_ptr<attack::Classifier> model =
        attack::make_classifier(network, options_.pgd.mode);
    const at::Tensor right = model->logits(found.images).argmax(1).eq(batch.labels);
    found.forwards += model->forwards();
    const double accuracy = right.to(at::kDouble).mean().item<double>();
    rescuing_ = accuracy < accuracy_ - options_.guard_drop;
    // A slow decline, such as pruning brings, is no collapse: each check is compared with the last
    // one that passed.
    if (!rescuing_) accuracy_ = accuracy;
    return found;
  }

  FastOptions options_;
  TrainingPgd single_, pgd_;
  std::int64_t steps_ = 0;    ///< of this stage
  std::int64_t rescued_ = 0;  ///< of them made with `pgd_`
  bool rescuing_ = false;
  double accuracy_ = 0;  ///< at the last check that passed
};

class Free : public TrainingAttack {
 public:
  explicit Free(const FreeOptions& options) : options_(options), now_(options.pgd.pgd) {}

  void begin_stage() override { delta_ = at::Tensor(); }
  void set_progress(double share) override { now_ = grown(options_.pgd, share); }
  int replays() const override { return options_.replays; }

  Found find(nn::Network&, const Batch& batch, const Key&) override {
    if (!delta_.defined() || delta_.sizes() != batch.images.sizes())
      delta_ = at::zeros_like(batch.images);
    const at::Tensor leaf = delta_.to(batch.images.device()).detach().requires_grad_(true);
    // A pixel that the box stops has no gradient, as in the authors' code.
    return {.images = (batch.images + leaf).clamp(0, 1), .leaf = leaf};
  }

  void take_gradient(const at::Tensor& gradient) override {
    const c10::NoGradGuard no_grad;
    const double eps = now_.threat.eps_pixels;
    if (now_.threat.norm == attack::Norm::linf) {
      delta_ = (delta_ + gradient.sign() * eps).clamp(-eps, eps);
      return;
    }
    const auto length = [](const at::Tensor& x) {
      return at::linalg_vector_norm(x, 2, {1, 2, 3}, /*keepdim=*/true);
    };
    // Of the image's own loss, not of its share in the batch's mean.
    const at::Tensor own = gradient * gradient.size(0);
    const at::Tensor moved = delta_ + own / (length(own) + 1e-10) * eps;
    delta_ = moved * (eps / length(moved).clamp_min(1e-30)).clamp_max(1);
  }

  /// The weight step's own pass is the attack.
  Passes passes() const override { return {}; }

  void save(TensorFile& file) const override {
    if (delta_.defined()) file.tensors["delta"] = nn::to_bytes(delta_);
  }
  void load(const TensorFile& file) override {
    const auto found = file.tensors.find("delta");
    delta_ = found == file.tensors.end() ? at::Tensor() : nn::from_bytes(found->second);
  }
  std::unique_ptr<attack::Attack> validation_attack() const override {
    return attack::make_pgd(options_.pgd.pgd);
  }

 private:
  FreeOptions options_;
  attack::PgdOptions now_;
  at::Tensor delta_;  ///< [n,c,h,w]; undefined: 0
};

}  // namespace

std::unique_ptr<TrainingAttack> make_no_attack() { return std::make_unique<NoAttack>(); }

std::unique_ptr<TrainingAttack> make_training_pgd(const TrainingPgdOptions& options) {
  return std::make_unique<TrainingPgd>(options);
}

std::unique_ptr<TrainingAttack> make_fast(const FastOptions& options) {
  return std::make_unique<Fast>(options);
}

std::unique_ptr<TrainingAttack> make_free(const FreeOptions& options) {
  if (options.pgd.pgd.threat.norm == attack::Norm::l1) {
    usage_error(
        "objective.name = \"free\" takes steps in linf and l2, not in threat.norm = \"l1\"");
  }
  return std::make_unique<Free>(options);
}

}  // namespace cmat::defense

#include "cmat/defense/anp_vs.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/autograd.h>

#include <map>
#include <optional>

#include "cmat/core/error.h"
#include "cmat/defense/channel_masks.h"
#include "cmat/defense/losses.h"
#include "cmat/nn/tensors.h"

namespace cmat::defense {
namespace {

class AnpVs : public Objective {
 public:
  AnpVs(std::unique_ptr<TrainingAttack> attack, const AnpVsOptions& options)
      : attack_(std::move(attack)), options_(options) {}

  void begin_task(nn::Network& network) override { revive_norms(network); }
  void begin_stage() override {
    attack_->begin_stage();
    masks_.clear();
    kept_.reset();
  }
  void set_progress(double share) override {
    share_ = share;
    attack_->set_progress(share);
  }
  StepLoss step(nn::Network& network, const Batch& batch, const Key& key) override;
  void keep_epoch() override { kept_ = masks_.empty() ? at::Tensor() : masks_.kept(); }
  void end_stage(nn::Network& network) override;

  Passes passes() const override {
    Passes p = attack_->passes();
    p.train_forward = 2;
    p.train_backward = 3;
    return p;
  }
  void save(TensorFile& file) const override;
  void load(const TensorFile& file) override;
  std::map<std::string, double> figures() const override;
  std::unique_ptr<attack::Attack> validation_attack() const override {
    return attack_->validation_attack();
  }
  std::string name() const override {
    return text("anp-vs", options_.label_smoothing > 0 ? "+smoothing" : "");
  }

 private:
  /// Samples of the masks for both passes; only those of the second have a graph.
  std::pair<at::Tensor, at::Tensor> draw(const Batch& batch, const Key& key) const;
  double mask_lr() const {
    return options_.mask_lr * (share_ < 0.5 ? 1 : share_ < 0.8 ? 0.1 : 0.01);
  }
  void move_masks(nn::Network& network, const std::vector<at::Tensor>& gradients, StepLoss& result);

  std::unique_ptr<TrainingAttack> attack_;
  AnpVsOptions options_;
  ChannelMasks masks_;
  at::Tensor kept_;  ///< of the epoch that keep_epoch() was told of; undefined: none
  double share_ = 0;
};

std::pair<at::Tensor, at::Tensor> AnpVs::draw(const Batch& batch, const Key& key) const {
  const auto pass = static_cast<std::uint64_t>(2 * masks_.steps());
  const Key draws = key.for_purpose(Purpose::channel_mask);
  const auto noise = [&](std::uint64_t step) {
    return draw_mask_noise(masks_.units(), batch.sample_ids, draws.for_step(step));
  };
  const at::Tensor second = masks_.sample(noise(pass + 1));
  if (options_.shared_noise) return {second.detach(), second};
  return {masks_.sample(noise(pass)).detach(), second};
}

StepLoss AnpVs::step(nn::Network& network, const Batch& batch, const Key& key) {
  masks_.bind(network);
  std::optional<nn::HeldWeights> held(std::in_place, network);
  // The network carries E[pi], so this is the attack on the masked network.
  const Found found = attack_->find(network, batch, key);
  const std::int64_t n = batch.images.size(0);
  StepLoss result{.forwards = found.forwards + 2 * n, .backwards = found.backwards + 3 * n};
  network.set_training(true);
  const auto [first, second] = draw(batch, key);
  std::vector<at::Tensor> features, attacked_features;
  const at::Tensor clean = masked_forward(network, batch.images, masks_.norms(), first, &features);
  const at::Tensor attacked =
      masked_forward(network, found.images.detach(), masks_.norms(), second, &attacked_features);

  const std::int64_t images = batch.training_images > 0 ? batch.training_images : n;
  const at::Tensor divergence =
      masks_.divergence() * (options_.divergence / static_cast<double>(images));
  const at::Tensor masks_loss =
      at::cross_entropy_loss(attacked, batch.labels).to(at::kCPU, at::kDouble) + divergence;
  const std::vector<at::Tensor> mask_gradients =
      torch::autograd::grad({masks_loss}, masks_.leaves(), {}, /*retain_graph=*/true);

  const double smoothing = options_.label_smoothing, share = options_.adversarial;
  const at::Tensor weights_loss =
      (smoothed_cross_entropy(clean, batch.labels, smoothing) +
       smoothed_cross_entropy(attacked, batch.labels, smoothing) * share) /
          (1 + share) +
      vulnerability(features, attacked_features) * options_.vulnerability;
  result.gradients = torch::autograd::grad({weights_loss}, nn::tensors_of(network.parameters()));
  result.loss = weights_loss.detach().to(at::kCPU, at::kDouble) + divergence.detach();
  result.logits = attacked.detach();
  held.reset();
  move_masks(network, mask_gradients, result);
  return result;
}

/// With m the mean that a norm holds, its weight is m g, and what SGD ought to move is g: a step of
/// g by -d moves the weight by -m' d for the new mean m', and the gradient by g is m times that by
/// the weight. Hence the new mean as a factor of the weight, and both as factors of its gradient.
void AnpVs::move_masks(nn::Network& network, const std::vector<at::Tensor>& gradients,
                       StepLoss& result) {
  const at::Tensor before = masks_.folded();
  masks_.update(gradients, mask_lr());
  const at::Tensor after = masks_.folded();
  scale_norms(network, masks_.norms(), after / before);
  const at::Tensor both = before * after;
  std::map<std::string, at::Tensor> factors;
  for (const MaskedNorm& norm : masks_.norms()) {
    const at::Tensor own = both.narrow(0, norm.begin, norm.channels);
    factors[norm.name + ".weight"] = factors[norm.name + ".bias"] = own;
  }
  const std::vector<nn::NamedTensor> parameters = network.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto factor = factors.find(parameters[i].name);
    if (factor == factors.end()) continue;
    result.gradients[i] = result.gradients[i] * factor->second.to(parameters[i].tensor.options());
  }
}

void AnpVs::end_stage(nn::Network& network) {
  if (masks_.empty()) return;
  masks_.bind(network);
  const at::Tensor kept = kept_.defined() ? kept_ : masks_.kept();
  scale_norms(network, masks_.norms(), kept.to(at::kDouble));
}

std::map<std::string, double> AnpVs::figures() const {
  std::map<std::string, double> figures = attack_->figures();
  if (masks_.empty()) return figures;
  figures["mean_mask"] = masks_.mean().mean().item<double>();
  figures["kept_channels"] = masks_.kept().to(at::kDouble).mean().item<double>();
  return figures;
}

void AnpVs::save(TensorFile& file) const {
  attack_->save(file);
  masks_.save(file);
  if (kept_.defined()) file.tensors["masks/kept"] = nn::to_bytes(kept_.to(at::kByte));
}

void AnpVs::load(const TensorFile& file) {
  attack_->load(file);
  masks_.load(file);
  kept_.reset();
  if (!file.tensors.contains("masks/kept")) return;
  if (masks_.empty()) failure("the stored masks of anp-vs are damaged");
  kept_ = at::zeros({masks_.units()}, at::kByte);
  nn::load_into(kept_, nn::require(file, "masks/kept"), "masks/kept");
  kept_ = kept_.to(at::kBool);
}

}  // namespace

std::unique_ptr<Objective> make_anp_vs(std::unique_ptr<TrainingAttack> attack,
                                       const AnpVsOptions& options) {
  return std::make_unique<AnpVs>(std::move(attack), options);
}

}  // namespace cmat::defense

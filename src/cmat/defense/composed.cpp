#include "cmat/defense/composed.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <optional>

#include "cmat/core/error.h"
#include "cmat/defense/losses.h"
#include "cmat/defense/weight_perturbation.h"

namespace cmat::defense {
namespace {

/// Puts the buffers back as they were: a pass for a direction alone must leave no statistics.
class KeptBuffers {
 public:
  explicit KeptBuffers(const nn::Network& network) : buffers_(nn::tensors_of(network.buffers())) {
    for (const at::Tensor& b : buffers_) kept_.push_back(b.detach().clone());
  }
  ~KeptBuffers() {
    for (std::size_t i = 0; i < buffers_.size(); ++i) buffers_[i].variable_data().copy_(kept_[i]);
  }
  KeptBuffers(const KeptBuffers&) = delete;
  KeptBuffers& operator=(const KeptBuffers&) = delete;

 private:
  std::vector<at::Tensor> buffers_, kept_;
};

class Composed : public Objective {
 public:
  Composed(std::string name, std::unique_ptr<TrainingAttack> attack, const LossOptions& options)
      : name_(std::move(name)), attack_(std::move(attack)), options_(options) {}

  void set_model(ModelView model) override { model_ = std::move(model); }
  void begin_stage() override { attack_->begin_stage(); }
  void set_progress(double share) override {
    share_ = share;
    attack_->set_progress(share);
  }
  StepLoss step(nn::Network& network, const Batch& batch, const Key& key) override;

  int replays() const override { return attack_->replays(); }
  Passes passes() const override {
    Passes p = attack_->passes();
    const double perturbed = options_.awp > 0 ? 2 - options_.awp_warmup : 1;
    p.train_forward = p.train_backward = perturbed * loss_passes();
    if (options_.distillation > 0) p.look += 1;
    return p;
  }
  void save(TensorFile& file) const override { attack_->save(file); }
  void load(const TensorFile& file) override { attack_->load(file); }
  std::map<std::string, double> figures() const override { return attack_->figures(); }
  std::unique_ptr<attack::Attack> validation_attack() const override {
    return attack_->validation_attack();
  }
  std::string name() const override {
    return text(name_, options_.awp > 0 ? "+awp" : "",
                options_.label_smoothing > 0 ? "+smoothing" : "",
                options_.distillation > 0 ? "+distillation" : "");
  }

 private:
  bool wants_clean() const { return options_.kind != LossKind::cross_entropy; }
  int loss_passes() const { return wants_clean() ? 2 : 1; }
  at::Tensor teacher_logits(nn::Network& network, const at::Tensor& images) const;
  /// The loss in train mode, counted.
  void add_loss(nn::Network& network, const Batch& batch, const at::Tensor& images,
                const at::Tensor& teacher, StepLoss& result) const;

  std::string name_;
  std::unique_ptr<TrainingAttack> attack_;
  LossOptions options_;
  ModelView model_;
  double share_ = 0;
};

at::Tensor Composed::teacher_logits(nn::Network& network, const at::Tensor& images) const {
  const c10::NoGradGuard no_grad;
  if (model_.average_logits) return model_.average_logits(images);
  network.set_training(false);  // a network that stands alone is its own teacher
  return network.forward(images);
}

void Composed::add_loss(nn::Network& network, const Batch& batch, const at::Tensor& images,
                        const at::Tensor& teacher, StepLoss& result) const {
  network.set_training(true);
  at::Tensor clean;
  if (wants_clean()) clean = network.forward(batch.images);
  const at::Tensor logits = network.forward(images);
  const double smoothing = options_.label_smoothing;
  switch (options_.kind) {
    case LossKind::cross_entropy:
      result.loss = smoothed_cross_entropy(logits, batch.labels, smoothing);
      break;
    case LossKind::trades:
      result.loss = trades(clean, logits, batch.labels, options_.beta, smoothing);
      break;
    case LossKind::mart:
      result.loss = mart(clean, logits, batch.labels, options_.beta, smoothing);
      break;
  }
  if (teacher.defined()) {
    result.loss = result.loss * (1 - options_.distillation) +
                  distillation(teacher, logits, options_.temperature) * options_.distillation;
  }
  result.logits = logits.detach();
  result.forwards += loss_passes() * images.size(0);
  result.backwards += loss_passes() * images.size(0);
}

StepLoss Composed::step(nn::Network& network, const Batch& batch, const Key& key) {
  nn::HeldWeights held(network);
  const Found found = attack_->find(network, batch, key);
  StepLoss result{.forwards = found.forwards, .backwards = found.backwards};
  at::Tensor teacher;
  // Before weights are perturbed, since showing the averages writes the weights anew.
  if (options_.distillation > 0) {
    teacher = teacher_logits(network, found.images.detach());
    result.forwards += batch.images.size(0);
  }
  std::vector<at::Tensor> wanted = nn::tensors_of(network.parameters());
  std::optional<WeightPerturbation> perturbed;
  if (options_.awp > 0 && share_ >= options_.awp_warmup) {
    const KeptBuffers kept(network);
    add_loss(network, batch, found.images.detach(), teacher, result);
    perturbed.emplace(network, torch::autograd::grad({result.loss}, wanted),
                      model_.changeable ? model_.changeable() : std::vector<at::Tensor>(),
                      options_.awp);
    held.refresh();
  }
  add_loss(network, batch, found.images, teacher, result);
  if (!perturbed && !found.leaf.defined()) return result;  // an ordinary gradient

  // The gradients are those at the perturbed weights, and the leaf's comes from the same pass.
  if (found.leaf.defined()) wanted.push_back(found.leaf);
  result.gradients = torch::autograd::grad({result.loss}, wanted);
  result.loss = result.loss.detach();
  if (found.leaf.defined()) {
    attack_->take_gradient(result.gradients.back());
    result.gradients.pop_back();
  }
  return result;
}

}  // namespace

std::vector<at::Tensor> weight_gradients(const StepLoss& step, const nn::Network& network) {
  if (!step.gradients.empty()) return step.gradients;
  return torch::autograd::grad({step.loss}, nn::tensors_of(network.parameters()));
}

std::unique_ptr<Objective> make_composed(const std::string& name,
                                         std::unique_ptr<TrainingAttack> attack,
                                         const LossOptions& options) {
  return std::make_unique<Composed>(name, std::move(attack), options);
}

}  // namespace cmat::defense

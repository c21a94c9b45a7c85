#include "cmat/train/part_optimizer.h"

#include <ATen/Functions.h>

#include "cmat/nn/tensors.h"

namespace cmat::train {
namespace {

std::vector<nn::NamedTensor> detached(std::vector<nn::NamedTensor> tensors) {
  for (nn::NamedTensor& t : tensors) t.tensor = t.tensor.detach();
  return tensors;
}

at::Tensor copy_of(const at::Tensor& t) { return at::empty_like(t).copy_(t); }

}  // namespace

PartOptimizer::PartOptimizer(std::vector<nn::NamedTensor> parameters,
                             std::vector<nn::NamedTensor> buffers)
    : parameters_(detached(std::move(parameters))), buffers_(detached(std::move(buffers))) {
  for (const nn::NamedTensor& p : parameters_) momentum_.push_back(at::zeros_like(p.tensor));
}

void PartOptimizer::begin_stage(bool average) {
  for (at::Tensor& m : momentum_) m.zero_();
  averages_.clear();
  if (!average) return;
  for (const nn::NamedTensor& p : parameters_) averages_.push_back(copy_of(p.tensor));
  for (const nn::NamedTensor& b : buffers_) averages_.push_back(copy_of(b.tensor));
}

void PartOptimizer::update(const std::vector<at::Tensor>& gradients, const nn::SgdOptions& sgd) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& p = parameters_[i].tensor;
    at::Tensor g = gradients[i];
    if (sgd.weight_decay != 0 && p.dim() > 1) g = g.add(p, sgd.weight_decay);
    momentum_[i].mul_(sgd.momentum).add_(g);
    p.add_(sgd.nesterov ? g.add(momentum_[i], sgd.momentum) : momentum_[i], -sgd.lr);
  }
}

void PartOptimizer::average(double decay) {
  if (averages_.empty()) return;
  for (std::size_t i = 0; i < averages_.size(); ++i) {
    const at::Tensor& live =
        i < parameters_.size() ? parameters_[i].tensor : buffers_[i - parameters_.size()].tensor;
    if (live.is_floating_point())
      averages_[i].lerp_(live, 1 - decay);
    else
      averages_[i].copy_(live);
  }
}

void PartOptimizer::swap_average() {
  for (std::size_t i = 0; i < averages_.size(); ++i) {
    const at::Tensor& live =
        i < parameters_.size() ? parameters_[i].tensor : buffers_[i - parameters_.size()].tensor;
    const at::Tensor kept = copy_of(live);
    live.copy_(averages_[i]);
    averages_[i].copy_(kept);
  }
}

void PartOptimizer::adopt_average() {
  swap_average();
  averages_.clear();
}

void PartOptimizer::save(TensorFile& file, const std::string& prefix) const {
  for (std::size_t i = 0; i < momentum_.size(); ++i) {
    file.tensors[prefix + parameters_[i].name + "/momentum"] = nn::to_bytes(momentum_[i]);
  }
  for (std::size_t i = 0; i < averages_.size(); ++i) {
    const std::string& name =
        i < parameters_.size() ? parameters_[i].name : buffers_[i - parameters_.size()].name;
    file.tensors[prefix + name + "/average"] = nn::to_bytes(averages_[i]);
  }
}

void PartOptimizer::load(const TensorFile& file, const std::string& prefix) {
  begin_stage(false);
  for (std::size_t i = 0; i < momentum_.size(); ++i) {
    const std::string name = prefix + parameters_[i].name + "/momentum";
    nn::load_into(momentum_[i], nn::require(file, name), name);
  }
  for (const auto* group : {&parameters_, &buffers_}) {
    for (const nn::NamedTensor& t : *group) {
      const auto found = file.tensors.find(prefix + t.name + "/average");
      if (found == file.tensors.end()) return;  // saved without averages
      averages_.push_back(at::empty_like(t.tensor));
      nn::load_into(averages_.back(), found->second, found->first);
    }
  }
}

}  // namespace cmat::train

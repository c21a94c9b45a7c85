#include "cmat/attack/classifier.h"

#include <ATen/Functions.h>

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/module.h>
#include <algorithm>

#include "cmat/core/error.h"

namespace cmat::attack {
namespace {

/// The same pixels as a new leaf of autograd's graph; the caller's tensor is left alone.
at::Tensor as_leaf(const at::Tensor& images) { return images.detach().requires_grad_(true); }

/// Gradient of the sum of `values` with respect to `x`, zero where they do not depend on it.
at::Tensor input_gradient(const at::Tensor& values, const at::Tensor& x, bool keep_graph) {
  if (!values.requires_grad()) return at::zeros_like(x);
  at::Tensor dx = torch::autograd::grad({values}, {x}, {at::ones_like(values)}, keep_graph,
                                        /*create_graph=*/false, /*allow_unused=*/true)[0];
  return dx.defined() ? dx : at::zeros_like(x);
}

/// What a function that was not written for attacks may return instead of logits.
at::Tensor checked(at::Tensor logits, const at::Tensor& images) {
  if (!logits.defined() || logits.dim() != 2 || logits.size(0) != images.size(0) ||
      !logits.is_floating_point()) {
    const std::string shape = logits.defined() ? text(logits.sizes()) : std::string("nothing");
    usage_error("a network under attack gives one row of logits an image, [", images.size(0),
                ", classes], but this one gives ", shape);
  }
  if (logits.size(1) < 2) {
    usage_error("a network under attack needs 2 classes or more, but this one gives ",
                logits.size(1), " logit an image: two outputs, [0, z], say the same as one of ",
                "probability sigmoid(z)");
  }
  return logits;
}

std::vector<nn::NamedTensor> named(const torch::OrderedDict<std::string, at::Tensor>& tensors) {
  std::vector<nn::NamedTensor> result;
  for (const auto& item : tensors) result.push_back({item.key(), item.value()});
  return result;
}

}  // namespace

at::Tensor Classifier::logits(const at::Tensor& images) {
  const at::NoGradGuard no_grad;
  at::Tensor result = do_logits(images);
  forwards_ += images.size(0);
  return result;
}

at::Tensor Classifier::verdict_logits(const at::Tensor& images) {
  const at::NoGradGuard no_grad;
  const std::int64_t n = images.size(0), filled = n > 0 ? std::max(n, verdict_batch_) : n;
  forwards_ += filled;
  if (filled == n) return do_verdict_logits(images);
  const at::Tensor copies =
      images.narrow(0, n - 1, 1)
          .expand({filled - n, images.size(1), images.size(2), images.size(3)});
  return do_verdict_logits(at::cat({images, copies})).narrow(0, 0, n);
}

Gradient Classifier::gradient(const at::Tensor& images, const LossFunction& loss) {
  Gradient result = do_gradient(images, loss);
  forwards_ += images.size(0);
  backwards_ += images.size(0);
  return result;
}

at::Tensor Classifier::jacobian(const at::Tensor& images) {
  at::Tensor result = do_jacobian(images);
  forwards_ += images.size(0);
  backwards_ += images.size(0) * result.size(1);
  return result;
}

at::Tensor Classifier::features(const at::Tensor& images) {
  const at::NoGradGuard no_grad;
  at::Tensor result = do_features(images);
  forwards_ += images.size(0);
  return result;
}

ModuleGuard::ModuleGuard(torch::nn::Module& root, const std::vector<nn::NamedTensor>& parameters,
                         const std::vector<nn::NamedTensor>& buffers, Mode mode)
    : root_(root), root_was_training_(root.is_training()) {
  // Everything that can fail comes first: no destructor runs for a half-made guard.
  for (const auto& module : root.modules(/*include_self=*/false)) {
    was_training_.emplace_back(module, module->is_training());
  }
  for (const nn::NamedTensor& parameter : parameters) {
    if (parameter.tensor.requires_grad() && !parameter.tensor.is_leaf()) {
      usage_error("a network under attack needs parameters that are leaves of the graph, but ",
                  parameter.name, " is computed");
    }
    parameters_.push_back(parameter.tensor);
    required_grad_.push_back(parameter.tensor.requires_grad());
  }
  if (mode == Mode::train) {
    for (const nn::NamedTensor& buffer : buffers) {
      buffers_.push_back(buffer.tensor);
      saved_buffers_.push_back(buffer.tensor.detach().clone());
    }
  }
  root_.train(mode == Mode::train);
  for (at::Tensor& parameter : parameters_) parameter.requires_grad_(false);
}

ModuleGuard::~ModuleGuard() {
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    // variable_data: a graph that the caller recorded before may hold the buffers, and must not
    // take their restoration for a change.
    buffers_[i].variable_data().copy_(saved_buffers_[i]);
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    parameters_[i].requires_grad_(required_grad_[i]);
  }
  root_.train(root_was_training_);
  // Parents come before their children, whom train() takes along.
  for (const auto& [module, training] : was_training_) module->train(training);
}

at::Tensor FunctionClassifier::do_logits(const at::Tensor& images) {
  return checked(forward_(images), images);
}

Gradient FunctionClassifier::do_gradient(const at::Tensor& images, const LossFunction& loss) {
  const at::AutoGradMode with_grad(true);
  const at::Tensor x = as_leaf(images);
  const at::Tensor logits = checked(forward_(x), x);
  const at::Tensor losses = loss(logits);
  return {input_gradient(losses, x, /*keep_graph=*/false), logits.detach(), losses.detach()};
}

at::Tensor FunctionClassifier::do_jacobian(const at::Tensor& images) {
  const at::AutoGradMode with_grad(true);
  const at::Tensor x = as_leaf(images);
  const at::Tensor logits = checked(forward_(x), x);
  std::vector<at::Tensor> rows;
  for (std::int64_t c = 0; c < logits.size(1); ++c) {
    const bool more = c + 1 < logits.size(1);
    rows.push_back(input_gradient(logits.select(1, c), x, /*keep_graph=*/more));
  }
  return at::stack(rows, 1);
}

at::Tensor FunctionClassifier::do_features(const at::Tensor&) {
  usage_error("this network shows its logits only, and no features");
}

ModuleClassifier::ModuleClassifier(torch::nn::Module& module, Forward forward, Mode mode)
    : FunctionClassifier(std::move(forward)),
      guard_(module, named(module.named_parameters()), named(module.named_buffers()), mode) {}

NetworkClassifier::NetworkClassifier(nn::Network& network, Mode mode)
    : FunctionClassifier([&network](const at::Tensor& x) { return network.forward(x); }),
      network_(network),
      guard_(network.module(), network.parameters(), network.buffers(), mode) {}

Normalisation NetworkClassifier::normalisation() const {
  Normalisation result;
  for (const nn::NamedTensor& buffer : network_.buffers()) {
    if (buffer.name != "normalize.mean" && buffer.name != "normalize.std") continue;
    const at::Tensor wide = buffer.tensor.to(at::kCPU, at::kDouble).contiguous();
    const auto* first = wide.const_data_ptr<double>();
    (buffer.name.ends_with("mean") ? result.mean : result.std).assign(first, first + wide.numel());
  }
  return result;
}

at::Tensor NetworkClassifier::do_features(const at::Tensor& images) {
  return network_.features(images);
}

}  // namespace cmat::attack

// The random weights that a network begins with.
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "cmat/core/random.h"
#include "cmat/nn/network.h"

namespace cmat::nn {
namespace {

enum class Filling { zero, normal, uniform };

/// Fills a tensor in logical order, so that neither layout nor device nor dtype changes the
/// numbers.
void fill(const at::Tensor& tensor, const Key& key, Filling filling, double scale) {
  const at::NoGradGuard no_grad;
  std::vector<double> values(static_cast<std::size_t>(tensor.numel()), 0.0);
  Random random(key);
  for (double& value : values) {
    if (filling == Filling::normal) value = scale * random.normal();
    if (filling == Filling::uniform) value = random.uniform(-scale, scale);
  }
  at::Tensor target = tensor;
  target.copy_(at::tensor(values, at::kDouble).view(tensor.sizes()));
}

/// Kaiming-normal with fan-out for a ReLU network (He et al., 2015).
double kaiming_scale(const at::Tensor& weight) {
  return std::sqrt(2.0 / static_cast<double>(weight.size(0) * weight.size(2) * weight.size(3)));
}

Key weight_key(std::uint64_t seed, std::uint64_t task) {
  return {.seed = seed, .task = task, .purpose = Purpose::initial_weights};
}

void initialize_head(Network& network, const Key& key) {
  const std::vector<NamedTensor> parameters = network.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& [name, tensor] = parameters[i];
    if (name == network.head_name() + ".bias") fill(tensor, key.for_step(i), Filling::zero, 0);
    if (name != network.head_name() + ".weight") continue;
    const double bound = 1.0 / std::sqrt(static_cast<double>(tensor.size(1)));
    fill(tensor, key.for_step(i), Filling::uniform, bound);
  }
}

}  // namespace

void initialize(Network& network, const Description& description, std::uint64_t seed,
                std::uint64_t task) {
  initialize(network, description, weight_key(seed, task));
}

void initialize(Network& network, const Description& description, const Key& base) {
  std::vector<NamedTensor> parameters = network.parameters();
  for (const Layer& layer : description.layers) {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const at::Tensor& tensor = parameters[i].tensor;
      const Key key = base.for_step(i);
      if (parameters[i].name == layer.name + ".bias") fill(tensor, key, Filling::zero, 0);
      if (parameters[i].name != layer.name + ".weight") continue;
      if (layer.kind == LayerKind::conv) fill(tensor, key, Filling::normal, kaiming_scale(tensor));
      if (layer.kind == LayerKind::linear) fill(tensor, key, Filling::normal, 0.01);
      if (layer.kind == LayerKind::batch_norm) {
        const at::NoGradGuard no_grad;
        at::Tensor(tensor).fill_(1.0);
      }
    }
  }
  for (NamedTensor& buffer : network.buffers()) {
    if (buffer.name.ends_with("running_mean") || buffer.name.ends_with("num_batches_tracked")) {
      buffer.tensor.zero_();
    }
    if (buffer.name.ends_with("running_var")) buffer.tensor.fill_(1.0);
  }
  initialize_head(network, base);
}

void initialize_head(Network& network, std::uint64_t seed, std::uint64_t task) {
  initialize_head(network, weight_key(seed, task));
}

}  // namespace cmat::nn

// Networks with random weights and statistics, and filters that can be set to a known constant.
#pragma once

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <memory>
#include <random>
#include <string>

#include "cmat/nn/effective.h"

namespace cmat::test {

/// An initialised network whose norm layers and biases are not the identity.
inline nn::EffectiveNetwork random_network(const nn::NetworkOptions& options, at::ScalarType dtype,
                                           std::uint64_t seed) {
  const nn::Description description = nn::describe(options);
  const auto network = nn::build_network(description, dtype, at::kCPU);
  nn::initialize(*network, description, seed, 1);
  nn::EffectiveNetwork result = nn::effective_network(*network, description);
  std::mt19937_64 generator(seed);
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  const auto fill = [&](at::Tensor& tensor, double low, double high) {
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
      tensor.view({-1})[i].fill_(low + (high - low) * uniform(generator));
    }
  };
  for (auto& [name, tensor] : result.state) {
    if (name.ends_with("running_mean")) fill(tensor, -0.1, 0.1);
    if (name.ends_with("running_var")) fill(tensor, 0.2, 1.0);
    if (name.ends_with(".bias")) fill(tensor, 0.0, 0.3);
    if (name.ends_with("bn1.weight") || name.ends_with("bn2.weight")) fill(tensor, 0.5, 1.5);
  }
  return result;
}

/// Uniform in [0, 1), float64 [count, channels, height, width].
inline at::Tensor random_images(const nn::Description& d, std::int64_t count) {
  std::mt19937_64 generator(5);
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  const at::Tensor images =
      at::empty({count, d.channels, d.height, d.image_width}, at::TensorOptions(at::kDouble));
  auto* pixel = images.data_ptr<double>();
  for (std::int64_t i = 0; i < images.numel(); ++i) pixel[i] = uniform(generator);
  return images;
}

inline at::Tensor logits_of(const nn::EffectiveNetwork& network, const at::Tensor& images) {
  const at::NoGradGuard no_grad;
  const auto built = nn::build_network(network.description, images.scalar_type(), images.device());
  std::size_t found = 0;
  std::vector<nn::NamedTensor> live = built->parameters();
  for (const nn::NamedTensor& buffer : built->buffers()) live.push_back(buffer);
  for (const nn::NamedTensor& entry : live) {
    if (entry.name.ends_with("num_batches_tracked")) continue;
    entry.tensor.detach().copy_(network.state.at(entry.name));
    ++found;
  }
  if (found != network.state.size()) throw std::runtime_error("the network has other tensors");
  return built->forward(images);
}

/// Zeroes filter (or unit) `index` of a convolution or linear layer. What comes out of it for every
/// image is then `constant`: after the norm layer `norm`, or by its own bias if `norm` is empty.
inline void make_constant(nn::EffectiveNetwork& network, const std::string& layer,
                          const std::string& norm, std::int64_t index, double constant) {
  network.state.at(layer + ".weight")[index].zero_();
  const std::string bias = layer + ".bias";
  if (norm.empty()) {
    network.state.at(bias)[index].fill_(constant);
    return;
  }
  const double input =
      network.state.contains(bias) ? network.state.at(bias)[index].item<double>() : 0.0;
  const auto at = [&](const char* which) {
    return network.state.at(norm + which)[index].item<double>();
  };
  const double scaled =
      at(".weight") * (input - at(".running_mean")) / std::sqrt(at(".running_var") + 1e-5);
  network.state.at(norm + ".bias")[index].fill_(constant - scaled);
}

}  // namespace cmat::test

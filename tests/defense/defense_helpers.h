// What the tests of the objectives share: a network that remembers what it is given, and objectives
// made of a few lines of config.
#pragma once

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>
#include <string>
#include <vector>

#include "cmat/defense/objective.h"
#include "cmat/nn/network_wrapper.h"
#include "golden_tensor.h"

namespace cmat::defense {

/// Hands everything on, remembers what the weight step was given, and counts images on their way
/// forward and back.
class Spy : public nn::NetworkWrapper {
 public:
  explicit Spy(nn::Network& inner) : NetworkWrapper(inner) {}
  at::Tensor forward(const at::Tensor& images) override {
    forwards += images.size(0);
    all.push_back(images.detach().clone());
    if (at::GradMode::is_enabled() &&
        !images.requires_grad()) {  // the weight step, not an attack's
      seen.push_back(images.detach().clone());
      buffers_before = copies(buffers());
    }
    at::Tensor logits = NetworkWrapper::forward(images);
    if (logits.requires_grad()) {
      logits.register_hook([this](const at::Tensor& g) {
        backwards += g.size(0);
        return g;
      });
    }
    return logits;
  }

  static std::vector<at::Tensor> copies(const std::vector<nn::NamedTensor>& tensors) {
    std::vector<at::Tensor> result;
    for (const auto& t : tensors) result.push_back(t.tensor.detach().clone());
    return result;
  }

  std::vector<at::Tensor> all, seen, buffers_before;
  std::int64_t forwards = 0, backwards = 0;
};

/// By all parameters of the network, in their order. The graph stays.
inline std::vector<at::Tensor> all_gradients(const at::Tensor& loss, const nn::Network& network) {
  std::vector<at::Tensor> leaves;
  for (const nn::NamedTensor& p : network.parameters()) leaves.push_back(p.tensor);
  return torch::autograd::grad({loss}, leaves, {}, /*retain_graph=*/true);
}

inline std::unique_ptr<Objective> make(const std::string& toml,
                                       const attack::ThreatModel& threat = {}) {
  Config config = Config::parse("[objective]\n" + toml, "test");
  auto objective = make_objective(config, threat);
  config.finish();
  return objective;
}

inline Batch batch_of(const test::GoldenNet& net) {
  return {net.x, net.y, {10, 11, 12, 13, 14, 15}};
}

}  // namespace cmat::defense

// An attack's pass on the frozen network and on libtorch's graph.
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "cmat/bench/workload.h"
#include "cmat/core/error.h"
#include "cmat/nn/frozen/frozen_network.h"

namespace cmat::bench {
namespace {

using nn::frozen::Direction;
using nn::frozen::FrozenNetwork;
using nn::frozen::Side;

FrozenNetwork& frozen_of(nn::Network& network) {
  FrozenNetwork* frozen = network.freeze();
  if (!frozen) usage_error("this network has no frozen form here: ", network.kernels());
  return *frozen;
}

at::Tensor torch_gradient(nn::Network& network, const at::Tensor& images, const at::Tensor& slope) {
  const at::Tensor x = images.detach().requires_grad_(true);
  return torch::autograd::grad({network.forward(x)}, {x}, {slope.to(x.scalar_type())})[0];
}

/// The gradient in float64, of the same weights.
at::Tensor exact_gradient(const nn::Network& network, const nn::Description& description,
                          const at::Tensor& images, const at::Tensor& slope) {
  const auto exact = nn::build_network(description, at::kDouble, at::kCPU);
  {
    const c10::NoGradGuard no_grad;
    const auto copy = [](const std::vector<nn::NamedTensor>& from,
                         const std::vector<nn::NamedTensor>& to) {
      for (std::size_t i = 0; i < from.size(); ++i) {
        to[i].tensor.detach().copy_(from[i].tensor.detach());
      }
    };
    copy(network.parameters(), exact->parameters());
    copy(network.buffers(), exact->buffers());
  }
  return torch_gradient(*exact, images.to(at::kDouble), slope);
}

double flipped(const at::Tensor& gradient, const at::Tensor& exact) {
  return (gradient.to(at::kDouble).sign() != exact.sign()).to(at::kDouble).mean().item<double>();
}

struct Values {
  at::Tensor memory;
  float* data() const { return memory.data_ptr<float>(); }
};

Values random_values(const Side& side, std::int64_t images) {
  return {at::randn({images * side.floats()}, at::TensorOptions(at::kFloat))};
}

/// One product, both ways, by both kernels.
nlohmann::json measure(const FrozenNetwork::ProductInfo& info, const Options& options) {
  const nn::frozen::ConvolutionShape& s = info.shape;
  const std::int64_t n = options.batch;
  const auto channels_last = [](const at::Tensor& t) {
    return t.contiguous(at::MemoryFormat::ChannelsLast);
  };
  const auto image = [&](const Side& side) {
    return channels_last(at::randn({n, side.channels, side.height, side.width}));
  };
  const at::Tensor x = image(s.in), gradient = image(s.out);
  const at::Tensor weight =
      channels_last(at::randn({s.out.channels, s.in.channels, s.kernel, s.kernel}));
  nn::frozen::Workspace workspace;
  nlohmann::json row = {{"layer", info.layer},
                        {"shape", text(s.in.channels, "->", s.out.channels, " @", s.out.height, "x",
                                       s.out.width, " k", s.kernel, " s", s.stride)},
                        {"forward", info.forward},
                        {"backward", info.backward}};
  const auto frozen = [&](Direction direction, const Side& from, const Side& to) {
    const auto product = nn::frozen::make_product(s, direction);
    product->load(s.kernel == 1 && s.in.pixels() == 1 ? weight.view({s.out.channels, -1}) : weight);
    const Values in = random_values(from, n), out = random_values(to, n);
    return median_seconds(options.repeats,
                          [&] { product->run(in.data(), n, nullptr, {}, out.data(), workspace); });
  };
  row["forward_seconds"] = frozen(Direction::forward, s.in, s.out);
  row["backward_seconds"] = frozen(Direction::backward, s.out, s.in);
  row["torch_forward_seconds"] = median_seconds(options.repeats, [&] {
    at::conv2d(x, weight, {}, {s.stride, s.stride}, {s.padding, s.padding});
  });
  row["torch_backward_seconds"] = median_seconds(options.repeats, [&] {
    at::convolution_backward(gradient, x, weight, at::OptionalIntArrayRef(), {s.stride, s.stride},
                             {s.padding, s.padding}, {1, 1}, /*transposed=*/false, {0, 0},
                             /*groups=*/1, {true, false, false});
  });
  return row;
}

}  // namespace

nlohmann::json pass(const Options& options) {
  const std::unique_ptr<continual::Setup> setup = make_workload(options);
  begin_last_task(*setup, options);
  nn::Network& network = setup->model->network();
  network.set_training(false);
  FrozenNetwork& frozen = frozen_of(network);
  const at::Tensor images = at::rand({options.batch, 3, 32, 32});
  const at::Tensor slope = at::randn({options.batch, options.classes});
  at::Tensor ours, theirs;
  std::vector<double> whole, forward, torch, ratios;
  for (const nn::NamedTensor& p : network.parameters()) {
    at::Tensor(p.tensor).requires_grad_(
        false);  // torch, too, has only the images' gradient to find
  }
  // As many passes in a row as an attack makes: each finds the caches as the one before left them.
  const int steps = options.attack_steps;
  for (int i = 0; i <= options.repeats; ++i) {
    double ahead = 0, back = 0, graph = 0;
    for (int step = 0; step < steps; ++step) {
      ahead += seconds_of([&] { frozen.logits(images); }) / steps;
      back += seconds_of([&] { ours = frozen.input_gradient(slope); }) / steps;
    }
    for (int step = 0; step < steps; ++step) {
      graph += seconds_of([&] { theirs = torch_gradient(network, images, slope); }) / steps;
    }
    if (i == 0) continue;
    forward.push_back(ahead);
    whole.push_back(ahead + back);
    torch.push_back(graph);
    ratios.push_back(graph / (ahead + back));
  }
  const at::Tensor exact = exact_gradient(network, setup->model->description(), images, slope);
  nlohmann::json result = described(options);
  result["bench"] = "pass";
  result["kernels"] = network.kernels();
  result["frozen_seconds"] = median(whole);
  result["frozen_forward_seconds"] = median(forward);
  result["torch_seconds"] = median(torch);
  result["ratio"] = median(ratios);
  result["smallest_ratio"] = *std::min_element(ratios.begin(), ratios.end());
  result["largest_ratio"] = *std::max_element(ratios.begin(), ratios.end());
  result["freeze_seconds"] = median_seconds(options.repeats, [&] { network.freeze(); });
  result["weight_bytes"] = frozen.weight_bytes();
  result["flipped_signs"] = flipped(ours, exact);
  result["torch_flipped_signs"] = flipped(theirs, exact);
  return result;
}

nlohmann::json layers(const Options& options) {
  const std::unique_ptr<continual::Setup> setup = make_workload(options);
  begin_last_task(*setup, options);
  const c10::NoGradGuard no_grad;
  nlohmann::json result = described(options), rows = nlohmann::json::array();
  result["bench"] = "layers";
  for (const auto& info : frozen_of(setup->model->network()).products()) {
    rows.push_back(measure(info, options));
  }
  for (const char* key :
       {"forward_seconds", "backward_seconds", "torch_forward_seconds", "torch_backward_seconds"}) {
    double sum = 0;
    for (const nlohmann::json& row : rows) sum += row.at(key).get<double>();
    result[key] = sum;
  }
  result["layers"] = rows;
  return result;
}

}  // namespace cmat::bench

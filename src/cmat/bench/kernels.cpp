// The floor under a training step: its convolutions and matrix products and nothing else.
#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include "cmat/bench/workload.h"
#include "cmat/nn/description.h"

namespace cmat::bench {
namespace {

struct Kernel {
  bool conv = false;
  std::int64_t stride = 1, padding = 0;
  at::Tensor input, weight, gradient;  ///< the gradient is the output's
  double multiplications = 0;          ///< of one product, for the whole batch
};

at::Tensor random(at::IntArrayRef shape) {
  const at::Tensor x = at::randn(shape, at::TensorOptions(at::kFloat));
  return x.dim() == 4 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
}

std::vector<Kernel> kernels_of(const nn::Description& description, std::int64_t batch) {
  const std::vector<nn::ValueShape> shapes = nn::infer_shapes(description);
  std::vector<Kernel> kernels;
  for (std::size_t i = 0; i < description.layers.size(); ++i) {
    const nn::Layer& layer = description.layers[i];
    const nn::ValueShape& in = shapes[static_cast<std::size_t>(layer.inputs[0])];
    const nn::ValueShape& out = shapes[i + 1];
    Kernel kernel;
    kernel.stride = layer.stride;
    kernel.padding = layer.padding;
    if (layer.kind == nn::LayerKind::conv) {
      kernel.conv = true;
      kernel.input = random({batch, in.channels, in.height, in.width});
      kernel.weight = random({layer.out, layer.in, layer.kernel, layer.kernel});
      kernel.gradient = random({batch, out.channels, out.height, out.width});
    } else if (layer.kind == nn::LayerKind::linear) {
      kernel.input = random({batch, layer.in});
      kernel.weight = random({layer.out, layer.in});
      kernel.gradient = random({batch, layer.out});
    } else {
      continue;
    }
    kernel.multiplications = static_cast<double>(kernel.weight.numel()) *
                             static_cast<double>(batch * out.height * out.width);
    kernels.push_back(std::move(kernel));
  }
  return kernels;
}

void forward(const Kernel& k) {
  if (k.conv)
    at::conv2d(k.input, k.weight, {}, {k.stride, k.stride}, {k.padding, k.padding});
  else
    at::linear(k.input, k.weight);
}

void backward(const Kernel& k, bool to_input, bool to_weight) {
  if (k.conv) {
    at::convolution_backward(k.gradient, k.input, k.weight, at::OptionalIntArrayRef(),
                             {k.stride, k.stride}, {k.padding, k.padding}, {1, 1},
                             /*transposed=*/false, {0, 0}, /*groups=*/1,
                             {to_input, to_weight, false});
    return;
  }
  if (to_input) k.gradient.mm(k.weight);
  if (to_weight) k.gradient.t().mm(k.input);
}

/// One pass of the attack: the weights are constants.
void attack_pass(const std::vector<Kernel>& kernels) {
  for (const Kernel& k : kernels) forward(k);
  for (auto k = kernels.rbegin(); k != kernels.rend(); ++k) backward(*k, true, false);
}

/// The weight step: nobody asks for the images' gradient.
void weight_pass(const std::vector<Kernel>& kernels) {
  for (const Kernel& k : kernels) forward(k);
  for (auto k = kernels.rbegin(); k != kernels.rend(); ++k) {
    backward(*k, /*to_input=*/&*k != &kernels.front(), true);
  }
}

double gflop_of(const std::vector<Kernel>& kernels, std::int64_t attack_steps) {
  double multiplications = 0;
  for (const Kernel& k : kernels) {
    const double weight_step = &k == &kernels.front() ? 2 : 3;
    multiplications += k.multiplications * (2 * static_cast<double>(attack_steps) + weight_step);
  }
  return 2e-9 * multiplications;
}

}  // namespace

nlohmann::json kernels(const Options& options) {
  const std::unique_ptr<continual::Setup> setup = make_workload(options);
  const std::vector<Kernel> all = kernels_of(setup->description, options.batch);
  const c10::NoGradGuard no_grad;
  std::vector<double> attack, weight, whole;
  attack = times_of(options.repeats, [&] {
    for (std::int64_t i = 0; i < options.attack_steps; ++i) attack_pass(all);
  });
  weight = times_of(options.repeats, [&] { weight_pass(all); });
  for (std::size_t i = 0; i < attack.size(); ++i) whole.push_back(attack[i] + weight[i]);
  const double seconds = median(whole), gflop = gflop_of(all, options.attack_steps);
  nlohmann::json result = described(options);
  result["bench"] = "kernels";
  result["seconds_per_step"] = seconds;
  result["images_per_second"] = static_cast<double>(options.batch) / seconds;
  result["attack_seconds"] = median(attack);
  result["weight_seconds"] = median(weight);
  result["gflop"] = gflop;
  result["gflop_per_second"] = gflop / seconds;
  return result;
}

}  // namespace cmat::bench

#include "cmat/nn/frozen/training_convolution.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>

namespace cmat::nn::frozen {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor image_like(const Side& side, std::int64_t images) {
  return at::empty({images, side.channels, side.height, side.width},
                   at::TensorOptions(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast));
}

/// `bias` may be empty but not undefined, which autograd does not take.
struct TrainingConvolution : torch::autograd::Function<TrainingConvolution> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, const LayerProducts& products) {
    const ConvolutionShape& s = products.shape;
    context->save_for_backward({x, weight});
    context->saved_data["products"] = reinterpret_cast<std::int64_t>(&products);
    const bool has_bias = bias.numel() > 0;
    context->saved_data["bias"] = has_bias;
    if (winograd_tile(s, Direction::forward) == 0) {
      return at::conv2d(x, weight, has_bias ? bias : at::Tensor(), {s.stride, s.stride},
                        {s.padding, s.padding});
    }
    at::Tensor y = image_like(s.out, x.size(0));
    Epilogue epilogue;
    if (has_bias) epilogue.bias = bias.const_data_ptr<float>();
    products.forward->run(x.const_data_ptr<float>(), x.size(0), nullptr, epilogue,
                          y.data_ptr<float>(), *products.workspace);
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto& products =
        *reinterpret_cast<const LayerProducts*>(context->saved_data["products"].toInt());
    const ConvolutionShape& s = products.shape;
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const at::Tensor dy = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
    at::Tensor dx;
    const bool needs_dx = context->needs_input_grad(0);
    const bool ours = winograd_tile(s, Direction::backward) != 0;
    if (needs_dx && ours) {
      dx = image_like(s.in, x.size(0));
      products.backward->run(dy.const_data_ptr<float>(), x.size(0), nullptr, {},
                             dx.data_ptr<float>(), *products.workspace);
    }
    const std::array<bool, 3> rest = {
        needs_dx && !ours, context->needs_input_grad(1),
        context->saved_data["bias"].toBool() && context->needs_input_grad(2)};
    if (!rest[0] && !rest[1] && !rest[2]) return {dx, {}, {}, {}};
    const std::array<std::int64_t, 1> channels = {s.out.channels};
    auto [torchs_dx, dw, db] = at::convolution_backward(
        dy, x, weight, at::IntArrayRef(channels), {s.stride, s.stride}, {s.padding, s.padding},
        {1, 1}, /*transposed=*/false, {0, 0}, /*groups=*/1, rest);
    return {rest[0] ? torchs_dx : dx, dw, db, {}};
  }
};

}  // namespace

bool pays_in_training(const ConvolutionShape& shape) {
  return shape.in.channels % kPanel == 0 && shape.out.channels % kPanel == 0 &&
         (winograd_tile(shape, Direction::forward) > 0 ||
          winograd_tile(shape, Direction::backward) > 0);
}

at::Tensor training_convolution(const LayerProducts& products, const at::Tensor& x,
                                const at::Tensor& weight, const at::Tensor& bias) {
  return TrainingConvolution::apply(x, weight, bias.defined() ? bias : at::empty({0}), products);
}

}  // namespace cmat::nn::frozen

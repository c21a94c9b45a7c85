// A convolution of the training graph whose output and input gradient are computed as the frozen
// network computes them, while libtorch finds the weight's gradient.
#pragma once

#include <ATen/core/Tensor.h>

#include "cmat/nn/frozen/product.h"

namespace cmat::nn::frozen {

/// The products of one layer, loaded with its weights.
struct LayerProducts {
  const Product* forward = nullptr;
  const Product* backward = nullptr;
  ConvolutionShape shape{};
  Workspace* workspace = nullptr;
};

/// Whether there is something to gain: one of the two is Winograd's, and channels fill whole
/// panels, so that libtorch's channels-last memory is the frozen network's.
bool pays_in_training(const ConvolutionShape& shape);

/// conv2d(x, weight, bias) with x [n, in, h, w] of the shape's size, channels-last, and an
/// undefined bias for none; float32. `products` must have been loaded with this weight, and must
/// live, loaded with it, until the graph is used up. First derivatives only.
at::Tensor training_convolution(const LayerProducts& products, const at::Tensor& x,
                                const at::Tensor& weight, const at::Tensor& bias);

}  // namespace cmat::nn::frozen

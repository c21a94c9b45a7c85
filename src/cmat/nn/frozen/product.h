// The product of a layer's weights with its input, or of their transpose with the gradient of its
// output: a convolution either way. Layouts as in kernels.h. How one is computed follows from its
// shape alone, never from a timing, so that results are the same every day.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "cmat/nn/frozen/buffer.h"
#include "cmat/nn/frozen/direct_kernels.h"
#include "cmat/nn/frozen/kernels.h"

namespace cmat::nn::frozen {

/// A linear layer is a convolution of 1x1 images.
struct ConvolutionShape {
  Side in, out;
  std::int64_t kernel = 1, stride = 1, padding = 0;
};

enum class Direction { forward, backward };

class Product {
 public:
  virtual ~Product() = default;
  /// Takes over the layer's weight, [out, in, kernel, kernel] of any strides or [out, in], float32.
  virtual void load(const at::Tensor& weight) = 0;
  /// y = epilogue(product with x, each channel of which is scaled first). `scale` may be null.
  /// REQUIRES load(). y may be epilogue.add.
  virtual void run(const float* x, std::int64_t images, const float* scale,
                   const Epilogue& epilogue, float* y, Workspace& workspace) const = 0;
  /// "winograd 4x4", "winograd 2x2", "direct", "col2im", "linear"
  virtual std::string method() const = 0;
  virtual std::int64_t bytes() const = 0;  ///< of the weights that it keeps
};

/// The side m of Winograd's tiles, m x m of the layer's outputs, that takes the fewest
/// multiplications, or 0 where a direct sum does: 2 or 4 for stride 1, 4 for stride 2.
std::int64_t winograd_tile(const ConvolutionShape& shape, Direction direction);

/// Multiplications of one of its tiles, a pair of channels, in hundredths and with what the
/// transforms add to them.
std::int64_t winograd_price(std::int64_t stride, std::int64_t tile);

std::unique_ptr<Product> make_product(const ConvolutionShape& shape, Direction direction);

// What make_product chooses from.
std::unique_ptr<Product> make_winograd(const ConvolutionShape& shape, Direction direction,
                                       std::int64_t tile);
std::unique_ptr<Product> make_direct(const ConvolutionShape& shape, Direction direction);
/// The gradient of an image of few channels; where it takes fewer multiplications than a direct
/// sum, pays_as_taps() says.
std::unique_ptr<Product> make_image_gradient(const ConvolutionShape& shape);
bool pays_as_taps(const ConvolutionShape& shape);
/// For linear layers of whole panels on both sides, whose weights it does not copy.
std::unique_ptr<Product> make_linear(const ConvolutionShape& shape, Direction direction);

}  // namespace cmat::nn::frozen

#include "cmat/nn/frozen/product.h"

namespace cmat::nn::frozen {
namespace {

bool is_linear(const ConvolutionShape& shape) {
  return shape.kernel == 1 && shape.in.pixels() == 1 && shape.out.pixels() == 1;
}

/// Linear layers of more weights read them where they are: packing them after each step of training
/// would cost more than it gains.
constexpr std::int64_t kLargeLinear = 1 << 16;

}  // namespace

std::int64_t winograd_price(std::int64_t stride, std::int64_t tile) {
  if (stride == 2) return 130 * 81;
  return (tile == 4 ? 140 : 120) * (tile + 2) * (tile + 2);
}

std::int64_t winograd_tile(const ConvolutionShape& shape, Direction direction) {
  if (shape.kernel != 3 || shape.stride > 2 || shape.padding != 1) return 0;
  // Transforms cost as much for 3 channels as for kPanel, and so does a direct product's output.
  const Side& from = direction == Direction::forward ? shape.in : shape.out;
  if (from.channels < kPanel / 2 || from.stride < kPanel) return 0;
  std::int64_t best = 0, least = 100 * 9 * shape.out.pixels();
  for (const std::int64_t tile : {2, 4}) {
    if (shape.stride == 2 && tile == 2) continue;
    const std::int64_t down = (shape.out.height + tile - 1) / tile;
    const std::int64_t across = (shape.out.width + tile - 1) / tile;
    const std::int64_t cost = winograd_price(shape.stride, tile) * down * across;
    if (cost >= least) continue;
    least = cost;
    best = tile;
  }
  return best;
}

std::unique_ptr<Product> make_product(const ConvolutionShape& shape, Direction direction) {
  if (direction == Direction::backward && pays_as_taps(shape)) return make_image_gradient(shape);
  if (const std::int64_t tile = winograd_tile(shape, direction)) {
    return make_winograd(shape, direction, tile);
  }
  const bool whole_panels = shape.in.channels % kPanel == 0 && shape.out.channels % kPanel == 0;
  if (is_linear(shape) && whole_panels && shape.in.channels * shape.out.channels >= kLargeLinear) {
    return make_linear(shape, direction);
  }
  return make_direct(shape, direction);
}

}  // namespace cmat::nn::frozen

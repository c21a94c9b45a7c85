#include "cmat/nn/frozen/product.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <utility>

#include "cmat/core/error.h"
#include "cmat/nn/frozen/parallel.h"

namespace cmat::nn::frozen {
namespace {

/// A linear layer through libtorch, which reads the weights where they are.
class Library : public Product {
 public:
  Library(const ConvolutionShape& shape, Direction direction)
      : in_(direction == Direction::forward ? shape.in : shape.out),
        out_(direction == Direction::forward ? shape.out : shape.in),
        forward_(direction == Direction::forward) {}

  void load(const at::Tensor& weight) override {
    weight_ = forward_ ? weight.detach().t() : weight.detach();
  }

  void run(const float* x, std::int64_t images, const float* scale, const Epilogue& epilogue,
           float* y, Workspace& workspace) const override {
    if (scale) failure("no norm layer follows a linear one");
    const auto view = [&](const float* data, const Side& side) {
      return at::from_blob(const_cast<float*>(data), {images, side.channels}, {side.stride, 1},
                           at::kFloat);
    };
    // The sums have a place of their own: y may be what is added to them.
    float* sums = workspace.shared(images * out_.stride);
    at::Tensor result = view(sums, out_);
    at::mm_out(result, view(x, in_), weight_);
    Lattice each;
    each.down = each.across = 1;
    each.targets = {{}};
    for_each_item(images, [&](std::int64_t i, int) {
      float* row = sums + i * out_.stride;
      std::fill(row + out_.channels, row + out_.stride, 0.0f);
      scatter(each, out_, row, out_.stride, i, 1, epilogue, y);
    });
  }

  std::string method() const override { return "library"; }
  std::int64_t bytes() const override { return 0; }

 private:
  Side in_, out_;
  bool forward_;
  at::Tensor weight_;
};

bool is_linear(const ConvolutionShape& shape) {
  return shape.kernel == 1 && shape.in.pixels() == 1 && shape.out.pixels() == 1;
}

/// Weights of a linear layer beyond which packing them after each step costs more than it gains.
constexpr std::int64_t kLargeLinear = 1 << 16;

}  // namespace

std::int64_t winograd_tile(const ConvolutionShape& shape, Direction direction) {
  if (shape.kernel != 3 || shape.stride != 1 || shape.padding != 1) return 0;
  // Transforms cost as much for 3 channels as for kPanel, and so does a direct product's output.
  const Side& from = direction == Direction::forward ? shape.in : shape.out;
  if (from.channels < kPanel / 2 || from.stride < kPanel) return 0;
  // Hundredths of the multiplications, with what the transforms add to them.
  std::int64_t best = 0, least = 100 * 9 * from.pixels();
  for (const auto& [tile, price] : {std::pair<std::int64_t, std::int64_t>{2, 120}, {4, 140}}) {
    const std::int64_t down = (from.height + tile - 1) / tile;
    const std::int64_t across = (from.width + tile - 1) / tile;
    const std::int64_t cost = price * down * across * (tile + 2) * (tile + 2);
    if (cost >= least) continue;
    least = cost;
    best = tile;
  }
  return best;
}

std::unique_ptr<Product> make_product(const ConvolutionShape& shape, Direction direction) {
  if (const std::int64_t tile = winograd_tile(shape, direction)) {
    return make_winograd(shape, direction, tile);
  }
  if (is_linear(shape) && shape.in.channels * shape.out.channels >= kLargeLinear) {
    return make_library(shape, direction);
  }
  return make_direct(shape, direction);
}

std::unique_ptr<Product> make_library(const ConvolutionShape& shape, Direction direction) {
  return std::make_unique<Library>(shape, direction);
}

}  // namespace cmat::nn::frozen

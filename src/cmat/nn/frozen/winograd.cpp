// Convolutions by Winograd's minimal filtering: transform tiles, multiply, transform back.
#include <algorithm>
#include <vector>

#include "cmat/core/error.h"
#include "cmat/nn/frozen/parallel.h"
#include "cmat/nn/frozen/product.h"
#include "cmat/nn/frozen/winograd_kernels.h"

namespace cmat::nn::frozen {
namespace {

// Floats of a thread's tiles, before and after the product, that stay in its own cache.
constexpr std::int64_t kTilesInCache = (std::int64_t{256} << 10) / sizeof(float);
constexpr std::int64_t kFewestTiles = 24;
// Planes a multiple of 4 KB apart would fall onto the same lines of the cache.
constexpr std::int64_t kPlaneSkew = kPanel;

class Winograd : public Product {
 public:
  Winograd(const ConvolutionShape& shape, Direction direction, std::int64_t tile)
      : in_(direction == Direction::forward ? shape.in : shape.out),
        out_(direction == Direction::forward ? shape.out : shape.in),
        backward_(direction == Direction::backward),
        grid_(in_.height, in_.width, tile),
        panels_(padded(out_.channels) / kPanel),
        plane_(in_.channels * panels_ * kPanel) {}

  void load(const at::Tensor& weight) override;
  void run(const float* x, std::int64_t images, const float* scale, const Epilogue& epilogue,
           float* y, Workspace& workspace) const override;
  std::string method() const override { return text("winograd ", grid_.m, "x", grid_.m); }
  std::int64_t bytes() const override {
    return grid_.products() * plane_ * std::int64_t{sizeof(float)};
  }

 private:
  Panels product(std::int64_t p) const {
    return Panels::packed(weights_.data() + p * plane_, in_.channels);
  }
  void load_block(const at::Tensor& weight, std::int64_t panel, std::int64_t first_in);
  void run_by_tiles(const float* x, std::int64_t tiles, std::int64_t block, const float* scale,
                    const Epilogue& epilogue, float* y, Workspace& workspace) const;
  void run_by_products(const float* x, std::int64_t tiles, const float* scale,
                       const Epilogue& epilogue, float* y, Workspace& workspace) const;

  Side in_, out_;  ///< of the product: the gradient goes in on the layer's output side
  bool backward_;
  TileGrid grid_;
  std::int64_t panels_, plane_;
  Buffer weights_;  ///< for each product, packed as `multiply` wants it
};

void Winograd::load(const at::Tensor& weight) {
  weights_.reserve(grid_.products() * plane_);
  const std::int64_t blocks_in = (in_.channels + kPanel - 1) / kPanel;
  for_each_item(panels_ * blocks_in, [&](std::int64_t item, int) {
    load_block(weight, item / blocks_in, item % blocks_in * kPanel);
  });
}

/// Gathers the filters from kPanel channels to one panel and transforms them.
void Winograd::load_block(const at::Tensor& weight, std::int64_t panel, std::int64_t first_in) {
  const float* w = weight.const_data_ptr<float>();
  // The gradient's filters lead from the layer's output channels to its input channels.
  const std::int64_t to_in = weight.stride(backward_ ? 0 : 1);
  const std::int64_t to_out = weight.stride(backward_ ? 1 : 0);
  const std::int64_t rows = std::min(kPanel, in_.channels - first_in);
  const std::int64_t first_out = panel * kPanel;
  const std::int64_t columns = std::min(kPanel, out_.channels - first_out);
  float filters[kPanel * 9 * kPanel] = {};
  std::int64_t taps[9];
  for (std::int64_t tap = 0; tap < 9; ++tap) {
    taps[tap] = tap / 3 * weight.stride(2) + tap % 3 * weight.stride(3);
  }
  w += first_in * to_in + first_out * to_out;
  const auto copy = [&](std::int64_t i, std::int64_t o, std::int64_t tap) {
    filters[(i * 9 + tap) * kPanel + o] = w[i * to_in + o * to_out + taps[tap]];
  };
  // Neighbours in memory one after the other, or each would bring a line into the cache in vain.
  if (to_in < to_out) {
    for (std::int64_t o = 0; o < columns; ++o) {
      for (std::int64_t tap = 0; tap < 9; ++tap) {
        for (std::int64_t i = 0; i < rows; ++i) copy(i, o, tap);
      }
    }
  } else {
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t tap = 0; tap < 9; ++tap) {
        for (std::int64_t o = 0; o < columns; ++o) copy(i, o, tap);
      }
    }
  }
  transform_weights(grid_.m, filters, rows, backward_,
                    weights_.data() + (panel * in_.channels + first_in) * kPanel, plane_);
}

void Winograd::run(const float* x, std::int64_t images, const float* scale,
                   const Epilogue& epilogue, float* y, Workspace& workspace) const {
  const std::int64_t tiles = images * grid_.tiles();
  const std::int64_t tile_floats = grid_.products() * (in_.stride + padded(out_.channels));
  const std::int64_t block = std::max(kFewestTiles, kTilesInCache / tile_floats / 12 * 12);
  const std::int64_t blocks = (tiles + block - 1) / block;
  // Floats that pass through the shared cache: the weights once a block, or all tiles, each written
  // and read twice.
  const bool by_tiles =
      blocks >= 2 * thread_count() && blocks * grid_.products() * plane_ < 4 * tiles * tile_floats;
  if (by_tiles) {
    run_by_tiles(x, tiles, block, scale, epilogue, y, workspace);
  } else {
    run_by_products(x, tiles, scale, epilogue, y, workspace);
  }
}

/// Each thread takes a block of tiles all the way.
void Winograd::run_by_tiles(const float* x, std::int64_t tiles, std::int64_t block,
                            const float* scale, const Epilogue& epilogue, float* y,
                            Workspace& workspace) const {
  const std::int64_t in_plane = block * in_.stride + kPlaneSkew;
  const std::int64_t out_row = panels_ * kPanel, out_plane = block * out_row + kPlaneSkew;
  workspace.reserve_own(grid_.products() * (in_plane + out_plane));
  for_each_item((tiles + block - 1) / block, [&](std::int64_t item, int thread) {
    float* in = workspace.own(thread);
    float* out = in + grid_.products() * in_plane;
    const std::int64_t first = item * block, count = std::min(block, tiles - first);
    transform_input(grid_, x, in_.stride, scale, first, count, in, in_plane);
    for (std::int64_t p = 0; p < grid_.products(); ++p) {
      multiply(count, in_.channels, in + p * in_plane, in_.stride, product(p), panels_,
               out + p * out_plane, out_row);
    }
    transform_output(grid_, out, out_plane, out_.channels, first, count, epilogue, y, out_.stride);
  });
}

/// All tiles go one step together, so that the weights are read once.
void Winograd::run_by_products(const float* x, std::int64_t tiles, const float* scale,
                               const Epilogue& epilogue, float* y, Workspace& workspace) const {
  const std::int64_t in_plane = tiles * in_.stride + kPlaneSkew;
  const std::int64_t out_row = panels_ * kPanel, out_plane = tiles * out_row + kPlaneSkew;
  float* in = workspace.shared(grid_.products() * (in_plane + out_plane));
  float* out = in + grid_.products() * in_plane;
  const std::int64_t few = 8, blocks = (tiles + few - 1) / few;
  for_each_item(blocks, [&](std::int64_t item, int) {
    const std::int64_t first = item * few;
    transform_input(grid_, x, in_.stride, scale, first, std::min(few, tiles - first),
                    in + first * in_.stride, in_plane);
  });
  // Parts of a product: enough for all threads, and each with enough panels.
  const std::int64_t group = std::max<std::int64_t>(2, std::min<std::int64_t>(panels_, 8));
  const std::int64_t groups = (panels_ + group - 1) / group;
  for_each_item(grid_.products() * groups, [&](std::int64_t item, int) {
    const std::int64_t p = item / groups, panel = item % groups * group;
    multiply(tiles, in_.channels, in + p * in_plane, in_.stride, product(p).from(panel),
             std::min(group, panels_ - panel), out + p * out_plane + panel * kPanel, out_row);
  });
  for_each_item(blocks, [&](std::int64_t item, int) {
    const std::int64_t first = item * few;
    transform_output(grid_, out + first * out_row, out_plane, out_.channels, first,
                     std::min(few, tiles - first), epilogue, y, out_.stride);
  });
}

}  // namespace

std::unique_ptr<Product> make_winograd(const ConvolutionShape& shape, Direction direction,
                                       std::int64_t tile) {
  return std::make_unique<Winograd>(shape, direction, tile);
}

}  // namespace cmat::nn::frozen

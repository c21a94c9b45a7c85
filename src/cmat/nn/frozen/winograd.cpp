// Convolutions by Winograd's minimal filtering: transform tiles, multiply, transform back.
#include <algorithm>
#include <utility>
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

Filtering filtering_of(const ConvolutionShape& shape, Direction direction, std::int64_t tile) {
  if (shape.stride == 1) return tile == 4 ? Filtering::four : Filtering::two;
  return direction == Direction::forward ? Filtering::strided : Filtering::strided_gradient;
}

class Winograd : public Product {
 public:
  Winograd(const ConvolutionShape& shape, Direction direction, std::int64_t tile)
      : backward_(direction == Direction::backward),
        tile_(tile),
        grid_(filtering_of(shape, direction, tile), backward_ ? shape.out : shape.in,
              backward_ ? shape.in : shape.out),
        panels_(padded(grid_.out.channels) / kPanel),
        plane_(grid_.in.channels * panels_ * kPanel) {
    for (std::int64_t p = 0; p < grid_.products(); ++p) terms_.push_back(terms_of(p));
  }

  void load(const at::Tensor& weight) override;
  void run(const float* x, std::int64_t images, const float* scale, const Epilogue& epilogue,
           float* y, Workspace& workspace) const override;
  std::string method() const override { return text("winograd ", tile_, "x", tile_); }
  std::int64_t bytes() const override {
    return grid_.filters() * plane_ * std::int64_t{sizeof(float)};
  }

 private:
  /// What a product sums: points times filters.
  struct Term {
    std::int64_t point, filter;
  };

  std::vector<Term> terms_of(std::int64_t product) const;
  /// Rows of product `p` for some of its panels, from those of the points.
  void multiply_terms(std::int64_t p, std::int64_t rows, const float* in, std::int64_t in_plane,
                      std::int64_t first_panel, std::int64_t panels, float* out) const;
  void load_block(const at::Tensor& weight, std::int64_t panel, std::int64_t first_in);
  void run_by_tiles(const float* x, std::int64_t tiles, std::int64_t block, const float* scale,
                    const Epilogue& epilogue, float* y, Workspace& workspace) const;
  void run_by_products(const float* x, std::int64_t tiles, const float* scale,
                       const Epilogue& epilogue, float* y, Workspace& workspace) const;

  bool backward_;
  std::int64_t tile_;  ///< outputs of the layer, to a side
  TileGrid grid_;      ///< of the product: the gradient goes in on the layer's output side
  std::int64_t panels_, plane_;
  std::vector<std::vector<Term>> terms_;  ///< of each product
  Buffer weights_;                        ///< for each filter, packed as `multiply` wants it
};

std::vector<Winograd::Term> Winograd::terms_of(std::int64_t product) const {
  const TileShape& s = grid_.shape;
  const std::int64_t down = product / s.products, across = product % s.products;
  // Of the points and filters along a side: the pixels at odd places have five points of their own
  // filters, those at even places four, all of one filter.
  constexpr std::int64_t odd = 5, middle = 5;
  const auto side = [&](std::int64_t i) {
    std::vector<Term> terms = {{i, i}};
    if (grid_.filtering == Filtering::strided && i + 1 < odd) terms.push_back({odd + i, middle});
    if (grid_.filtering == Filtering::strided_gradient && i >= odd) terms = {{i - odd, middle}};
    return terms;
  };
  std::vector<Term> terms;
  for (const Term& d : side(down)) {
    for (const Term& a : side(across)) {
      terms.push_back({d.point * s.points + a.point, d.filter * s.filters + a.filter});
    }
  }
  return terms;
}

void Winograd::multiply_terms(std::int64_t p, std::int64_t rows, const float* in,
                              std::int64_t in_plane, std::int64_t first_panel, std::int64_t panels,
                              float* out) const {
  bool add = false;
  for (const Term& term : terms_[static_cast<std::size_t>(p)]) {
    const Panels filter =
        Panels::packed(weights_.data() + term.filter * plane_, grid_.in.channels).from(first_panel);
    multiply(rows, grid_.in.channels, in + term.point * in_plane, grid_.in.stride, filter, panels,
             out + first_panel * kPanel, panels_ * kPanel, std::exchange(add, true));
  }
}

void Winograd::load(const at::Tensor& weight) {
  weights_.reserve(grid_.filters() * plane_);
  const std::int64_t blocks_in = (grid_.in.channels + kPanel - 1) / kPanel;
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
  const std::int64_t rows = std::min(kPanel, grid_.in.channels - first_in);
  const std::int64_t first_out = panel * kPanel;
  const std::int64_t columns = std::min(kPanel, grid_.out.channels - first_out);
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
  transform_weights(grid_.filtering, filters, rows, backward_,
                    weights_.data() + (panel * grid_.in.channels + first_in) * kPanel, plane_);
}

void Winograd::run(const float* x, std::int64_t images, const float* scale,
                   const Epilogue& epilogue, float* y, Workspace& workspace) const {
  const std::int64_t tiles = images * grid_.tiles();
  const std::int64_t tile_floats =
      grid_.points() * grid_.in.stride + grid_.products() * padded(grid_.out.channels);
  const std::int64_t block = std::max(kFewestTiles, kTilesInCache / tile_floats / 12 * 12);
  const std::int64_t blocks = (tiles + block - 1) / block;
  // Floats that pass through the shared cache: the weights once a block, or all tiles, each written
  // and read twice.
  const int threads = thread_count();
  const bool by_tiles = (threads == 1 || blocks >= 2 * threads) &&
                        blocks * grid_.filters() * plane_ < 4 * tiles * tile_floats;
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
  const std::int64_t in_plane = block * grid_.in.stride + kPlaneSkew;
  const std::int64_t out_row = panels_ * kPanel, out_plane = block * out_row + kPlaneSkew;
  workspace.reserve_own(grid_.points() * in_plane + grid_.products() * out_plane);
  for_each_item((tiles + block - 1) / block, [&](std::int64_t item, int thread) {
    float* in = workspace.own(thread);
    float* out = in + grid_.points() * in_plane;
    const std::int64_t first = item * block, count = std::min(block, tiles - first);
    transform_input(grid_, x, scale, first, count, in, in_plane);
    for (std::int64_t p = 0; p < grid_.products(); ++p) {
      multiply_terms(p, count, in, in_plane, 0, panels_, out + p * out_plane);
    }
    transform_output(grid_, out, out_plane, first, count, epilogue, y);
  });
}

/// All tiles go one step together, so that the weights are read once.
void Winograd::run_by_products(const float* x, std::int64_t tiles, const float* scale,
                               const Epilogue& epilogue, float* y, Workspace& workspace) const {
  const std::int64_t in_plane = tiles * grid_.in.stride + kPlaneSkew;
  const std::int64_t out_row = panels_ * kPanel, out_plane = tiles * out_row + kPlaneSkew;
  float* in = workspace.shared(grid_.points() * in_plane + grid_.products() * out_plane);
  float* out = in + grid_.points() * in_plane;
  const std::int64_t few = 8, blocks = (tiles + few - 1) / few;
  for_each_item(blocks, [&](std::int64_t item, int) {
    const std::int64_t first = item * few;
    transform_input(grid_, x, scale, first, std::min(few, tiles - first),
                    in + first * grid_.in.stride, in_plane);
  });
  // Parts of a product: enough for all threads, and each with enough panels.
  const std::int64_t group = std::max<std::int64_t>(2, std::min<std::int64_t>(panels_, 8));
  const std::int64_t groups = (panels_ + group - 1) / group;
  for_each_item(grid_.products() * groups, [&](std::int64_t item, int) {
    const std::int64_t p = item / groups, panel = item % groups * group;
    multiply_terms(p, tiles, in, in_plane, panel, std::min(group, panels_ - panel),
                   out + p * out_plane);
  });
  for_each_item(blocks, [&](std::int64_t item, int) {
    const std::int64_t first = item * few;
    transform_output(grid_, out + first * out_row, out_plane, first, std::min(few, tiles - first),
                     epilogue, y);
  });
}

}  // namespace

std::unique_ptr<Product> make_winograd(const ConvolutionShape& shape, Direction direction,
                                       std::int64_t tile) {
  return std::make_unique<Winograd>(shape, direction, tile);
}

}  // namespace cmat::nn::frozen

// The transforms of Winograd's minimal filtering for 3x3 convolutions of padding 1 (Lavin and Gray,
// CVPR 2016): a tile of outputs from a window of inputs, with a product a pair of channels and
// transformed point, where the direct sum takes nine an output.
//
//   Y = A^T [ (G g G^T) . (B^T d B) ] A
//
// Stride 1: F(m x m, 3 x 3), m = 2 (points 0, 1, -1) or 4 (points 0, 1, -1, 2, -2).
//
// Stride 2 (after Yepez and Ko, IEEE TVLSI 2020): the pixels at odd places, of a row or a column,
// meet the outer two of a kernel's three taps, those at even places the middle one. The first is an
// F(4, 2), of points 0, 1, -1, 2 and infinity. The second needs no transform; it gets the inverse
// of A^T's four finite columns, so that both are summed where they are products. 81 products make
// 16 outputs, in place of 144. The gradient is the same turned around: one window, and 8x8 pixels
// from 81 products.
//
// The products of one point are a matrix product over channels, one row a tile. One thread each, as
// in kernels.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cmat/nn/frozen/direct_kernels.h"

namespace cmat::nn::frozen {

enum class Filtering { two, four, strided, strided_gradient };

/// The sides of what it works on.
struct TileShape {
  std::int64_t window = 0;    ///< inputs that a tile reads
  std::int64_t before = 0;    ///< of them in front of the tile's place
  std::int64_t step = 0;      ///< inputs from tile to tile
  std::int64_t points = 0;    ///< of the transformed window
  std::int64_t filters = 0;   ///< of the transformed weights
  std::int64_t products = 0;  ///< of the transformed outputs
  std::int64_t pixels = 0;    ///< outputs
};

constexpr TileShape tile_shape(Filtering filtering) {
  switch (filtering) {
    case Filtering::two:
      return {4, 1, 2, 4, 4, 4, 2};
    case Filtering::four:
      return {6, 1, 4, 6, 6, 6, 4};
    case Filtering::strided:
      return {9, 1, 8, 9, 6, 5, 4};
    case Filtering::strided_gradient:
      return {5, 0, 4, 5, 6, 9, 8};
  }
  return {};
}

/// How images are cut into tiles: `down` x `across` of them, the last ones cut off.
struct TileGrid {
  TileGrid(Filtering filtering_, const Side& in_, const Side& out_)
      : filtering(filtering_), shape(tile_shape(filtering_)), in(in_), out(out_) {
    down = (out.height + shape.pixels - 1) / shape.pixels;
    across = (out.width + shape.pixels - 1) / shape.pixels;
  }

  Filtering filtering;
  TileShape shape;
  Side in, out;
  std::int64_t down, across;

  std::int64_t tiles() const { return down * across; }  ///< of an image
  // Of a tile:
  std::int64_t points() const { return shape.points * shape.points; }
  std::int64_t filters() const { return shape.filters * shape.filters; }
  std::int64_t products() const { return shape.products * shape.products; }
};

/// B^T d B of tiles first .. first + count - 1 of the batch x, images of grid.in. The entry of
/// point p, tile t and channel c goes to to[p * plane + (t - first) * grid.in.stride + c]. What
/// lies outside the image is 0. `scale`, if any, multiplies each channel of x.
void transform_input(const TileGrid& grid, const float* x, const float* scale, std::int64_t first,
                     std::int64_t count, float* to, std::int64_t plane);

/// The outputs A^T M A of those tiles, finished by `epilogue` (of the whole output), into y, images
/// of grid.out. M lies as transform_input leaves its result, grid.products() planes with
/// padded(grid.out.channels). Where a pixel has fewer than kPanel floats, nothing but the sum may
/// be asked for.
void transform_output(const TileGrid& grid, const float* products, std::int64_t plane,
                      std::int64_t first, std::int64_t count, const Epilogue& epilogue, float* y);

/// G g G^T of a block of filters, g[(row * 9 + tap) * kPanel + column]. Entry p of the filter at
/// (row, column) goes to to[p * plane + row * kPanel + column]. `rotated` turns the filters by 180
/// degrees first. Writes past the caches.
void transform_weights(Filtering filtering, const float* g, std::int64_t rows, bool rotated,
                       float* to, std::int64_t plane);

}  // namespace cmat::nn::frozen

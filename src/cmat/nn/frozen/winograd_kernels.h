// The transforms of Winograd's minimal filtering for 3x3 convolutions of stride 1 and padding 1
// (Lavin and Gray, CVPR 2016): F(m x m, 3 x 3) makes a tile of m x m outputs from (m + 2) x (m + 2)
// inputs with (m + 2)^2 multiplications a pair of channels, where the direct sum takes 9 m^2.
//
//   Y = A^T [ (G g G^T) . (B^T d B) ] A
//
// m is 2 (points 0, 1, -1) or 4 (points 0, 1, -1, 2, -2). Each of the (m + 2)^2 products is a
// matrix product over channels, one row a tile. One thread each, as in kernels.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cmat/nn/frozen/kernels.h"

namespace cmat::nn::frozen {

/// How images are cut into tiles: `down` x `across` of m x m outputs each, the last ones cut off.
struct TileGrid {
  TileGrid(std::int64_t image_height, std::int64_t image_width, std::int64_t tile_side)
      : height(image_height),
        width(image_width),
        m(tile_side),
        down((image_height + tile_side - 1) / tile_side),
        across((image_width + tile_side - 1) / tile_side) {}

  std::int64_t height, width, m;
  std::int64_t down, across;

  std::int64_t tiles() const { return down * across; }         ///< of an image
  std::int64_t products() const { return (m + 2) * (m + 2); }  ///< of a tile
};

/// B^T d B of tiles first .. first + count - 1 of the batch x [n, height, width, channels]
/// (padded). The entry of product p, tile t and channel c goes to to[p * plane + (t - first) *
/// channels + c]. What lies outside the image is 0. `scale`, if any, multiplies each channel of x.
void transform_input(const TileGrid& grid, const float* x, std::int64_t channels,
                     const float* scale, std::int64_t first, std::int64_t count, float* to,
                     std::int64_t plane);

/// The outputs A^T M A of those tiles, finished by `epilogue` (of the whole output), into y [n,
/// height, width, stride]. M lies as transform_input leaves its result, with padded(channels).
/// stride is padded(channels), or `channels` where these are fewer than kPanel.
void transform_output(const TileGrid& grid, const float* products, std::int64_t plane,
                      std::int64_t channels, std::int64_t first, std::int64_t count,
                      const Epilogue& epilogue, float* y, std::int64_t stride);

/// G g G^T of a block of filters, g[(row * 9 + tap) * kPanel + column]. Product p of the filter at
/// (row, column) goes to to[p * plane + row * kPanel + column]. `rotated` turns the filters by 180
/// degrees first. Writes past the caches.
void transform_weights(std::int64_t m, const float* g, std::int64_t rows, bool rotated, float* to,
                       std::int64_t plane);

}  // namespace cmat::nn::frozen

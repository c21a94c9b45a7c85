// A row of an image from torch's planes to pixels with the channels last, and back. One thread
// each.
#pragma once

#include <cstdint>

namespace cmat::nn::frozen {

/// Where a tensor has a row: value j of channel c lies at c * plane + j * across floats.
struct PlaneRow {
  std::int64_t width = 0, channels = 0;
  std::int64_t plane = 0, across = 1;
};

/// pixels[j * stride + c] = x * scale[c] + shift[c].
void to_pixels(const PlaneRow& row, const float* planes, const float* scale, const float* shift,
               std::int64_t stride, float* pixels);
/// planes[...] = pixels[j * stride + c] * scale[c].
void to_planes(const PlaneRow& row, const float* pixels, std::int64_t stride, const float* scale,
               float* planes);

}  // namespace cmat::nn::frozen
